"""Random numbers of the system, fetched many at a time.

Every message takes 24 octets of it (its id, and that of its request): one system call each
would cost more than making the id.
"""

from __future__ import annotations

import os
from random import SystemRandom
from typing import Final

FETCH: Final = 4096  # octets


class Chance(SystemRandom):
    """As `SystemRandom`, and as good a secret. Not to be shared with a forked child."""

    def __init__(self) -> None:
        super().__init__()
        self._octets = b""
        self._at = 0

    def randbytes(self, n: int) -> bytes:
        """`n` random octets."""
        if n > FETCH:
            return os.urandom(n)
        at = self._at
        if at + n > len(self._octets):
            self._octets = os.urandom(FETCH)
            at = 0
        self._at = at + n
        return self._octets[at : at + n]

    def getrandbits(self, k: int) -> int:
        """A number of `k` random bits. Raises ValueError for a negative `k`."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        size = (k + 7) // 8
        return int.from_bytes(self.randbytes(size), "big") >> (size * 8 - k)
