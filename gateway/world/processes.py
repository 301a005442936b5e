"""Child processes: started with their own environment, watched line by line, ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

STOP_S = 10.0

Line = Callable[[str], None]


class Child:
    """One `tandem …` process; every line it prints goes to `on_line`."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], on_line: Line
    ) -> None:
        self.name = name
        self._arguments = arguments
        self._environment = environment
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.cli",
            *self._arguments,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
        )
        self._reader = asyncio.create_task(self._read(), name=f"{self.name} output")

    async def wait(self) -> int:
        """The exit status, after its last line was read."""
        assert self._process is not None
        assert self._reader is not None
        await asyncio.wait([self._reader])  # unlike `await`, does not pass a cancellation on
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._on_line(line.decode(errors="replace").rstrip("\n"))
