"""What is due later, for all carriers and connections: one heap, one timer.

Receipts are the bulk of it (one for each submit), so an entry is a tuple, and
what is due within the same few milliseconds is done in one go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

# How late an entry may be for the sake of company.
GRAIN_S = 0.004


class Agenda:
    """Calls functions later; those that are due at the same time in the order they were added."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._added = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, delay_s: float, call: Callable[..., None], args: tuple[Any, ...] = ()) -> None:
        """Call `call(*args)` in `delay_s`, or up to GRAIN_S later."""
        due = self._loop.time() + delay_s
        self._added += 1
        heappush(self._heap, (due, self._added, call, args))
        if self._timer is None:
            self._set(due)
        elif due < self._timer_at - GRAIN_S:
            self._timer.cancel()
            self._set(due)

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, due: float) -> None:
        self._timer_at = due + GRAIN_S
        self._timer = self._loop.call_at(self._timer_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        heap = self._heap
        now = self._loop.time()
        while heap and heap[0][0] <= now:  # ends: what is added meanwhile is due after `now`
            _, _, call, args = heappop(heap)
            call(*args)
        if heap and self._timer is None:
            self._set(heap[0][0])
