"""When requests are to be sent, decided before the first one is.

An open loop: the times do not move when the gateway is slow, and a latency counts from them, so
that a stall is felt by every request that falls into it (no coordinated omission).
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from random import Random
from typing import Final

MOST_REQUESTS: Final = 10_000_000  # 80 MB of times


def even(rate_per_second: float, requests: int) -> array[float]:
    """Seconds from the start, one after the other at the same distance."""
    return array("d", (number / rate_per_second for number in range(requests)))


def poisson(rate_per_second: float, requests: int, random: Random) -> array[float]:
    """Seconds from the start, as of many callers who know nothing of each other."""
    gaps = (random.expovariate(rate_per_second) for _ in range(requests))
    return array("d", accumulate(gaps))
