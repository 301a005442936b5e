"""Child processes: started with their own environment, watched line by line, ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from gateway.runtime.child_process import end_with_parent

STOP_S = 10.0
LINE_LIMIT = 256 * 1024  # octets; what is longer comes in pieces
CHUNK = 64 * 1024

OnLine = Callable[[str], None]


class Child:
    """One `tandem …` process, or one of another `program`; every line it prints goes to `on_line`.

    On Linux it ends with us, even when we are killed: the kernel then sends it a SIGTERM.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        on_line: OnLine,
        program: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.last_line = ""
        self._arguments = arguments
        self._environment = environment
        self._on_line = on_line
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(self._program or (sys.executable, "-m", "gateway.commands.main")),
            *self._arguments,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            preexec_fn=end_with_parent(),
        )
        self._reader = asyncio.create_task(self._read(), name=f"{self.name} output")

    async def wait(self) -> int:
        """The exit status, after its last line was read."""
        assert self._process is not None
        assert self._reader is not None
        await asyncio.wait([self._reader])  # unlike `await`, does not pass a cancellation on
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long, or if we are not to wait."""
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            pass
        finally:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
        await self._process.wait()

    def why_it_ended(self) -> str:
        """The last words of a process, of a log line the message."""
        try:
            record = json.loads(self.last_line)
            lines: list[str] = [record["message"], *record.get("exception", "").splitlines()]
        except (ValueError, TypeError, KeyError, AttributeError):
            return self.last_line
        return lines[-1]

    async def _read(self) -> None:
        """Line by line; not with `readline`, which gives up at a line over its limit."""
        assert self._process is not None
        assert self._process.stdout is not None
        rest = b""
        while chunk := await self._process.stdout.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) >= LINE_LIMIT:
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self.last_line = text or self.last_line
        self._on_line(text)
