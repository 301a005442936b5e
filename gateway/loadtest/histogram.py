"""Latencies by log-linear buckets, as an HDR histogram has them: fixed memory, bounded error.

Each power of two is cut into 128 equal parts, so a value read back is too high by less than
1/128 of itself. Our own because it is 40 lines, while the library of that name would bring
setuptools into the gateway's runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Final

PART_BITS: Final = 7
PARTS: Final = 1 << PART_BITS
LONGEST_US: Final = (1 << 36) - 1  # 19 hours; what is longer counts as that


class LatencyHistogram:
    """Counts of whole microseconds."""

    __slots__ = ("_counts", "count", "highest_us", "total_us")

    def __init__(self) -> None:
        self._counts = [0] * (_bucket(LONGEST_US) + 1)
        self.count = 0
        self.total_us = 0
        self.highest_us = 0

    def record(self, microseconds: int) -> None:
        self._counts[_bucket(min(max(microseconds, 0), LONGEST_US))] += 1
        self.count += 1
        self.total_us += microseconds
        if microseconds > self.highest_us:
            self.highest_us = microseconds

    def add(self, other: LatencyHistogram) -> None:
        """Take in what the other has counted."""
        for bucket, count in enumerate(other._counts):
            self._counts[bucket] += count
        self.count += other.count
        self.total_us += other.total_us
        self.highest_us = max(self.highest_us, other.highest_us)

    def percentile_ms(self, percent: float) -> float:
        """The smallest value that `percent` of all do not exceed; 0 when there are none."""
        rank, seen = ceil(self.count * percent / 100), 0
        for highest_us, count in self.buckets():
            seen += count
            if seen >= rank:
                return min(highest_us, self.highest_us) / 1000
        return 0.0

    @property
    def mean_ms(self) -> float:
        return self.total_us / self.count / 1000 if self.count else 0.0

    def buckets(self) -> Iterator[tuple[int, int]]:
        """(highest value in µs, count) of the buckets that hold something, lowest first."""
        for bucket, count in enumerate(self._counts):
            if count:
                yield _highest(bucket), count


def _bucket(value: int) -> int:
    # Up to 2 * PARTS every value has a bucket; from there on each power of two has PARTS.
    shift = max(value.bit_length() - PART_BITS - 1, 0)
    return (shift << PART_BITS) + (value >> shift)


def _highest(bucket: int) -> int:
    shift = max((bucket >> PART_BITS) - 1, 0)
    return ((bucket - (shift << PART_BITS) + 1) << shift) - 1
