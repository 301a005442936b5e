"""One message in memory: what the pipeline passes from hand to hand.

A slotted object, since a million of them may wait at once. Times are seconds since 1970,
0.0 meaning *not yet*; the row in Postgres says NULL.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final

from gateway.content.encoding import Content, Encoding
from gateway.pacing.rates import DestinationClass
from smpp.pdu import Tlvs as Tlvs  # a message carries them for whoever made it
from storage.ids import Id, id_from_bytes

WEBHOOK_OWED = (
    1  # the bit of `handling` that a replay sets; the others: gateway.inbound.owed_webhook
)
MOST_CARRIER_TLVS = 1_024  # octets kept of one message's; what is above is not kept


class Status(IntEnum):
    """As stored; `.shown` is the API's word. The order is the order of a life."""

    ACCEPTED = 0
    SCHEDULED = 1
    QUEUED = 2
    SENDING = 3
    SENT = 4
    DELIVERED = 5
    UNDELIVERED = 6
    FAILED = 7
    CANCELED = 8
    READ = 9
    RECEIVED = 10

    @property
    def shown(self) -> str:
        return SHOWN[self]

    @property
    def final(self) -> bool:
        return self >= Status.DELIVERED


SHOWN = {status: status.name.lower() for status in Status}


class Direction(IntEnum):
    """As stored; `.shown` is the API's word."""

    INBOUND = 0
    OUTBOUND_API = 1
    OUTBOUND_REPLY = 2

    @property
    def shown(self) -> str:
        return SHOWN_DIRECTION[self]


SHOWN_DIRECTION = {direction: direction.name.lower().replace("_", "-") for direction in Direction}
UNBILLED_SHIFT: Final = 16


class Flag:
    """Bits of the `flags` column. Plain numbers: an enumeration's are joined in Python."""

    # sent again after an answer was lost (docs/reliability.md#the-one-ambiguity)
    POSSIBLE_DUPLICATE: Final = 1
    MEDIA: Final = 2  # the SID starts with MM
    # the one confirmation of a STOP: it passes the block list
    # (docs/spec/messaging-services.md#effects-of-keywords)
    DESPITE_OPT_OUT: Final = 4
    FORGET_TEXT: Final = 8  # ContentRetention=discard; cleared when it is done
    FORGET_RECIPIENT: Final = 16  # AddressRetention=obfuscate; cleared when it is done
    PROVIDE_FEEDBACK: Final = 32
    AWAITS_MEDIA: Final = 64  # its media are not fetched yet
    # its media go as links in its text, as an SMS (docs/spec/messaging-services.md#converter)
    CONVERTED: Final = 128
    CONVERSATION: Final = 256  # sent for a message of a conversation, which keeps receipts of it
    ERASED: Final = 512  # its text: what comes late must not bring it back
    # Four bits that hold a number: parts that leave beyond those that count (`billed_segments`).
    UNBILLED: Final = 15 << UNBILLED_SHIFT


_MMS = Flag.MEDIA | Flag.CONVERTED


class Trouble:
    """Why a submission was not answered as hoped: bits, plain numbers like those of Flag."""

    NONE: Final = 0
    # bytes written, and the connection ended without an answer
    # (docs/reliability.md#the-one-ambiguity)
    LOST: Final = 1
    TIMED_OUT: Final = 16  # the same, on a connection that lives
    UNSENT: Final = 2  # never written
    CONGESTED: Final = 4  # the carrier is sent too much
    BUSY: Final = 8  # there is no room for this recipient's message just now


