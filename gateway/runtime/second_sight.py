"""What was worked out once and holds for what comes again: kept from the second time on.

A thing that comes once is not kept, so a stream of things that never come again costs neither
room nor anybody's place. Each owner has a bound of his own, and gives way to himself first; where
all places are taken, he who holds most gives way.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST: Final = 4096  # entries
MOST_OF_OWNER: Final = 256
MOST_OCTETS: Final = 4096  # of a key
SEEN: Final = 8192  # keys that came once, in each of two generations


class SecondSight(Generic[K, V]):
    """A bounded cache of one process. Values hold until `epoch` is another.

    `epoch` is a number that rises with every change of what values are made of.
    """

    def __init__(
        self, most: int = MOST, most_of_owner: int = MOST_OF_OWNER, *, on: bool = True
    ) -> None:
        self._most = most if on else 0
        self._most_of_owner = most_of_owner
        self._values: dict[K, tuple[int, V]] = {}
        self._owned: dict[int, dict[K, None]] = {}  # oldest first
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K, epoch: int) -> V | None:
        found = self._values.get(key)
        if found is not None and found[0] == epoch:
            self.hits += 1
            return found[1]
        self.misses += 1
        return None

    def wants(self, key: K, size: int) -> bool:
        """Whether a value of this key, of `size` octets, is kept: it has come before."""
        if not self._most or size > MOST_OCTETS:
            return False
        return key in self._values or self._came_before(hash(key))

    def offer(self, owner: int, key: K, size: int, epoch: int, value: V) -> None:
        """Keep the value if its key is wanted."""
        if self.wants(key, size):
            self.keep(owner, key, epoch, value)

    def keep(self, owner: int, key: K, epoch: int, value: V) -> None:
        """Keep the value of a key that is wanted."""
        mine = self._owned.setdefault(owner, {})
        if key not in mine:
            if len(mine) >= self._most_of_owner:
                self._forget(owner)
            elif len(self._values) >= self._most:
                self._forget(max(self._owned, key=lambda owner: len(self._owned[owner])))
                mine = self._owned.setdefault(owner, {})
            mine[key] = None
        self._values[key] = epoch, value

    def _came_before(self, mark: int) -> bool:
        if mark in self._seen or mark in self._seen_before:
            return True
        if len(self._seen) >= SEEN:
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(mark)
        return False

    def _forget(self, owner: int) -> None:
        """The oldest of an owner's."""
        mine = self._owned[owner]
        key = next(iter(mine))
        del mine[key], self._values[key]
        if not mine:
            del self._owned[owner]
