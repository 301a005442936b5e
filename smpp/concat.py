"""Long messages: how a part says which part it is, and how parts become one again.

Four ways are in use (SMPP 3.4 §3.2.3 and 3GPP TS 23.040 §9.2.3.24): a user data
header with an 8-bit or a 16-bit reference, the three sar_* TLVs, or the whole
text in message_payload, where the SMSC does the cutting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from smpp.pdu import DeliverSm, SubmitSm, Tlvs, tlv
from smpp.vocabulary import SAR_MSG_REF_NUM, SAR_SEGMENT_SEQNUM, SAR_TOTAL_SEGMENTS

_CONCAT_8 = 0x00
_CONCAT_16 = 0x08


class Part(NamedTuple):
    """Which part of which long message this is; `number` counts from 1."""

    reference: int
    total: int
    number: int


# Building --------------------------------------------------------------------


def udh8(reference: int, total: int, index: int) -> bytes:
    """The six octets before a part, with an 8-bit reference (esm_class needs 0x40)."""
    return bytes((5, _CONCAT_8, 3, reference & 0xFF, total, index))


def udh16(reference: int, total: int, index: int) -> bytes:
    """The seven octets before a part, with a 16-bit reference (esm_class needs 0x40)."""
    return bytes((6, _CONCAT_16, 4, reference >> 8 & 0xFF, reference & 0xFF, total, index))


def sar_tlvs(reference: int, total: int, index: int) -> Tlvs:
    """The same as TLVs; the text then keeps its full length (SMPP 3.4 §5.3.2.22-24)."""
    return (
        (SAR_MSG_REF_NUM, (reference & 0xFFFF).to_bytes(2, "big")),
        (SAR_TOTAL_SEGMENTS, bytes((total,))),
        (SAR_SEGMENT_SEQNUM, bytes((index,))),
    )


# Reading ---------------------------------------------------------------------


class Content(NamedTuple):
    """A message's text octets without their header, and what that header said."""

    part: Part | None
    text: bytes
    header: bytes = b""
    """The user data header, without its length octet; ports and shift tables are in it."""


def split_header(message: DeliverSm | SubmitSm) -> Content:
    """Take a message apart. Never raises: a header that cannot be is text.

    A UDH that claims more octets than there are (sm_length 0 with UDHI set is
    one such, Osmocom's crash) leaves the octets as they are. A part outside its
    own total, or of a total of 0 or 1, is a whole message.
    """
    payload = message.payload
    part = None
    header = b""
    if message.udhi and payload and payload[0] < len(payload):
        length = payload[0] + 1
        header = payload[1:length]
        payload = payload[length:]
        part = _part_of(header)
    if part is None and message.tlvs:
        part = _sar_part(message.tlvs)
    return Content(part, payload, header)


def _part_of(header: bytes) -> Part | None:
    """The concatenation element among a header's elements, if it makes sense."""
    at = 0
    while at + 2 <= len(header):
        kind, length = header[at], header[at + 1]
        body = header[at + 2 : at + 2 + length]
        if kind == _CONCAT_8 and length == len(body) == 3:
            return _sensible(body[0], body[1], body[2])
        if kind == _CONCAT_16 and length == len(body) == 4:
            return _sensible(body[0] << 8 | body[1], body[2], body[3])
        at += 2 + length
    return None


def _sar_part(tlvs: Tlvs) -> Part | None:
    reference = tlv(tlvs, SAR_MSG_REF_NUM)
    total = tlv(tlvs, SAR_TOTAL_SEGMENTS)
    index = tlv(tlvs, SAR_SEGMENT_SEQNUM)
    if not reference or not total or not index:
        return None
    # Some send one octet where two belong, and the reverse; of more, the last two count.
    return _sensible(
        int.from_bytes(reference[-2:], "big"),
        int.from_bytes(total, "big"),
        int.from_bytes(index, "big"),
    )


def _sensible(reference: int, total: int, index: int) -> Part | None:
    if 1 < total <= 255 and 1 <= index <= total:
        return Part(reference, total, index)
    return None


# Putting together --------------------------------------------------------------


class Piece(NamedTuple):
    """One part as it arrived: the delivery that must be answered, and its text octets."""

    delivery: DeliverSm
    text: bytes


class Whole(NamedTuple):
    """A message ready to be read: its pieces in order, whatever their data_coding each.

    `missing` are the indexes that did not come in time; `total` counts them too.
    """

    pieces: tuple[Piece, ...]
    total: int
    missing: tuple[int, ...] = ()


_Key = tuple[str, str, int, int]


@dataclass(slots=True)
class _Open:
    deadline: float
    pieces: dict[int, Piece]


class Reassembler:
    """Joins parts by (source, destination, reference, total), across all binds of a carrier.

    Bounded: at most `limit` messages are open; one more gives up the oldest as
    it is. Parts that do not come within `timeout_s` of the first are given up
    too (messaging-services §9.3). The time is passed in.
    """

    def __init__(self, *, timeout_s: float = 60.0, limit: int = 10_000) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self.timeout_s = timeout_s
        self.limit = limit
        self._open: dict[_Key, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, delivery: DeliverSm, now: float) -> list[Whole]:
        """Take one delivery; return the messages that are ready now (seldom more than one).

        A part that is already here is replaced: it was sent again by the SMSC,
        and the answer it waits for belongs to the newer one. Ask `is_duplicate`
        first to treat it otherwise.
        """
        part, text, _ = split_header(delivery)
        piece = Piece(delivery, text)
        if part is None:
            return [Whole((piece,), 1)]
        key = _key(delivery, part)
        ready: list[Whole] = []
        waiting = self._open.get(key)
        if waiting is None:
            if len(self._open) >= self.limit:
                ready.append(self._give_up(next(iter(self._open))))
            waiting = self._open[key] = _Open(now + self.timeout_s, {})
        waiting.pieces[part.number] = piece
        if len(waiting.pieces) == part.total:
            ready.append(self._give_up(key))
        return ready

    def is_duplicate(self, delivery: DeliverSm) -> bool:
        """Whether this very part is here already."""
        part = split_header(delivery).part
        if part is None:
            return False
        waiting = self._open.get(_key(delivery, part))
        return waiting is not None and part.number in waiting.pieces

    def deadline(self) -> float:
        """When `expire` has something to give up next; infinity if nothing is open."""
        for waiting in self._open.values():
            return waiting.deadline
        return float("inf")

    def expire(self, now: float) -> list[Whole]:
        """The messages that waited long enough, with what they have."""
        ready: list[Whole] = []
        while self._open:
            key = next(iter(self._open))
            if self._open[key].deadline > now:
                break
            ready.append(self._give_up(key))
        return ready

    def _give_up(self, key: _Key) -> Whole:
        pieces = self._open.pop(key).pieces
        total = key[3]
        return Whole(
            tuple(pieces[index] for index in sorted(pieces)),
            total,
            tuple(index for index in range(1, total + 1) if index not in pieces),
        )


def _key(delivery: DeliverSm, part: Part) -> _Key:
    return delivery.source.value, delivery.destination.value, part.reference, part.total
