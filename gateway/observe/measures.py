"""What the stages count as they go: two small things that cost a few integer adds.

Nobody is told of a change. `gateway.monitoring` reads them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Final, Generic, TypeVar

# Upper bounds in seconds: of what should take milliseconds, and of what may wait for hours.
LATENCY_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_S: Final = (
    0.005,
    0.025,
    0.1,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    60.0,
    300.0,
    1_800.0,
    7_200.0,
    36_000.0,
)
BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)

K = TypeVar("K", bound=Hashable)


class Histogram:
    """How often a value fell into each bucket: a bucket holds what is at most its bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last: above every bound
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def cumulative(self) -> list[int]:
        """How many values were at most each bound; the last number counts all."""
        return list(accumulate(self.counts))


class Tally(Generic[K]):
    """Counts by key, of the keys that were seen last: at most so many.

    A key that was let go begins at 0 when it comes again, as after a restart.
    """

    __slots__ = ("_counts", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[K, int] = OrderedDict()

    def add(self, key: K, number: int = 1) -> None:
        counts = self._counts
        if key in counts:
            counts[key] += number
            counts.move_to_end(key)
            return
        counts[key] = number
        if len(counts) > self._most:
            counts.popitem(last=False)

    def __getitem__(self, key: K) -> int:
        return self._counts.get(key, 0)

    def __len__(self) -> int:
        return len(self._counts)

    def latest(self, most: int) -> Iterator[K]:
        """Keys, the one that was seen last first."""
        return islice(reversed(self._counts), most)
