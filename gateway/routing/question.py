"""One sender selection: what is asked, what is answered, and what a sender can do at all.

A `Question` holds the inputs of one selection and what the rules (`selector`) found out so
far. Reach and content are facts of a sender alone, whatever its load: they are here, because
both the rules and the explanation ask them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from gateway.routing.alpha import Preregistration
from gateway.routing.destination import Destination
from gateway.routing.nanp import US_TERRITORIES
from gateway.routing.networks import NetworkFacts
from gateway.routing.sender_load import Level, Load, Rank, SenderLoads, rank
from gateway.routing.sender_pool import (
    CandidateGroup,
    Sender,
    SenderKind,
    SenderPool,
    crosses_into_us,
)

UNREACHABLE: Final = 21612  # no route for this kind of destination, or from this sender
NOT_IN_POOL: Final = 21711  # explicit From is not in the pool of the service
UNUSABLE_FROM: Final = 21606  # explicit From is in the pool, and never goes there
NO_SENDER: Final = 21703  # the pool has senders, none can carry this message there
EMPTY_POOL: Final = 21704
QUEUES_FULL: Final = 30001

US_AND_CANADA: Final = frozenset({"US", "CA"})
TOLL_FREE_REACH: Final = US_AND_CANADA | US_TERRITORIES


class Channel(IntEnum):
    """What the prefix of `To` asks for; SMS also stands for MMS and for a plain number."""

    SMS = 0
    WHATSAPP = 1
    RCS = 2


class Needs(NamedTuple):
    """What the message asks of a sender."""

    # still media after the converter (docs/spec/messaging-services.md#mms-and-mms-converter)
    media: bool = False
    segments: int = 1
    channel: Channel = Channel.SMS
    rcs_reachable: bool = False  # the recipient's capability, where it was looked up
    carrier: str = ""  # the recipient's carrier, where it was looked up


class Mapping(NamedTuple):
    """A sticky mapping of the recipient, as stored."""

    sender_id: int
    created_at: float
    last_used: float


@dataclass(slots=True)
class Choice:
    """The answer: a sender, or a failure code; and what becomes of the mapping."""

    sender: Sender | None
    code: int = 0
    new_mapping: bool = False  # store recipient -> sender
    drop_mapping: bool = False  # delete the stored one first
    rule: int = field(default=-1, compare=False)  # the id of the selector's rule that answered


class Question:
    """One selection under way: its inputs, and what the rules found out so far."""

    __slots__ = (
        "_carrier",
        "country",
        "destination",
        "drop_mapping",
        "explicit",
        "facts",
        "keep_mapping",
        "load",
        "looked_at",
        "mapping",
        "media",
        "needs",
        "now",
        "pool",
        "saw_full",
        "settings",
        "unhealthy",
    )

    def __init__(
        self,
        destination: Destination,
        needs: Needs,
        pool: SenderPool,
        load: Load,
        mapping: Mapping | None,
        explicit: str | None,
        facts: NetworkFacts,
        now: float | None,
    ) -> None:
        self.destination = destination
        self.needs = needs
        self.media = needs.media
        self.pool = pool
        self.settings = pool.settings
        self.load = load
        self.mapping = mapping
        self.explicit = explicit
        self.facts = facts
        self.now = now
        # A toll-free recipient has no country; where connectors take one it is a US matter.
        self.country = destination.country or ("US" if destination.calling_code == "1" else "")
        self.drop_mapping = False
        self.keep_mapping = False  # another sender for this message only
        self.saw_full = False
        self.unhealthy: Sender | None = None  # the first that was passed over for its health
        # Every group a candidate was picked from, with the winner; None keeps no record.
        self.looked_at: list[tuple[CandidateGroup, Sender, Rank]] | None = None
        self._carrier: str | None = None

    @property
    def sticky(self) -> bool:
        """Sticky applies to SMS, MMS and WhatsApp, never to RCS
        (docs/spec/messaging-services.md#sticky-sender)."""
        return self.settings.sticky and self.needs.channel is not Channel.RCS

    @property
    def carrier(self) -> str:
        """The recipient's carrier, empty when unknown; looked up once, if at all."""
        if self._carrier is None:
            self._carrier = self.needs.carrier or self.facts.carrier_of(self.destination.e164)
        return self._carrier

    def takes_short_codes(self) -> bool:
        """Whether the recipient's carrier delivers its country's short codes."""
        return not self.facts.without_short_codes or self.facts.takes_short_codes(
            self.country, self.carrier
        )

    def best(self, group: CandidateGroup) -> Choice | None:
        """The lowest-ranked member of `group`, or None if it is empty, or all passed over.

        Passed over are the full, and, where the service says so, the unhealthy.
        """
        if not group.senders:
            return None
        load, by_mappings = self.load, self.sticky
        by_health = self.settings.skip_unhealthy
        if isinstance(load, SenderLoads):
            place, sender = load.first(group, self.destination, by_mappings, by_health)
        else:
            place, sender = min(
                (rank(sender, load, self.destination, by_mappings, by_health), sender)
                for sender in group.senders
            )
        if self.looked_at is not None:
            self.looked_at.append((group, sender, place))
        level = place[0]
        if level and self._passes_over(level, sender):
            return None
        return Choice(sender, 0, by_mappings and not self.keep_mapping, self.drop_mapping)

    def _passes_over(self, level: int, sender: Sender) -> bool:
        """Whether a group is left out of which this is the best."""
        if level == Level.FULL:
            self.saw_full = True
            return True
        if level == Level.UNHEALTHY:
            if self.unhealthy is None:
                self.unhealthy = sender
            return True
        return self.unhealthy is not None  # one that is down is no better than that

    def fail(self, code: int) -> Choice:
        """No sender, because of `code`."""
        return Choice(None, code, False, self.drop_mapping)


def why_not_reach(question: Question, sender: Sender) -> str | None:
    """Why `sender` cannot reach the destination at all; None when it can
    (docs/spec/messaging-services.md#priority-by-type)."""
    country = question.country
    match sender.kind:
        case SenderKind.LONG_CODE:
            if country in US_AND_CANADA and not crosses_into_us(sender.country):
                return "carriers in the US and Canada refuse foreign numbers"
        case SenderKind.TOLL_FREE:
            if country not in TOLL_FREE_REACH:
                return "toll-free numbers reach the US, Canada and US territories only"
        case SenderKind.SHORT_CODE:
            if sender.country != country:
                return "a short code reaches its own country only"
            if not question.takes_short_codes():
                return f"carrier {question.carrier} does not take short codes"
        case SenderKind.ALPHA:
            return why_not_alpha(question, sender)
        case _:
            pass
    return None


def why_not_alpha(question: Question, sender: Sender) -> str | None:
    """Why an alphanumeric sender cannot reach the destination
    (docs/spec/messaging-services.md#alphanumeric-sender-ids); None when it can."""
    country = question.country
    treatment = question.facts.alpha(country)
    if not treatment.supported:
        return f"{country or 'this destination'} does not take alphanumeric senders"
    if sender.destination_country not in ("", country):
        return f"listed for {sender.destination_country} only"
    if (
        question.settings.strict_preregistration
        and treatment.preregistration is Preregistration.REQUIRED
        and (sender.address, country) not in question.settings.registrations
    ):
        return f"{country} requires registration, and there is none"
    return None


def why_not_carry(question: Question, sender: Sender) -> str | None:
    """Why `sender` cannot carry the content; None when it can."""
    if question.media:
        return None if sender.mms else "has no MMS"
    return None if sender.sms else "has no SMS"


def channel_of(sender: Sender) -> Channel:
    """The channel a sender belongs to."""
    if sender.kind is SenderKind.WHATSAPP:
        return Channel.WHATSAPP
    return Channel.RCS if sender.kind is SenderKind.RCS else Channel.SMS
