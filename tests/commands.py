"""A `tandem …` command as one runs it: a process of its own, on ports of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from testing import ALLOWED, WAIT_S, free_port, until

PORTS = ("PORT", "SMSC_PORT", "SMSC_CONTROL_PORT", "CALLBACK_PORT", "INBOX_PORT")


class Command:
    """One `tandem …`, with what it said."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.environment = {f"TANDEM_{name}": str(free_port()) for name in PORTS}
        self.environment |= {
            "TANDEM_DATA_DIR": str(folder),
            "TANDEM_ALLOW_UNSAFE": json.dumps(ALLOWED),
            **environment,
        }
        self.said = ""
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self, *arguments: str) -> None:
        self.said = ""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.commands.main",
            *arguments,
            env={**os.environ, **self.environment},
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said += line.decode()

    async def says(self, text: str, times: int = 1) -> None:
        await until(lambda: self.said.count(text) >= times)

    def signal(self, number: int) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def ends(self) -> int:
        assert self._process is not None
        assert self._reading is not None
        async with asyncio.timeout(WAIT_S):
            await self._reading
            return await self._process.wait()

    async def run(self, *arguments: str) -> int:
        await self.start(*arguments)
        return await self.ends()

    def port(self, name: str) -> int:
        return int(self.environment[f"TANDEM_{name}"])

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self._folder / "demo.json").read_text())
        return facts
