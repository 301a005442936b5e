"""Who expires when: waiting messages by the second
(docs/spec/messaging-services.md#validity-period).

A timer per message would cost more than the message. Messages are kept in a dictionary per
second, which costs one entry each and lets any one leave at once; only the seconds stand in a
heap. So an expiry shows at most a second late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from gateway.pacing.queues import QueuedMessage

Q = TypeVar("Q", bound=QueuedMessage)

_NEVER: Final = 1e15


def _second(item: QueuedMessage) -> int:
    """The first full second at which `item` has expired."""
    at = item.expires_at
    return math.ceil(at if at < _NEVER else _NEVER)


class ExpiryWheel(Generic[Q]):
    """The messages that wait. Its times are those of `expires_at`."""

    __slots__ = ("_count", "_seconds", "_waiting")

    def __init__(self) -> None:
        # By id() of the message. An emptied second stays as None: so it is in the heap once.
        self._waiting: dict[int, dict[int, Q] | None] = {}
        self._seconds: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: Q) -> None:
        """`item` waits from now on."""
        second = _second(item)
        waiting = self._waiting.get(second)
        if waiting is None:
            if second not in self._waiting:
                heappush(self._seconds, second)
            waiting = self._waiting[second] = {}
        waiting[id(item)] = item
        self._count += 1

    def take(self, item: QueuedMessage) -> Q | None:
        """`item` waits no more; None if it did not."""
        second = _second(item)
        waiting = self._waiting.get(second)
        if waiting is None:
            return None
        found = waiting.pop(id(item), None)
        if found is not None:
            self._count -= 1
        if not waiting:
            self._waiting[second] = None
        return found

    def due(self, now: float) -> Iterable[Q]:
        """Messages whose second has come, taken out."""
        while self._seconds and self._seconds[0] <= now:
            waiting = self._waiting.pop(heappop(self._seconds))
            if waiting is not None:
                self._count -= len(waiting)
                yield from waiting.values()

    def next_time(self) -> float:
        """When `due` may have something; infinity for never."""
        return self._seconds[0] if self._seconds else math.inf
