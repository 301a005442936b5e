"""What all sides share: the database server, the carrier simulator, the receiver of callbacks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from gateway.playground.processes import Child, OnLine
from storage.embedded import EmbeddedPostgres

T = TypeVar("T")

HOST: Final = "127.0.0.1"
PASSWORD: Final = "secret"
READY_S: Final = 60.0
POLL_S: Final = 0.02
# The simulator goes by the recipient: one prefix gets no receipts, the other gets one each.
SILENT, RECEIPTED = "4479", "4478"
# A login each, so that no receipt goes astray.
MOST_AGAINST: Final = 4
AGAINST: Final = tuple(f"against{n}" for n in range(MOST_AGAINST))
CARRIERS: Final = ("tandem", "floor", "kannel", "workers1", "workers2", *AGAINST)
SCENARIO: Final = """
ledger_limit = {ledger_limit}
{carriers}
"""
CARRIER: Final = """
[[carrier]]
name = "{name}"
system_id = "{name}"
[[carrier.rule]]
prefix = "{silent}"
stat = "none"
[[carrier.rule]]
prefix = "{receipted}"
"""


class BenchError(Exception):
    """The benchmark can't go on; the text says why."""


async def _ended(child: Child) -> None:
    status = await child.wait()
    raise BenchError(f"the {child.name} ended with status {status}: {child.why_it_ended()}")


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


class Stage:
    """An async context: up on entry; on exit everything it started has ended."""

    def __init__(self, folder: Path, *, ledger_limit: int = 1_000) -> None:
        self._ledger_limit = ledger_limit
        folder.mkdir(parents=True, exist_ok=True)
        self._parent = folder
        self._stack = contextlib.AsyncExitStack()
        self.folder = folder
        self.server_url = ""
        self.postmaster = 0
        self.smsc_port = 0
        self.control_url = ""
        self.callback_url = ""
        self._sink_url = ""
        self._session: aiohttp.ClientSession | None = None
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self._stack.push_async_callback(self._stop_watching)
        # On the disk of the working folder: /tmp may be memory, which no database should be.
        folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(
                prefix="bench-", dir=self._parent, ignore_cleanup_errors=True
            )
        )
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        embedded = EmbeddedPostgres(self.folder / "postgres")
        self.server_url = await embedded.start()
        self._stack.push_async_callback(embedded.stop)
        pid_file = self.folder / "postgres" / "postmaster.pid"
        self.postmaster = int(pid_file.read_text().split()[0])
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self._start_simulator()
        port = await self.child_says(
            ("sink", [], {}, (sys.executable, "-m", "bench.load.sink")), r"listening (\d+)"
        )
        self._sink_url = f"http://{HOST}:{port}/count"
        self.callback_url = f"http://{HOST}:{port}/status"

    async def _start_simulator(self) -> None:
        scenario = self.folder / "scenario.toml"
        carriers = "".join(
            CARRIER.format(name=name, silent=SILENT, receipted=RECEIPTED) for name in CARRIERS
        )
        scenario.write_text(SCENARIO.format(carriers=carriers, ledger_limit=self._ledger_limit))
        arguments = ["smsc", "--port", "0", "--control-port", "0", "--scenario", str(scenario)]
        said: list[str] = []
        port = await self.child_says(
            ("simulator", arguments, {}, None), r"control: http://[^:]+:(\d+)", said.append
        )
        self.control_url = f"http://{HOST}:{port}"
        found = re.search(r"smpp://[^:]+:(\d+)", "\n".join(said))
        assert found is not None
        self.smsc_port = int(found[1])

    # Processes --------------------------------------------------------------------------

    async def child(
        self,
        name: str,
        arguments: list[str],
        environment: dict[str, str],
        on_line: OnLine,
        program: tuple[str, ...] | None = None,
    ) -> Child:
        """A process that ends with the stage."""
        child = Child(name, arguments, environment, on_line, program)
        await child.start()
        self._stack.push_async_callback(child.stop)
        self._watches.append(asyncio.create_task(_ended(child), name=f"watch {name}"))
        return child

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; BenchError as soon as a process ends that it needs."""
        task = asyncio.create_task(work, name="work")
        try:
            while not task.done():
                # Again and again: the work itself may start processes.
                await asyncio.wait(
                    (task, *self._watches), timeout=1.0, return_when=asyncio.FIRST_COMPLETED
                )
                for watch in self._watches:
                    if watch.done():
                        watch.result()
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def child_says(
        self,
        what: tuple[str, list[str], dict[str, str], tuple[str, ...] | None],
        pattern: str,
        also: OnLine = lambda line: None,
    ) -> str:
        """Start a process; what the pattern's group is in the line that says it is ready."""
        name, arguments, environment, program = what
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def on_line(line: str) -> None:
            also(line)
            match = re.search(pattern, line)
            if match and not found.done():
                found.set_result(match[1])

        child = await self.child(name, arguments, environment, on_line, program)
        ended = asyncio.ensure_future(child.wait())
        await asyncio.wait((ended, found), timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not found.done():
            raise BenchError(f"the {name} did not come up: {child.last_line}")
        return found.result()

    async def _stop_watching(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def until_answers(self, url: str, child: Child) -> None:
        """Return when a GET of it is a 200."""
        assert self._session is not None
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with self._session.get(url) as response:
                            if response.status == 200:
                                return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise BenchError(f"the {child.name} is not up: {child.last_line}") from None

    # What happened ----------------------------------------------------------------------

    async def database(self, name: str) -> str:
        """A new, empty database; its URL."""
        connection = await asyncpg.connect(self.server_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))

    async def submits(self) -> int:
        """submit_sm that were answered so far, by all carriers."""
        return int(json.loads(await self._get(f"{self.control_url}/counters"))["submits"])

    async def binds(self, name: str) -> int:
        counters = json.loads(await self._get(f"{self.control_url}/counters"))
        return len(counters["carriers"][name]["binds"])

    async def callbacks(self) -> int:
        """Callbacks that were taken so far."""
        return int(await self._get(self._sink_url))

    async def _get(self, url: str) -> bytes:
        assert self._session is not None
        async with self._session.get(url) as response:
            return await response.read()
