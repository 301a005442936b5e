"""From an accepted draft to a message with a sender, an encoding and segments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from gateway.carriers.profile import Profile
from gateway.clock import Clock
from gateway.content.encoding import encode
from gateway.dispatch.directory import Directory, SenderRecord
from gateway.dispatch.message import Message
from gateway.dispatch.states import Queued, Refused, advance
from gateway.pacing.rates import DestinationClass, default_rate, destination_class, queue_limit
from gateway.routing.destination import Destination
from gateway.routing.pool import Sender
from gateway.routing.selector import Needs, select
from gateway.routing.standing import Standing

COUNTRY_OF_CLASS: dict[Hashable, str] = {DestinationClass.US: "US", DestinationClass.CA: "CA"}
REFERENCES = 100_000  # (sender, recipient) pairs whose concatenation counter is remembered


@dataclass(slots=True)
class Draft:
    """A validated request: the message, and what routing needs to know beside it."""

    message: Message
    destination: Destination
    sender: SenderRecord | None = None  # of an explicit From, where we have it
    explicit: str | None = None  # the From given along with a service
    smart: bool | None = None  # SmartEncoded; None: as the service says


class Router:
    """Asks the selector with the standing of all senders; fills in the message."""

    def __init__(
        self,
        directory: Directory,
        clock: Clock,
        profile: Callable[[int], Profile | None] = lambda carrier_id: None,
        *,
        rate_per_second: float | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self.profile = profile
        """The ways of a carrier, by its id; None where it is not known."""
        self._rate_for_all = rate_per_second
        self._references: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._next_reference = int(clock.wall()) & 0xFFFF  # differs from the last run's
        self.standing = Standing(self._rate)

    def route(self, draft: Draft) -> None:
        """Choose sender and encoding; a message that nobody can carry becomes `failed`."""
        message, now = draft.message, self._clock.wall()
        service = self._directory.services_by_id.get(message.service_id or 0)
        smart = draft.smart
        if smart is None:
            smart = service.pool.settings.smart_encoding if service is not None else False
        content = encode(message.submitted_body, smart=smart)
        message.content = content
        message.encoding = content.encoding
        message.segments = len(content.parts)
        if service is not None:
            choice = select(
                draft.destination,
                Needs(segments=message.segments),
                service.pool,
                self.standing,
                None,
                draft.explicit,
            )
            if choice.sender is None:
                advance(message, Refused(choice.code), now)
                message.content = None
                return
            sender = choice.sender
        else:
            assert draft.sender is not None, "without a service there is a From"
            sender = draft.sender.sender
        self.assign(message, sender, draft.destination)
        advance(message, Queued(), now)

    def assign(self, message: Message, sender: Sender, destination: Destination) -> None:
        """Bind the message to a sender, and let the sender's standing know."""
        message.sender_id = sender.id
        message.carrier_id = sender.carrier_id
        message.sender = sender.address
        self._fit(message)
        message.destination_class = destination_class(destination.country)
        if not message.reference:
            message.reference = self._reference(message)
        self.standing.assigned(sender.id, message.segments, self._clock.wall())

    def _fit(self, message: Message) -> None:
        """Encode in the way of the carrier where that differs: parts may be fewer or more."""
        profile = self.profile(message.carrier_id)
        if profile is None or message.content is None:
            return
        content = message.content = profile.fit(message.content)
        message.encoding = content.encoding
        message.segments = len(content.parts)
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
            self.standing.settled(message.sender_id, message.segments)

    def limits_changed(self, senders: Iterable[SenderRecord]) -> None:
        """Configuration changed: queue limits follow the rates (messaging-services §6.4)."""
        for record in senders:
            rate = self.rate_of(record.sender, record.sender.country)
            self.standing.set_limit(record.sender.id, queue_limit(rate))
        self.standing.rates_changed()

    def rate_of(self, sender: Sender, destination_country: str) -> float:
        """Segments per second of a sender towards a country (messaging-services §6.1)."""
        if sender.rate or self._rate_for_all:
            return sender.rate or self._rate_for_all or 0.0
        return default_rate(sender.kind, sender.country, destination_country).per_second

    def rate_towards(self, sender_id: int, destination_class: Hashable) -> float:
        """The same for a class of destinations, as the pacer keeps its buckets."""
        record = self._directory.senders_by_id.get(sender_id)
        country = COUNTRY_OF_CLASS.get(destination_class, "")
        # A sender that was deleted with mail waiting: slow, until that mail is re-selected.
        return self.rate_of(record.sender, country) if record is not None else 1.0

    def _rate(self, sender_id: int, destination: Destination) -> float:
        return self.rate_towards(sender_id, destination_class(destination.country))

    def _reference(self, message: Message) -> int:
        """The next concatenation reference: counted per pair where parts must be joined."""
        self._next_reference = self._next_reference % 0xFFFF + 1
        if message.segments == 1:
            return self._next_reference
        key = (message.sender_id, message.recipient)
        reference = self._references.pop(key, self._next_reference - 1) % 0xFFFF + 1
        self._references[key] = reference
        if len(self._references) > REFERENCES:
            self._references.popitem(last=False)
        return reference
