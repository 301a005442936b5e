"""Letting messages in: what the database knows of their recipients, and what it must remember.

A batch of drafts goes through three steps on one connection. `ask` takes the shared locks of
docs/reliability.md#opt-out and reads blocks and sticky mappings; the router chooses with them;
`reserve` stores new mappings in the batch's own transaction. A mapping that another process stored
in the meantime wins: its recipient's drafts are chosen again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.directory.directory import Directory
from gateway.recipients.recipients import MappingKey, RecipientFacts, known_of, scopes
from gateway.routing.question import Mapping
from gateway.runtime.clock import Clock
from storage import recipients as recipient_rows
from storage.database import Connection

ROUNDS = 3  # of losing a mapping to another process, in one batch


class Admission:
    """The steps that a batch of drafts goes through, wherever it comes from."""

    def __init__(self, directory: Directory, router: Router, clock: Clock) -> None:
        self._directory = directory
        self.router = router
        self._clock = clock

    async def ask(self, connection: Connection, drafts: Sequence[Draft]) -> RecipientFacts:
        """Read what is known of the drafts' recipients; the locks are held from here on."""
        held: set[int] = set()
        mapped: set[MappingKey] = set()
        for draft in drafts:
            service = self._directory.services_by_id.get(draft.message.service_id or 0)
            if service is not None:
                held.add(service.id)
                if service.pool.settings.sticky:
                    mapped.add(draft.key)
            elif draft.from_record is not None:
                home = draft.from_record.service_id
                held.add(home if home is not None else -draft.from_record.sender.id)
        rows = await recipient_rows.blocks_and_mappings(
            connection, held, list({draft.message.recipient for draft in drafts}), list(mapped)
        )
        return known_of(rows, self._clock.wall())

    def refuses(self, draft: Draft, facts: RecipientFacts) -> bool:
        """Whether the request is answered with 21610, and nothing is stored
        (docs/spec/messaging-services.md#effects-of-keywords)."""
        if not draft.told_at_once or not facts.blocks or draft.from_record is None:
            return False
        record = draft.from_record
        home = scopes(None, record.sender.id, record.service_id)
        return not facts.blocking(draft.message.recipient).isdisjoint(home)

    async def reserve(
        self, connection: Connection, drafts: Sequence[Draft], facts: RecipientFacts
    ) -> None:
        """Store what choosing decided of mappings, in the caller's transaction."""
        for _ in range(ROUNDS):
            if facts.dropped:
                await recipient_rows.drop(
                    connection, [(*key, sender) for key, sender in sorted(facts.dropped.items())]
                )
                facts.dropped.clear()
            if not facts.reservations:
                return
            wanted, facts.reservations = facts.reservations, {}
            rows = await recipient_rows.reserve(connection, wanted.values())
            lost: set[MappingKey] = set()
            for row in rows:
                key = (row["service_id"], row["channel"], row["recipient"])
                if row["sender_id"] != wanted[key].sender_id:
                    lost.add(key)
                    self._lose(facts, key, wanted[key].sender_id, row["sender_id"])
            if not lost:
                return
            again = [draft for draft in drafts if draft.key in lost and not draft.from_address]
            self.router.take_back(again)
            self.router.route(again, facts)

    def _lose(self, facts: RecipientFacts, key: MappingKey, ours: int, theirs: int) -> None:
        """Another process was first: its mapping counts."""
        if facts.fresh.pop(key, None) is not None:
            self.router.loads.mapped(ours, -1)
            self.router.loads.mapped(theirs)
        facts.mappings[key] = Mapping(theirs, facts.wall, facts.wall)
