"""Whose mail is stored and has no place in a queue yet, because something from outside is awaited.

A later message to the same recipient must not overtake it (docs/reliability.md#order), so it is
held as well. A message counts from the moment it is told to wait until its place is committed, or
it ended.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from gateway.acceptance.draft import Draft

BOUND: Final = 10_000  # messages; beyond it those that would have to wait are refused

AddressPair = tuple[int, str]


def key_of(draft: Draft) -> AddressPair:
    """Mail of one key keeps its order: account, recipient."""
    return (draft.message.account_id, draft.message.recipient)


class PendingEnrichment:
    """Counts; the messages themselves are held by the stage that gets what they need."""

    def __init__(self) -> None:
        self._counts: Counter[AddressPair] = Counter()
        self._total = 0

    @property
    def full(self) -> bool:
        return self._total >= BOUND

    def ahead_of(self, account_id: int, recipient: str) -> bool:
        """Whether earlier mail of this account to this recipient is awaited."""
        return bool(self._counts) and (account_id, recipient) in self._counts

    def begin(self, draft: Draft) -> None:
        """From now on it is waited for."""
        draft.outside = True
        self._counts[key_of(draft)] += 1
        self._total += 1

    def end(self, draft: Draft) -> None:
        """The draft has its place, or needs none. One that was not waited for is ignored."""
        if not draft.outside:
            return
        draft.outside = False
        key = key_of(draft)
        self._total -= 1
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