class Message:
    """An outbound message between its acceptance and its last acknowledged callback."""

    __slots__ = (
        "__weakref__",
        "account_id",
        "answered",
        "attempts",
        "callback_url",
        "callbacks_done",
        "calling",
        "carrier_id",
        "carrier_tlvs",
        "committed",
        "content",
        "destination_class",
        "direction",
        "done_at",
        "done_date",
        "encoding",
        "error_code",
        "expires_at",
        "extras",
        "flags",
        "handling",
        "id",
        "operation_id",
        "outstanding",
        "price",
        "priority",
        "queued_at",
        "receipts",
        "recipient",
        "reference",
        "refusal",
        "rule",
        "segments",
        "send_at",
        "sender_address",
        "sender_id",
        "sent_at",
        "service_id",
        "spilled",
        "status",
        "submitted_body",
        "tlvs",
        "trouble",
        "unanswered",
        "valid_until",
        "waiting",
    )

    def __init__(
        self,
        id: Id,
        account_id: int,
        recipient: str,
        body: str,
        *,
        service_id: int | None = None,
        direction: Direction = Direction.OUTBOUND_API,
        callback_url: str | None = None,
        valid_until: float = 0.0,
        tlvs: Tlvs = (),
        send_at: float = 0.0,
        extras: dict[str, Any] | None = None,
        flags: int = 0,
    ) -> None:
        self.id = id
        self.account_id = account_id
        self.service_id = service_id
        self.recipient = recipient
        self.submitted_body = body
        self.callback_url = callback_url
        self.valid_until = valid_until
        # SMPP parameters that came with it, for the carriers that take them.
        self.tlvs = tlvs
        self.direction = direction
        self.flags = flags
        self.send_at = send_at  # of a scheduled message, until it is let in
        # Create parameters that few messages have, by API field name.
        self.extras = extras
        self.priority = 0
        self.reference = 0
        self.operation_id: Id | None = None  # of the bulk send that it came with
        self.rule = -1  # the id of the selector's rule that chose the sender; -1: none did
        self.unassign()

        # Its life so far.
        self.queued_at = 0.0
        self.committed = Status.ACCEPTED  # the status last written to Postgres
        self.sent_at = 0.0
        self.done_date: str | None = None
        self.outstanding = 0  # bit i: segment i was given to a bind, its outcome is open
        self.answered = 0  # bit i: segment i has its submit_sm_resp
        self.trouble = Trouble.NONE  # what befell the segments of this submission
        self.attempts = 0  # rests it had to take: BUSY, or TIMED_OUT
        self.unanswered = 0  # submissions that TIMED_OUT
        self.refusal = 0  # the code of a segment refused for good
        self.receipts = 0  # bit i: segment i has a positive receipt
        self.carrier_tlvs = b""  # of answers and receipts, as they came
        self.callbacks_done = 0
        self.handling = 0  # what an inbound one still leads to (gateway.inbound.owed_webhook)
        self.spilled = False  # it waits in its row, and is in no queue
        self.calling = False  # a status callback is under way or planned

    def unassign(self) -> None:
        """As before a sender was chosen."""
        self.status = Status.SCHEDULED if self.send_at else Status.ACCEPTED
        self.sender_id = 0  # 0: none yet
        self.carrier_id = 0
        self.sender_address: str | None = None
        self.content: Content | None = None  # dropped once every segment is answered
        self.encoding = Encoding.GSM7
        self.segments = 0
        self.expires_at = 0.0  # `valid_until` on the line of deadlines, while it waits
        self.destination_class = DestinationClass.INTERNATIONAL
        self.price: Decimal | None = None  # what it costs if it is sent
        self.error_code = 0
        self.done_at = 0.0
        self.waiting = True  # not claimed yet

    def heard(self, tlvs: bytes) -> None:
        """The carrier sent these optional parameters with an answer or a receipt."""
        if len(self.carrier_tlvs) + len(tlvs) <= MOST_CARRIER_TLVS:
            self.carrier_tlvs += tlvs

    @property
    def as_mms(self) -> bool:
        """Whether it leaves as an MMS."""
        return self.flags & _MMS == Flag.MEDIA

    @property
    def media(self) -> tuple[str, ...] | None:
        """Of an MMS, the links to its media; None for what is an SMS."""
        return self._links if self.as_mms else None

    @property
    def _links(self) -> tuple[str, ...]:
        return tuple(self.extras.get("links", ())) if self.extras else ()

    @property
    def text(self) -> str:
        """The text to be sent, before Smart Encoding: that submitted, with what was put into it."""
        if self.flags & Flag.CONVERTED:
            return " ".join(filter(None, (self.submitted_body, *self._links)))
        return self.submitted_body

    @property
    def sid(self) -> str:
        return ("MM" if self.flags & Flag.MEDIA else "SM") + self.id.hex

    @property
    def billed_segments(self) -> int:
        """As shown, and as paid for: by 153 or 67 a part, whatever the carrier's parts
        (docs/spec/messaging-services.md#capacity)."""
        return billed_segments(self.segments, self.flags)

    @property
    def all_segments(self) -> int:
        """The bit mask in which every segment is set."""
        return (1 << self.segments) - 1

    @property
    def created_at(self) -> float:
        return created_at(self.id)


def billed_segments(segments: int, flags: int) -> int:
    """Of a message or its row."""
    return segments - ((flags & Flag.UNBILLED) >> UNBILLED_SHIFT)


def unbilled(parts: int) -> int:
    """The bits of `flags` that say so."""
    return min(max(parts, 0) << UNBILLED_SHIFT, Flag.UNBILLED)


def created_at(id: Id) -> float:
    """When the message with this id was accepted, to the millisecond."""
    return int.from_bytes(id.bytes[:6], "big") / 1000


class IdSource:
    """Makes ids: 48 bits of milliseconds, 16 of sequence, 64 of chance.

    They are the order of acceptance, so they rise strictly, over restarts, too: a source goes on
    `after` what is stored. When the wall clock was set back, their time goes on at half the speed
    until it is true again, so that how old something is can still be told by it.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._random_bytes = random_bytes
        self._last = 0
        self._at = 0.0
        self._seen_at = 0.0

    def __call__(self) -> Id:
        last = self._last + 1
        at = int(self.now() * 1000) << 16
        self._last = last = at if at > last else last
        return id_from_bytes(last.to_bytes(8, "big") + self._random_bytes(8))

    def now(self) -> float:
        """The time that an id made now bears (wall clock)."""
        monotonic, wall = self._monotonic(), self._wall()
        at = self._at + (monotonic - self._seen_at) / 2
        self._at = at = wall if wall > at else at
        self._seen_at = monotonic
        return at

    def age(self, id: Id) -> float:
        """Seconds since this id was made, by this process or one before it."""
        return self.now() - created_at(id)

    def follow(self, id: Id) -> None:
        """All that is made from now on comes after this one."""
        self._last = max(self._last, int.from_bytes(id.bytes[:8], "big"))
        self._at = max(self.now(), created_at(id))
