"""From an accepted draft to a message with a sender, an encoding and segments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

from gateway.acceptance.draft import Draft
from gateway.acceptance.fraud_guard import FraudGuard
from gateway.acceptance.pending_enrichment import PendingEnrichment
from gateway.acceptance.unassigned import UnassignedQueue
from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.references import joined
from gateway.content.encoding import encode, whole
from gateway.directory.directory import Directory, Service
from gateway.directory.quotas import Quotas
from gateway.messages.lifecycle import Refused, SenderChosen, Undeliverable, advance
from gateway.messages.message import Flag, Message, unbilled
from gateway.pacing.rates import DestinationClass, default_rate, destination_class, queue_limit
from gateway.recipients.recipients import OPTED_OUT, RecipientFacts, scopes
from gateway.routing.destination import Destination
from gateway.routing.question import (
    NO_SENDER,
    QUEUES_FULL,
    UNREACHABLE,
    Channel,
    Choice,
    Mapping,
    Needs,
)
from gateway.routing.selector import select
from gateway.routing.sender_load import SenderLoads
from gateway.routing.sender_pool import Sender, SenderKind, SenderPool
from gateway.runtime.clock import Clock

COUNTRY_OF_CLASS: dict[Hashable, str] = {DestinationClass.US: "US", DestinationClass.CA: "CA"}
NO_SERVICE = 21701
SENDER_GONE = 21711  # the From was deleted
NO_MMS_THERE = 30011  # the recipient's carrier takes none
COUNTRY_CLOSED = 21408
GENERIC_ID = 30042
NO_MMS_HERE = 21621  # the From carries none
REFERENCES = 100_000  # (sender, recipient) pairs whose concatenation counter is remembered
# A run begins its references beyond what the one before it gave, if that gave fewer a second: after
# a crash two messages to one recipient must not bear the same, or their parts would be joined.
REFERENCES_PER_S = 2_048


class Lookup(Protocol):
    """What is known of recipients' carriers."""

    def known(self, e164: str) -> str | None:
        """The carrier, empty when nobody knows it; None when it must be asked for."""

    async def carrier(self, e164: str) -> str:
        """The same, asked for if need be."""


