"""Time, as the rest of the gateway sees it: passed in, never asked of the system directly."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds that never jump: pacing, timeouts, leases."""

    def wall(self) -> float:
        """Seconds since 1970 (UTC): what is stored and shown, deadlines that outlive a process."""


class Deadlines:
    """Moments of the wall clock on a line of seconds that is easy to compare with.

    The line is the monotonic clock's until somebody sets the wall clock: a deadline then comes so
    much sooner or later (docs/reliability.md#when-the-clock-is-set).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begins = clock.wall() - clock.monotonic()

    def of(self, wall: float) -> float:
        """Where a moment is on the line."""
        return wall - self._begins

    def ahead(self) -> float:
        """How much the line's now is ahead of the monotonic clock's: what the clock was set by."""
        return self._clock.wall() - self._clock.monotonic() - self._begins


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
