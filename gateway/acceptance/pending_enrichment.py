"""What a sender can't be chosen without, and whose mail waits for it.

A later message to the same recipient must not overtake it (docs/reliability.md#order), so it is
held as well. A message counts from the moment it is told to wait until its place is committed, or
it ended.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

from gateway.acceptance.draft import Draft, Phase
from gateway.directory.directory import Directory

BOUND: Final = 10_000  # messages; beyond it those that would have to wait are refused

AddressPair = tuple[int, str]


def key_of(draft: Draft) -> AddressPair:
    """Mail of one key keeps its order: account, recipient."""
    return (draft.message.account_id, draft.message.recipient)


class Lookup(Protocol):
    """What is known of recipients' carriers."""

    def known(self, e164: str) -> str | None:
        """The carrier, empty when nobody knows it; None when it must be asked for."""

    async def carrier(self, e164: str) -> str:
        """The same, asked for if need be."""


class PendingEnrichment:
    """Counts; the messages themselves are held by the stage that gets what they need."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # The operator's, where one is configured.
        self.lookup: Lookup | None = None
        self._drafts: dict[Draft, AddressPair] = {}
        self._counts: Counter[AddressPair] = Counter()

    @property
    def full(self) -> bool:
        return len(self._drafts) >= BOUND

    def ahead_of(self, account_id: int, recipient: str) -> bool:
        """Whether earlier mail of this account to this recipient is awaited."""
        return bool(self._counts) and (account_id, recipient) in self._counts

    def awaits(self, draft: Draft) -> bool:
        """Whether something from outside is needed before a sender can be chosen. If so, it is
        waited for from now on."""
        if draft.phase is not Phase.NEW:
            return draft.phase is Phase.AWAITED
        message = draft.message
        if not (
            draft.awaits_media
            or self.ahead_of(message.account_id, message.recipient)
            # The carrier is worth a short wait, and no refusal.
            or (self.lookup is not None and self.asks_carrier(draft) and not self.full)
        ):
            draft.phase = Phase.READY
            return False
        if draft.from_address is not None:  # a crash must not forget it
            message.extras = {**(message.extras or {}), "from": draft.from_address}
        draft.phase = Phase.AWAITED
        key = self._drafts[draft] = key_of(draft)
        self._counts[key] += 1
        return True

    def asks_carrier(self, draft: Draft) -> bool:
        """Whether the recipient's carrier is to be looked up; a known one is noted."""
        if self.lookup is None:
            return False
        message, country = draft.message, draft.destination.country
        if not message.as_mms:
            service = self._directory.services_by_id.get(message.service_id or 0)
            if service is None or not service.pool.short_codes(country, False).senders:
                return False
        known = self.lookup.known(message.recipient)
        draft.network = known or ""
        return known is None

    def end(self, draft: Draft) -> None:
        """The draft has its place, or needs none. One that was not waited for is ignored.

        One that still awaits something, since its batch was not committed, is asked anew if it
        comes again.
        """
        key = self._drafts.pop(draft, None)
        if key is None:
            return
        if draft.phase is Phase.AWAITED:
            draft.phase = Phase.NEW
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
