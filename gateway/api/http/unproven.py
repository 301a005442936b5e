"""What all connections hold of requests whose credentials nobody has looked at yet.

A request that comes in one piece is never counted. What is still arriving is, with its head and
framing, until it is whole or its credentials are known to be good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

MOST: Final = 64 * 1024 * 1024  # octets of all connections
SLOW_S: Final = 5.0  # who has been arriving for so long makes room for others


class BodyHolder(Protocol):
    """A connection."""

    def cut(self) -> None:
        """Give up what arrives, and close."""


class Unproven:
    """Octets by connection, the oldest first."""

    def __init__(self, now: Callable[[], float], most: int = MOST) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._now = now
        self._most = most
        self._held: dict[BodyHolder, tuple[float, int]] = {}  # since when, octets
        self.octets = 0

    def hold(self, holder: BodyHolder, octets: int) -> bool:
        """Count more of a request; False: there is no room for it, and nothing of it is counted."""
        now = self._now()
        since, before = self._held.get(holder, (now, 0))
        while self.octets + octets > self._most and self._held:
            oldest = next(iter(self._held))
            if oldest is holder or now - self._held[oldest][0] < SLOW_S:
                self.release(holder)
                return False
            self.release(oldest)
            oldest.cut()
        self._held[holder] = (since, before + octets)
        self.octets += octets
        return True

    def release(self, holder: BodyHolder) -> None:
        """The body arrives no more, or is proven."""
        _, octets = self._held.pop(holder, (0.0, 0))
        self.octets -= octets
