"""`tandem serve --workers N`: N processes as one gateway, each started again when it dies.

The supervisor carries no message. It has the right to the database for all of them, starts what
they share, and keeps watch: a worker that ended, and one that gives no sign of life, is followed by
a new one in its place, which takes up its rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.cluster.session_lock import GatewayLock, keys_of, new_run
from gateway.cluster.transport import socket_path
from gateway.cluster.worker_slot import WorkerSlot
from gateway.runtime.child_process import end_with_parent
from gateway.settings import ConfigurationError, Settings
from storage.database import DatabaseRefused, DatabaseUnavailable, TooFewRights
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError

log = logging.getLogger(__name__)

BEAT_S: Final = 0.5  # how often a worker gives a sign of life
SILENCE_S: Final = 3.0  # after which one is taken for dead, with its event loop
STARTS_S: Final = 300.0  # for the first sign: it may have a million rows to take up
STOP_S: Final = 12.0  # longer than a worker's own patience
SHORT_LIFE_S: Final = 5.0  # of a worker that will not live longer next time
MOST_PAUSE_S: Final = 5.0  # before that is tried again
LONGEST_PATH: Final = 107  # octets of a Unix socket's, without its NUL (unix(7))
WRONG_USE: Final = 2  # the exit status of one that can't use its configuration


class _Worker:
    """One place, and the process that fills it."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.process: asyncio.subprocess.Process | None = None
        self.ready = asyncio.Event()
        self.short_lives = 0
        self._heard_at = 0.0
        self._pipe = -1

    async def start(self, command: Sequence[str], environment: dict[str, str]) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                "--heartbeat",
                str(writing),
                env=environment,
                pass_fds=(writing,),
                start_new_session=True,  # a Ctrl-C at the terminal is the supervisor's to handle
                preexec_fn=end_with_parent(),
            )
        finally:
            os.close(writing)
        self.ready.clear()
        loop = asyncio.get_running_loop()
        self._pipe = reading
        self._heard_at = loop.time() + STARTS_S
        loop.add_reader(reading, self._heard)

    async def ended(self) -> int:
        """The exit status; a process that is silent for too long is ended here."""
        assert self.process is not None
        waiting = asyncio.create_task(self.process.wait())
        loop = asyncio.get_running_loop()
        try:
            while True:
                done, _ = await asyncio.wait((waiting,), timeout=BEAT_S)
                if done:
                    return waiting.result()
                if loop.time() - self._heard_at > SILENCE_S:
                    log.error("worker %d gives no sign of life: it is killed", self.slot)
                    self.signal(signal.SIGKILL)
        finally:
            waiting.cancel()
            if self._pipe >= 0:
                loop.remove_reader(self._pipe)
                os.close(self._pipe)
                self._pipe = -1

    def signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def _heard(self) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(self._pipe, 4096):
                self._heard_at = asyncio.get_running_loop().time()
                self.ready.set()
            else:  # its end, of which `ended` hears
                asyncio.get_running_loop().remove_reader(self._pipe)


