"""A gateway of several processes, and what can be done to one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from testing import GatewayProcess, carrier, free_port


class WorkersProcess(GatewayProcess):
    """`tandem serve` with several workers, on one carrier with as many binds."""

    def __init__(
        self,
        database_url: str,
        smsc_port: int,
        folder: Path,
        workers: int = 2,
        *,
        port: int | None = None,
        **changes: Any,
    ) -> None:
        self.workers = workers
        self.database_url = database_url
        given = {"carriers": (carrier(smsc_port, binds=workers),), **changes}
        super().__init__(
            database_url, smsc_port, folder, port or free_port(), workers=workers, **given
        )

    def pid(self, slot: int) -> int:
        """Of the process that has this place now. Raises LookupError while there is none."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for child in children:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if f"{slot}/{self.workers}".encode() in words:
                return int(child)
        raise LookupError(f"worker {slot} is not there")

    def kill_worker(self, slot: int) -> None:
        """As the machine would: SIGKILL."""
        os.kill(self.pid(slot), signal.SIGKILL)

    def freeze_worker(self, slot: int) -> None:
        """It is there, and does nothing any more."""
        os.kill(self.pid(slot), signal.SIGSTOP)