class Router:
    """Asks the selector with the standing of all senders; fills in the message."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        profile: Callable[[int], Profile | None] = lambda carrier_id: None,
        *,
        rate_per_second: float | None = None,
        generic_ids: Iterable[str] = (),
        workers: int = 1,
    ) -> None:
        self._directory = directory
        self._clock = clock
        # The ways of a carrier, by its id; None where it is not known.
        self.profile = profile
        self._rate_for_all = rate_per_second
        self._generic_ids = frozenset(id_.upper() for id_ in generic_ids)
        self._references: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._next_reference = 0
        self.begin_references(clock.wall())
        self.protection = FraudGuard(directory, clock)
        # The operator's, where one is configured.
        self.lookup: Lookup | None = None
        self.awaited = PendingEnrichment()
        self.quotas = Quotas(directory, workers)
        self.loads = SenderLoads(self._rate)
        self._alone: dict[int, SenderPool] = {}  # by sender
        self.unassigned = UnassignedQueue(self.loads, self._rate)

    def begin_references(self, at: float) -> None:
        """Begin with those of a moment, which is no earlier than any of a former run's."""
        self._next_reference = int(at * REFERENCES_PER_S) & 0xFFFF

    def route(self, draft: Draft, known: RecipientFacts | None = None) -> None:
        """Choose sender and encoding; a message that nobody can carry becomes `failed`.

        One that would wait long for its sender stays `accepted`: it waits in `unassigned`.
        """
        message, now = draft.message, self._clock.wall()
        known = known if known is not None else RecipientFacts(wall=now)
        draft.prepared = True
        fresh = not draft.weighed  # else it has its place, and is only chosen anew
        service = self._directory.services_by_id.get(message.service_id or 0)
        against = self.settle_media(draft) or self.protection.stops(draft)
        self.prepare(draft)
        if against:
            sender = self._refuse(message, against, now)
        elif service is not None:
            sender = self._choose(draft, service, known, now, fresh)
        elif message.service_id is not None:  # it was deleted while the message waited
            sender = self._refuse(message, NO_SERVICE, now)
        else:
            assert draft.from_record is not None, "without a service there is a From"
            sender = draft.from_record.sender
            if sender.id not in self._directory.senders_by_id:  # deleted since the request
                sender = self._refuse(message, SENDER_GONE, now)
            elif self._blocked(
                message, known, scopes(None, sender.id, draft.from_record.service_id)
            ):
                message.sender = sender.address  # shown even where it fails
                sender = self._refuse(message, OPTED_OUT, now)
        if sender is not None:
            self.assign(message, sender, draft.destination)
            advance(message, SenderChosen(), now)

    def give(self, draft: Draft, sender: Sender) -> None:
        """Queue the message for this sender, whatever the rules say."""
        self.prepare(draft)
        self.assign(draft.message, sender, draft.destination)
        advance(draft.message, SenderChosen(), self._clock.wall())

    def awaits(self, draft: Draft) -> bool:
        """Whether something from outside is needed before a sender can be chosen."""
        if draft.prepared:
            return False
        if draft.outside:
            return True
        message = draft.message
        if not (
            draft.awaits_media
            or self.awaited.ahead_of(message.account_id, message.recipient)
            # The carrier is worth a short wait, and no refusal.
            or (self.asks_carrier(draft) and not self.awaited.full)
        ):
            return False
        if draft.from_address is not None:  # a crash must not forget it
            message.extras = {**(message.extras or {}), "from": draft.from_address}
        self.awaited.begin(draft)
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

    def settle_media(self, draft: Draft) -> int:
        """Decide between MMS and SMS with links. The code of what stands against both, or 0.

        A country that is closed to the account stands against every message.
        """
        message = draft.message
        against = self._closed(message, draft.destination)
        if against or not message.as_mms:
            return against
        return self._convert(draft, self._directory.services_by_id.get(message.service_id or 0))

    def _closed(self, message: Message, destination: Destination) -> int:
        """21408 where the account does not send to this country."""
        account = self._directory.accounts_by_id.get(message.account_id)
        if account is None or not account.closed_countries:
            return 0
        return COUNTRY_CLOSED if destination.country in account.closed_countries else 0

    def _convert(self, draft: Draft, service: Service | None) -> int:
        """Make the MMS an SMS with links where its recipient takes no MMS
        (docs/spec/messaging-services.md#converter).

        The code of what stands against that; 0 when the message can go on, as one or the other.
        """
        message, destination = draft.message, draft.destination
        facts, country = self._directory.facts, destination.country
        if facts.takes_mms(country, draft.network or facts.carrier_of(destination.e164)):
            return 0
        there = NO_MMS_THERE if country in facts.mms_countries else NO_SENDER
        if service is None:
            return there if there == NO_MMS_THERE else UNREACHABLE
        if not service.pool.settings.mms_converter:
            return there
        able = service.pool.senders
        if draft.from_address is not None:
            able = tuple(service.pool.by_address.get(draft.from_address, ()))
        if not any(sender.mms for sender in able):
            return NO_SENDER
        message.flags |= Flag.CONVERTED
        message.content = None
        return 0

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

    def _choose(
        self, draft: Draft, service: Service, known: RecipientFacts, now: float, fresh: bool
    ) -> Sender | None:
        """The sender out of a pool, with what that means for the recipient's mapping."""
        message, key = draft.message, draft.key
        if draft.from_address is not None:
            message.sender = draft.from_address  # shown even where it fails
        if self._blocked(message, known, (service.id,)):
            return self._refuse(message, OPTED_OUT, now)
        mapping = known.mappings.get(key)
        choice = self.select(draft, service, mapping, now)
        if choice.drop_mapping and mapping is not None:
            self.loads.mapped(known.void(key), -1)
            mapping = None
        sender = choice.sender
        message.rule = choice.rule
        if sender is None:
            return self._refuse(message, choice.code, now)
        if self._blocked(message, known, (-sender.id,)):
            return self._refuse(message, OPTED_OUT, now)
        if sender.kind is SenderKind.ALPHA and sender.address.upper() in self._generic_ids:
            return self._refuse(message, GENERIC_ID, now)
        if fresh and self.crowded(sender.id, draft.destination.country):
            return self._refuse(message, QUEUES_FULL, now)
        mapped = mapping is not None and mapping.sender_id == sender.id
        if not mapped and draft.from_address is None and self.unassigned.wants(draft, sender):
            alike = len(service.pool.of(sender.kind, sender.country, False))
            if self.unassigned.full(draft, sender, alike):
                return self._refuse(message, QUEUES_FULL, now)
            return None  # it stays `accepted`
        if choice.new_mapping:
            known.made(key, sender.id, message.id)
            self.loads.mapped(sender.id)
        elif mapped:
            known.used(key, sender.id, service.pool.settings.sticky_ttl_s)
        return sender

    def preview(self, draft: Draft) -> Choice:
        """What the selector would say to a message without a mapping; 21701: no such service."""
        service = self._directory.services_by_id.get(draft.message.service_id or 0)
        if service is None:
            return Choice(None, NO_SERVICE)
        return self.select(draft, service, None, self._clock.wall())

    def select(self, draft: Draft, service: Service, mapping: Mapping | None, now: float) -> Choice:
        """Ask the selector, and nothing else."""
        return select(
            draft.destination,
            Needs(draft.message.as_mms, draft.message.segments, carrier=draft.network),
            service.pool,
            self.loads,
            mapping,
            draft.from_address,
            self._directory.facts,
            now,
        )

    def crowded(self, sender_id: int, country: str) -> bool:
        """Whether its account, or its campaign there, has as much waiting as it may
        (docs/spec/messaging-services.md#queue-limits)."""
        return any(
            limit.backlog + self.unassigned.waiting(limit.accounts, limit.place) >= limit.limit
            for limit in self.loads.together(sender_id)
            if limit.place is None or limit.place[1] == country
        )

    def reach(self, destination: Destination, sender: Sender, needs: Needs) -> Choice:
        """What the selector, and then the queues, say to a From without a service."""
        if self.crowded(sender.id, destination.country):
            return Choice(None, QUEUES_FULL)
        return select(
            destination,
            needs,
            self.alone(sender),
            self.loads,
            None,
            sender.address,
            self._directory.facts,
        )

    def alone(self, sender: Sender) -> SenderPool:
        """A pool of this sender only; kept, as each request with a plain From asks it."""
        pool = self._alone.get(sender.id)
        if pool is None or pool.senders[0] is not sender:
            pool = self._alone[sender.id] = SenderPool((sender,))
        return pool

    def _blocked(self, message: Message, known: RecipientFacts, scopes: tuple[int, ...]) -> bool:
        return not message.flags & Flag.DESPITE_OPT_OUT and known.blocks_any(
            message.recipient, Channel.SMS, scopes
        )

    def _refuse(self, message: Message, code: int, now: float) -> Sender | None:
        """Nobody carries it, and it says why."""
        event = Undeliverable if code == NO_MMS_THERE else Refused
        advance(message, event(code), now)
        message.content = None
        return None

    def assign(self, message: Message, sender: Sender, destination: Destination) -> None:
        """Bind the message to a sender, and let the sender's standing know."""
        message.sender_id = sender.id
        message.carrier_id = sender.carrier_id
        message.sender = sender.address
        self._fit(message)
        message.destination_class = destination_class(destination.country, message.as_mms)
        message.price = self._directory.facts.prices.price(
            destination.country, sender.kind, message.billed_segments, mms=message.as_mms
        )
        if not message.reference:
            message.reference = self._reference(message)
        self.loads.assigned(sender.id, message.segments, self._clock.wall())

    def _fit(self, message: Message) -> None:
        """Encode in the way of the carrier where that differs: parts may be fewer or more."""
        message.flags &= ~Flag.UNBILLED
        profile = self.profile(message.carrier_id)
        if profile is None or message.content is None or message.as_mms:
            return
        content = message.content = profile.fit(message.content)
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
        self._alone.clear()
        services = self._directory.services.values()
        self.loads.keep_only({group for service in services for group in service.pool.groups()})
        for record in self._directory.senders.values():
            rate = self.rate_towards(record.sender.id, destination_class(record.sender.country))
            self.loads.set_limit(record.sender.id, queue_limit(rate))
        self.loads.set_together(self.quotas.together())
        self.loads.rates_changed()

    def rate_of(self, sender: Sender, destination_country: str, *, media: bool = False) -> float:
        """Segments per second of a sender towards a country
        (docs/spec/messaging-services.md#rates)."""
        if sender.rate or self._rate_for_all:
            return sender.rate or self._rate_for_all or 0.0
        kind, country = sender.kind, sender.country
        return default_rate(kind, country, destination_country, media=media).per_second

    def rate_towards(self, sender_id: int, destination_class: Hashable) -> float:
        """The same for a class of destinations, as the pacer keeps its buckets."""
        record = self._directory.senders_by_id.get(sender_id)
        country = COUNTRY_OF_CLASS.get(destination_class, "")
        if record is None:
            return 1.0  # it was deleted while the carrier held mail up, which may still go
        media = destination_class is DestinationClass.MEDIA
        if destination_class is DestinationClass.US and not record.sender.rate:
            campaign = self.quotas.campaign_rate(record)
            if campaign is not None:
                return campaign
        return self.rate_of(record.sender, country, media=media)

    def _rate(self, sender_id: int, destination: Destination) -> float:
        return self.rate_towards(sender_id, destination_class(destination.country))

    def _reference(self, message: Message) -> int:
        """Both references of a message, in one number (see `references`).

        One count for all messages; where parts must be joined, one for each pair as well.
        """
        self._next_reference = self._next_reference % 0xFFFF + 1
        if message.segments == 1:
            return self._next_reference
        key = (message.sender_id, message.recipient)
        reference = self._references.pop(key, self._next_reference - 1) % 0xFFFF + 1
        self._references[key] = reference
        if len(self._references) > REFERENCES:
            self._references.popitem(last=False)
        return joined(reference, self._next_reference)
