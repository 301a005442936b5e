"""What becomes of a message: which sender it leaves from, why from none, or that it waits.

Deciding changes nothing. `gateway.acceptance.router` makes a decision true, and what is decided
next sees it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from gateway.acceptance.draft import Draft
from gateway.acceptance.unassigned import UnassignedQueue
from gateway.directory.directory import Directory, Service
from gateway.messages.message import Flag
from gateway.recipients.recipients import (
    NOWHERE,
    OPTED_OUT,
    MappingUse,
    RecipientFacts,
    Scopes,
    scopes,
)
from gateway.routing.destination import Destination
from gateway.routing.nanp import NumberKind
from gateway.routing.networks import NetworkFacts
from gateway.routing.question import QUEUES_FULL, Choice, Mapping, Needs
from gateway.routing.selector import select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool

NO_SERVICE: Final = 21701
SENDER_GONE: Final = 21711  # the From was deleted
GENERIC_ID: Final = 30042


class Decision(NamedTuple):
    """With a code: nobody carries it. With neither a sender nor a code: it waits for a sender."""

    sender: Sender | None = None
    code: int = 0
    rule: int = -1  # the selector's, by its id
    shown: str | None = None  # the From that was asked for, shown even where it fails
    voids: bool = False  # the mapping that was there is void
    mapping: MappingUse = MappingUse.NONE


class Place(NamedTuple):
    """All of a recipient that a plain From's reach depends on, but for a short code's."""

    country: str
    calling_code: str
    kind: NumberKind
    needs: Needs


class Alone:
    """One sender by itself, and what has been said of where it reaches."""

    __slots__ = ("codes", "facts", "pool")

    def __init__(self, sender: Sender, facts: NetworkFacts) -> None:
        self.pool = SenderPool((sender,))
        self.facts = facts  # by which the codes hold
        # 0: it reaches this place. There are as many as countries and kinds of numbers.
        self.codes: dict[Place, int] = {}

    def keeps(self) -> bool:
        """Whether all numbers of a place are alike to it."""
        by_network = self.pool.senders[0].kind is SenderKind.SHORT_CODE
        return not (by_network and self.facts.without_short_codes)


class Decider:
    """Asks the selector with the standing of all senders, and then the queues."""

    def __init__(
        self,
        directory: Directory,
        loads: SenderLoads,
        unassigned: UnassignedQueue,
        generic_ids: Iterable[str] = (),
    ) -> None:
        self._directory = directory
        self._loads = loads
        self._unassigned = unassigned
        self._generic_ids = frozenset(id_.upper() for id_ in generic_ids)
        self._alone: dict[int, Alone] = {}  # by sender

    def decide(self, draft: Draft, facts: RecipientFacts, now: float, *, fresh: bool) -> Decision:
        """The decision about an encoded draft; `fresh` where it has no place in a queue yet.

        One that would wait long for its sender gets none: it waits in `unassigned`.
        """
        message = draft.message
        despite = message.flags & Flag.DESPITE_OPT_OUT
        blocked = NOWHERE if despite else facts.blocking(message.recipient)
        service = self._directory.services_by_id.get(message.service_id or 0)
        if service is not None:
            mapping = facts.mappings.get(draft.key)
            return self._of_pool(draft, service, mapping, blocked, now, fresh)
        if message.service_id is not None:  # it was deleted while the message waited
            return Decision(code=NO_SERVICE)
        record = draft.from_record
        assert record is not None, "without a service there is a From"
        sender = record.sender
        if sender.id not in self._directory.senders_by_id:  # deleted since the request
            return Decision(code=SENDER_GONE)
        if blocked and not blocked.isdisjoint(scopes(None, sender.id, record.service_id)):
            return Decision(code=OPTED_OUT, shown=sender.address)
        return Decision(sender)

    def _of_pool(
        self,
        draft: Draft,
        service: Service,
        mapping: Mapping | None,
        blocked: Scopes,
        now: float,
        fresh: bool,
    ) -> Decision:
        """The sender out of a pool, with what that means for the recipient's mapping."""
        shown = draft.from_address
        if service.id in blocked:
            return Decision(code=OPTED_OUT, shown=shown)
        choice = self.select(draft, service, mapping, now)
        voids = choice.drop_mapping and mapping is not None
        if voids:
            mapping = None
        sender = choice.sender
        code = choice.code if sender is None else self._against(draft, sender, blocked, fresh)
        if sender is None or code:
            return Decision(None, code, choice.rule, shown, voids)
        mapped = mapping is not None and mapping.sender_id == sender.id
        if not mapped and shown is None and self._unassigned.wants(draft, sender):
            alike = len(service.pool.of(sender.kind, sender.country, False))
            code = QUEUES_FULL if self._unassigned.full(draft, sender, alike) else 0
            return Decision(None, code, choice.rule, shown, voids)
        use = MappingUse.FOLLOWED if mapped else MappingUse.NONE
        if choice.new_mapping:
            use = MappingUse.MADE
        return Decision(sender, 0, choice.rule, shown, voids, use)

    def _against(self, draft: Draft, sender: Sender, blocked: Scopes, fresh: bool) -> int:
        """The code of what speaks against the sender that was selected, or 0."""
        if -sender.id in blocked:
            return OPTED_OUT
        if sender.kind is SenderKind.ALPHA and sender.address.upper() in self._generic_ids:
            return GENERIC_ID
        if fresh and self._crowded(sender.id, draft.destination.country):
            return QUEUES_FULL
        return 0

    def preview(self, draft: Draft, now: float) -> Choice:
        """What the selector would say to a message without a mapping; 21701: no such service."""
        service = self._directory.services_by_id.get(draft.message.service_id or 0)
        if service is None:
            return Choice(None, NO_SERVICE)
        return self.select(draft, service, None, now)

    def select(self, draft: Draft, service: Service, mapping: Mapping | None, now: float) -> Choice:
        """Ask the selector, and nothing else."""
        return select(
            draft.destination,
            Needs(draft.message.as_mms, draft.message.segments, carrier=draft.network),
            service.pool,
            self._loads,
            mapping,
            draft.from_address,
            self._directory.facts,
            now,
        )

    def reach(self, destination: Destination, sender: Sender, needs: Needs) -> Choice:
        """What the selector, and then the queues, say to a From without a service."""
        if self._crowded(sender.id, destination.country):
            return Choice(None, QUEUES_FULL)
        alone = self._by_itself(sender)
        place = Place(destination.country, destination.calling_code, destination.kind, needs)
        code = alone.codes.get(place)
        if code is None:
            choice = select(
                destination, needs, alone.pool, self._loads, None, sender.address, alone.facts
            )
            if choice.code != QUEUES_FULL and alone.keeps():
                alone.codes[place] = choice.code
            return choice
        if code:
            return Choice(None, code)
        if self._loads.full(sender.id):
            return Choice(None, QUEUES_FULL)
        return Choice(sender)

    def alone(self, sender: Sender) -> SenderPool:
        """A pool of this sender only; kept, as each request with a plain From asks it."""
        return self._by_itself(sender).pool

    def _by_itself(self, sender: Sender) -> Alone:
        alone, facts = self._alone.get(sender.id), self._directory.facts
        if alone is None or alone.pool.senders[0] is not sender or alone.facts is not facts:
            alone = self._alone[sender.id] = Alone(sender, facts)
        return alone

    def configuration_changed(self) -> None:
        self._alone.clear()

    def _crowded(self, sender_id: int, country: str) -> bool:
        """Whether its account, or its campaign there, has as much waiting as it may
        (docs/spec/messaging-services.md#queue-limits)."""
        for limit in self._loads.together(sender_id):
            if limit.place is None or limit.place[1] == country:
                waiting = self._unassigned.waiting(limit.accounts, limit.place)
                if limit.backlog + waiting >= limit.limit:
                    return True
        return False
