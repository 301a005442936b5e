"""Machines that answer each other, reply upon reply without a pause
(docs/spec/twilio-api.md#response-handling-and-twiml)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

GAP_S: Final = 30.0
MOST_REPLIES: Final = 15
MOST_PAIRS: Final = 10_000  # beyond it the pair that was silent for longest is forgotten


class LoopGuard:
    """Counts the replies of each pair of numbers that followed each other within GAP_S."""

    def __init__(self, most_pairs: int = MOST_PAIRS) -> None:
        self._most_pairs = most_pairs
        self._pairs: OrderedDict[frozenset[str], tuple[int, float]] = OrderedDict()

    def allows(self, sender: str, recipient: str, now: float) -> bool:
        """Whether one more reply may go, at the time `now`; one that may is counted."""
        pair = frozenset((sender, recipient))
        count, last = self._pairs.pop(pair, (0, now))
        if now - last >= GAP_S:
            count = 0
        allowed = count < MOST_REPLIES
        self._pairs[pair] = (count + 1, now) if allowed else (count, last)
        if len(self._pairs) > self._most_pairs:
            self._pairs.popitem(last=False)
        return allowed
