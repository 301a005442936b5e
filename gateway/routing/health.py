"""Whether a sender's messages arrive lately, for services that skip those whose do not.

A sender is unhealthy when too few of its last messages were delivered. It gets no more of them,
so nothing would ever show that it is well again: after a rest it is given another chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

LAST: Final = 50  # messages that count
LEAST: Final = 20  # messages before anything is said
DELIVERED: Final = 0.5  # share of them that must arrive
REST_S: Final = 600.0


class Health:
    """`changed(sender, healthy)` hears of every change."""

    def __init__(self, changed: Callable[[int, bool], None]) -> None:
        self._changed = changed
        self._outcomes: dict[int, deque[bool]] = {}
        self._resting: dict[int, float] = {}  # until when, in the order of their times

    def outcome(self, sender_id: int, delivered: bool, now: float) -> None:
        """A message of this sender reached its end."""
        if sender_id in self._resting:
            return  # sent before
        outcomes = self._outcomes.setdefault(sender_id, deque(maxlen=LAST))
        outcomes.append(delivered)
        if len(outcomes) >= LEAST and sum(outcomes) < DELIVERED * len(outcomes):
            del self._outcomes[sender_id]
            self._resting[sender_id] = now + REST_S
            self._changed(sender_id, False)

    def rested(self, now: float) -> None:
        """Give those whose rest is over another chance."""
        while self._resting:
            sender_id, until = next(iter(self._resting.items()))
            if until > now:
                return
            del self._resting[sender_id]
            self._changed(sender_id, True)