class Supervisor:
    """Start, run until `stop` is set, and leave no process behind."""

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self._settings = settings
        self._config = config
        self._workers = [_Worker(slot) for slot in range(settings.workers)]
        self.stop = asyncio.Event()

    async def run(self) -> int:
        """The exit status. Raises ConfigurationError."""
        async with contextlib.AsyncExitStack() as stack:
            folder = _folder(stack, self._settings.workers)
            url = self._settings.database_url
            embedded = None
            if url is None:
                embedded = EmbeddedPostgres(self._settings.data_dir / "postgres")
                try:
                    url = await embedded.start()
                except EmbeddedPostgresError as error:
                    raise ConfigurationError(str(error)) from error
                stack.push_async_callback(embedded.stop)
            shared = "two_gateways" in self._settings.allow_unsafe
            gateway_lock = GatewayLock(url, new_run(), keys_of(None)[:1], shared=shared)
            stack.callback(gateway_lock.close)
            try:
                if not await gateway_lock.wait_unless(self.stop):
                    return 0
            except TooFewRights as error:
                raise ConfigurationError(f"the database can't be prepared: {error}") from error
            except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
                raise ConfigurationError(f"the database can't be reached: {error}") from error
            placeholder, port = self._port()
            stack.callback(placeholder.close)
            environment = {
                **os.environ,
                "TANDEM_DATABASE_URL": url,
                "TANDEM_PORT": str(port),
            }
            return await self._keep(folder, environment, gateway_lock, embedded)

    def _port(self) -> tuple[socket.socket, int]:
        """The port that the workers share, kept without listening. Raises ConfigurationError."""
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        placeholder = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Once without sharing: another gateway there would share it just as willingly.
            socket.create_server((host, port), family=family).close()
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            placeholder.bind((host, port))
        except OSError as error:
            placeholder.close()
            raise ConfigurationError(
                f"can't listen on {host}:{port}: {error.strerror or error}"
                " (set TANDEM_PORT to another)"
            ) from None
        return placeholder, placeholder.getsockname()[1]

    async def _keep(
        self,
        folder: Path,
        environment: dict[str, str],
        gateway_lock: GatewayLock,
        embedded: EmbeddedPostgres | None,
    ) -> int:
        """Until `stop`: every place filled. The first makes the database ready for the others."""
        tasks: list[asyncio.Task[int]] = []
        keeping = asyncio.create_task(self._hold(gateway_lock, embedded))
        for worker in self._workers:
            work = self._fill(worker, folder, environment)
            tasks.append(asyncio.create_task(work, name=f"worker {worker.slot}"))
            starting = asyncio.create_task(worker.ready.wait())
            stopping = asyncio.create_task(self.stop.wait())
            await asyncio.wait(
                (starting, stopping, keeping, *tasks), return_when=asyncio.FIRST_COMPLETED
            )
            starting.cancel()
            stopping.cancel()
            if keeping.done() or self.stop.is_set() or any(task.done() for task in tasks):
                break
        else:
            log.info(
                "%d workers listen on http://%s:%s",
                len(self._workers),
                self._settings.host,
                environment["TANDEM_PORT"],
                extra={"event": "listening", "port": int(environment["TANDEM_PORT"])},
            )
        stopping = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait(
            (*tasks, keeping, stopping), return_when=asyncio.FIRST_COMPLETED
        )
        self.stop.set()
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        _, running = await asyncio.wait(tasks, timeout=STOP_S)
        if running:
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
            await asyncio.wait(running)
        keeping.cancel()
        stopping.cancel()
        if keeping in done:
            log.error("%s: the workers were ended", keeping.exception())
            return 1
        return max((abs(task.result()) for task in tasks), default=0)

    async def _hold(self, gateway_lock: GatewayLock, embedded: EmbeddedPostgres | None) -> None:
        """Keep the right to the database, and one of our own up, until `stop`. Raises TakenOver."""
        tasks = [asyncio.create_task(gateway_lock.run(), name="tenure")]
        if embedded is not None:
            tasks.append(asyncio.create_task(embedded.keep(self.stop), name="postgres"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()

    async def _fill(self, worker: _Worker, folder: Path, environment: dict[str, str]) -> int:
        """Keep one place filled until `stop`; the exit status of the last process there."""
        share = WorkerSlot(worker.slot, len(self._workers))
        command = [
            sys.executable,
            "-m",
            "gateway.commands.main",
            "serve",
            "--worker",
            f"{share.slot}/{share.workers}",
            "--links",
            str(folder),
        ]
        if self._config is not None:
            command += ["--config", str(self._config)]
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            await worker.start(command, environment)
            status = await worker.ended()
            if self.stop.is_set() or status == WRONG_USE:
                return status
            pause = min(MOST_PAUSE_S, worker.short_lives * 0.5)  # the first time, none
            worker.short_lives = worker.short_lives + 1 if loop.time() - begun < SHORT_LIFE_S else 0
            log.error(
                "worker %d ended with %d; another takes its place%s",
                worker.slot,
                status,
                f" in {pause:.1f} s" if pause else "",
                extra={"event": "worker ended", "slot": worker.slot},
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.stop.wait()


async def beat(pipe: int) -> None:
    """A worker's signs of life, until cancelled; without a reader it has no reason to be."""
    os.set_blocking(pipe, False)
    while True:
        with contextlib.suppress(BlockingIOError):
            os.write(pipe, b".")
        await asyncio.sleep(BEAT_S)


def _folder(stack: contextlib.AsyncExitStack, workers: int) -> Path:
    """Where the workers' sockets are. Raises ConfigurationError."""
    try:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tandem-")))
    except OSError as error:
        raise ConfigurationError(f"no folder for the workers' sockets: {error}") from None
    if len(os.fsencode(socket_path(folder, workers - 1))) > LONGEST_PATH:
        raise ConfigurationError(
            f"the path of the workers' sockets, in {folder}, is longer than a socket's may be"
            f" ({LONGEST_PATH} octets): set TMPDIR to a shorter one"
        )
    return folder
