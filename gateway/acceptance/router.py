"""From an accepted draft to a message with a sender, an encoding and segments.

What is decided (`gateway.acceptance.decision`) is made true here: of the message, which nobody has
seen yet, and of the standing of its sender, which the next decision is made by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.acceptance.decision import Decider, Decision
from gateway.acceptance.draft import Draft
from gateway.acceptance.fraud_guard import FraudGuard
from gateway.acceptance.media_conversion import NO_MMS_THERE, settle_media
from gateway.acceptance.pending_enrichment import PendingEnrichment
from gateway.acceptance.unassigned import UnassignedQueue
from gateway.channels.connector import Ways
from gateway.content.encoding import encode, whole
from gateway.content.references import References
from gateway.directory.directory import Directory
from gateway.directory.sender_rates import SenderRates
from gateway.messages.lifecycle import Refused, SenderChosen, Undeliverable, advance
from gateway.messages.message import Flag, Message, Status, unbilled
from gateway.pacing.rates import destination_class, queue_limit
from gateway.recipients.recipients import MappingUse, RecipientFacts
from gateway.routing.destination import Destination
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender
from gateway.runtime.clock import Clock


class Router:
    """Gives messages their senders, and keeps the standing of these."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        rates: SenderRates,
        ways: Callable[[int], Ways | None] = lambda carrier_id: None,
        *,
        generic_ids: Iterable[str] = (),
    ) -> None:
        self._directory = directory
        self._clock = clock
        self.rates = rates
        # The ways of a carrier, by its id; None where it is not known.
        self.ways = ways
        self.references = References(clock.wall())
        self.protection = FraudGuard(directory, clock)
        self.awaited = PendingEnrichment(directory)
        self.loads = SenderLoads(rates.to)
        self.unassigned = UnassignedQueue(self.loads, rates.to)
        self.decider = Decider(directory, self.loads, self.unassigned, generic_ids)

    def route(self, drafts: Sequence[Draft], facts: RecipientFacts) -> None:
        """Decide about each, and make it true: a later one sees what was decided before it."""
        now = self._clock.wall()
        for draft in drafts:
            later = draft.message.status is Status.SCHEDULED or self.awaited.awaits(draft)
            code = 0 if later else settle_media(draft, self._directory)
            self.prepare(draft)
            if later:
                continue  # its sender is chosen when its time has come, or what it needs
            fresh = not draft.weighed  # else it has its place, and is only chosen anew
            if code or (code := self.protection.stops(draft)):
                decision = Decision(code=code)
            else:
                decision = self.decider.decide(draft, facts, now, fresh=fresh)
            self._make_true(draft, decision, facts, now)

    def _make_true(
        self, draft: Draft, decision: Decision, facts: RecipientFacts, now: float
    ) -> None:
        sender, code, rule, shown, voids, use = decision
        message = draft.message
        message.rule = rule
        if shown is not None:
            message.sender_address = shown
        if voids or use:
            self._map(draft, decision, facts)
        if code:
            advance(message, (Undeliverable if code == NO_MMS_THERE else Refused)(code), now)
            return
        if sender is None:
            return  # it stays `accepted`
        self.assign(message, sender, draft.destination)
        advance(message, SenderChosen(), now)

    def _map(self, draft: Draft, decision: Decision, facts: RecipientFacts) -> None:
        """What the decision means for the recipient's mapping, and for who has how many."""
        message, sender, made = draft.message, decision.sender, decision.mapping is MappingUse.MADE
        lost = facts.void(draft.key) if decision.voids else 0
        if sender is not None and made:
            facts.made(draft.key, sender.id, message.id)
        elif sender is not None and decision.mapping is MappingUse.FOLLOWED:
            service = self._directory.services_by_id[message.service_id or 0]
            facts.used(draft.key, sender.id, service.pool.settings.sticky_ttl_s)
        if lost:
            self.loads.mapped(lost, -1)
        if sender is not None and made:
            self.loads.mapped(sender.id)

    def undo(self, drafts: Iterable[Draft], facts: RecipientFacts) -> None:
        """The batch was not committed: its messages have no senders, its mappings are none."""
        self.take_back(drafts)
        for key in facts.fresh:
            self.loads.mapped(facts.mappings[key].sender_id, -1)

    def take_back(self, drafts: Iterable[Draft]) -> None:
        """Let these be decided about anew."""
        for draft in drafts:
            self.release(draft.message)
            draft.message.unassign()

    def give(self, draft: Draft, sender: Sender) -> None:
        """Queue the message for this sender, whatever the rules say."""
        self.prepare(draft)
        self.assign(draft.message, sender, draft.destination)
        advance(draft.message, SenderChosen(), self._clock.wall())

    def prepare(self, draft: Draft) -> None:
        """Encode the text, as far as that does not depend on a sender."""
        message = draft.message
        if message.as_mms:
            message.content = whole(message.text)
        elif message.content is None:
            smart = draft.smart
            if smart is None:
                service = self._directory.services_by_id.get(message.service_id or 0)
                smart = service.pool.settings.smart_encoding if service is not None else False
            message.content = encode(message.text, smart=smart)
        message.encoding = message.content.encoding
        message.segments = len(message.content.parts)

    def assign(self, message: Message, sender: Sender, destination: Destination) -> None:
        """Bind the message to a sender, and let the sender's standing know."""
        message.sender_id = sender.id
        message.carrier_id = sender.carrier_id
        message.sender_address = sender.address
        self._fit(message)
        message.destination_class = destination_class(destination.country, message.as_mms)
        message.price = self._directory.facts.prices.price(
            destination.country, sender.kind, message.billed_segments, mms=message.as_mms
        )
        if not message.reference:
            message.reference = self.references.next(sender.id, message.recipient, message.segments)
        self.loads.assigned(sender.id, message.segments, self._clock.wall())

    def _fit(self, message: Message) -> None:
        """Encode in the way of the carrier where that differs: parts may be fewer or more."""
        message.flags &= ~Flag.UNBILLED
        ways = self.ways(message.carrier_id)
        if ways is None or message.content is None or message.as_mms:
            return
        content = message.content = ways.fit(message.content)
        message.encoding = content.encoding
        message.segments = len(content.parts)
        if content.counted:
            message.flags |= unbilled(len(content.parts) - content.counted)
        # After a change of the carrier's settings, what was answered may be parts of another cut.
        message.answered &= message.all_segments

    def retake(self, message: Message, destination: Destination) -> bool:
        """Take a routed message up again after a restart. False: its sender is gone."""
        record = self._directory.senders_by_id.get(message.sender_id)
        if record is None:
            return False
        self.assign(message, record.sender, destination)
        return True

    def release(self, message: Message) -> None:
        """The message left its sender's queue for good."""
        if message.sender_id:
            self.loads.settled(message.sender_id, message.segments)

    def configuration_changed(self) -> None:
        """Queue limits follow the rates (docs/spec/messaging-services.md#queue-limits); what is
        gone is let go of."""
        self.decider.configuration_changed()
        services = self._directory.services.values()
        self.loads.keep_only({group for service in services for group in service.pool.groups()})
        for record in self._directory.senders.values():
            rate = self.rates.towards(record.sender.id, destination_class(record.sender.country))
            self.loads.set_limit(record.sender.id, queue_limit(rate))
        self.loads.set_together(self.rates.quotas.together())
        self.loads.rates_changed()
