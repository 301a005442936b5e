"""Time, as the rest of the gateway sees it: passed in, never asked of the system directly."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never jump: pacing, timeouts, leases."""

    def wall(self) -> float:
        """Seconds since 1970 (UTC): what is stored and shown, deadlines that outlive a process."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
