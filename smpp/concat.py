"""Long messages: how a part says which part it is, and how parts become one again.

Four ways are in use (SMPP 3.4 §3.2.3 and 3GPP TS 23.040 §9.2.3.24): a user data
header with an 8-bit or a 16-bit reference, the three sar_* TLVs, or the whole
text in message_payload, where the SMSC does the cutting.
"""

from __future__ import annotations

from collections.abc import Container, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from smpp.pdu import DeliverSm, SubmitSm, Tlvs, tlv
from smpp.vocabulary import SAR_MSG_REF_NUM, SAR_SEGMENT_SEQNUM, SAR_TOTAL_SEGMENTS

_CONCAT_8 = 0x00
_CONCAT_16 = 0x08
MOST_ALIKE = 16  # messages under one key at a time
PIECE_OCTETS = 512  # what keeping a part costs beside its octets, about


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


class PartContent(NamedTuple):
    """A message's text octets without their header, and what that header said."""

    part: Part | None
    text: bytes
    # The user data header, without its length octet; ports and shift tables are in it.
    header: bytes = b""


def split_header(message: DeliverSm | SubmitSm) -> PartContent:
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
    return PartContent(part, payload, header)


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
    # Whatever its owner knows it by.
    token: object = None


class Whole(NamedTuple):
    """A message ready to be read: its pieces in order, whatever their data_coding each.

    `missing` are the indexes that did not come in time; `total` counts them too.
    """

    pieces: tuple[Piece, ...]
    total: int
    missing: tuple[int, ...] = ()


_Key = tuple[Hashable, int, int, int]  # pair, reference, total, width of the reference


@dataclass(slots=True)
class _Open:
    """What came under one key: for each number its pieces, in order of arrival."""

    key: _Key
    holder: Hashable
    deadline: float
    pieces: dict[int, list[Piece]] = field(default_factory=dict)
    octets: int = 0

    def take(self, number: int, piece: Piece) -> None:
        """Add a piece, of one more message if that part is here already."""
        self.pieces.setdefault(number, []).append(piece)
        self.octets += len(piece.delivery.payload) + PIECE_OCTETS

    def whole(self) -> list[Whole]:
        """The messages that these pieces are; none while it is open whose a piece is."""
        total = self.key[2]
        counts = {len(pieces) for pieces in self.pieces.values()}
        if len(self.pieces) < total or (len(counts) > 1 and not self._alike()):
            return []
        columns = [self.pieces[number][: min(counts)] for number in range(1, total + 1)]
        if len({tuple(sorted(map(_coding, pieces))) for pieces in columns}) == 1:
            # One is in UCS-2 and the other is not: that tells them apart better than the order.
            columns = [sorted(pieces, key=_coding) for pieces in columns]
        return [Whole(row, total) for row in zip(*columns, strict=True)]

    def after(self, told: int) -> list[tuple[int, Piece]]:
        """The pieces of messages behind so many that are told, with their numbers."""
        return [
            (number, piece) for number, pieces in self.pieces.items() for piece in pieces[told:]
        ]

    def rest(self) -> list[Whole]:
        """What is there, with what is missing.

        Of two messages under one key nobody can tell whose a single part is, unless they say the
        same: each piece is told by itself then, rather than as a text that nobody wrote.
        """
        total = self.key[2]
        numbers = sorted(self.pieces)
        if not self._alike():
            return [
                Whole((piece,), total, _without(total, (number,)))
                for number in numbers
                for piece in self.pieces[number]
            ]
        wholes = []
        for place in range(max(map(len, self.pieces.values()))):
            there = [number for number in numbers if len(self.pieces[number]) > place]
            found = tuple(self.pieces[number][place] for number in there)
            wholes.append(Whole(found, total, _without(total, there)))
        return wholes

    def _alike(self) -> bool:
        """Whether all pieces of one number say the same, so that it is no matter whose each is."""
        return all(
            _says_the_same(pieces[0], other) for pieces in self.pieces.values() for other in pieces
        )


@dataclass(slots=True)
class _Share:
    """What one holder has open, in order of age."""

    octets: int = 0
    keys: dict[_Key, None] = field(default_factory=dict)


class Reassembler:
    """Joins parts by (source, destination, reference, total), across all binds of a carrier.

    A peer may use a key again while a message of it is open: a part that is here already is
    another message's, whatever it says (what was sent again is no part any more: its owner leaves
    it out). Where all that came for a number says the same, the oldest message takes each part;
    else the pieces under that key are told once each of its messages has all of them, paired in
    order of arrival.

    Bounded, in messages and in octets, and so is the share of each holder (a tenant): what is
    beyond gives up the oldest of that holder, or of the one who has most, as it is. Parts that do
    not come within `timeout_s` of the first are given up too
    (docs/spec/messaging-services.md#reassembly). The time is passed in.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 60.0,
        limit: int = 10_000,
        limit_each: int = 2_500,
        most_octets: int = 16 * 1024 * 1024,
        most_octets_each: int = 4 * 1024 * 1024,
    ) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self.timeout_s = timeout_s
        self.limit = limit
        self.limit_each = limit_each
        self.most_octets = most_octets
        self.most_octets_each = most_octets_each
        # What the open pieces cost, about.
        self.octets = 0
        self._open: dict[_Key, _Open] = {}
        self._shares: dict[Hashable, _Share] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self,
        delivery: DeliverSm,
        now: float,
        *,
        pair: Hashable = None,
        holder: Hashable = None,
        token: object = None,
    ) -> list[Whole]:
        """Take one delivery; return the messages that are ready now (seldom more than one).

        `pair` names its source and destination where they may be spelt in several ways; `holder`
        is whose it is.
        """
        part, text, header = split_header(delivery)
        piece = Piece(delivery, text, token)
        if part is None:
            return [Whole((piece,), 1)]
        key = _key(delivery, part, header, pair)
        waiting = self._open.get(key)
        ready: list[Whole] = []
        if waiting is None:
            if len(self._open) >= self.limit:
                ready += self._give_up(next(iter(self._fattest().keys)))
            waiting = self._open_anew(key, holder, now)
        self._take(waiting, part.number, piece)
        if whole := waiting.whole():
            self._close(key)
            if rest := waiting.after(len(whole)):
                following = self._open_anew(key, holder, now)
                for number, other in rest:
                    self._take(following, number, other)
            return ready + whole
        if len(waiting.pieces[part.number]) > MOST_ALIKE:
            return ready + self._give_up(key)
        return ready + self._bounded(waiting.holder)

    def _open_anew(self, key: _Key, holder: Hashable, now: float) -> _Open:
        opened = self._open[key] = _Open(key, holder, now + self.timeout_s)
        self._shares.setdefault(holder, _Share()).keys[key] = None
        return opened

    def _take(self, waiting: _Open, number: int, piece: Piece) -> None:
        before = waiting.octets
        waiting.take(number, piece)
        self.octets += waiting.octets - before
        self._shares[waiting.holder].octets += waiting.octets - before

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
            ready += self._give_up(key)
        return ready

    def _bounded(self, holder: Hashable) -> list[Whole]:
        """Give up the oldest of what is too much."""
        ready: list[Whole] = []
        while (share := self._shares.get(holder)) is not None and (
            share.octets > self.most_octets_each or len(share.keys) > self.limit_each
        ):
            ready += self._give_up(next(iter(share.keys)))
        while self.octets > self.most_octets:
            ready += self._give_up(next(iter(self._fattest().keys)))
        return ready

    def _fattest(self) -> _Share:
        return max(self._shares.values(), key=lambda share: share.octets)

    def _give_up(self, key: _Key) -> list[Whole]:
        return self._close(key).rest()

    def _close(self, key: _Key) -> _Open:
        closed = self._open.pop(key)
        share = self._shares[closed.holder]
        del share.keys[key]
        share.octets -= closed.octets
        self.octets -= closed.octets
        if not share.keys:
            del self._shares[closed.holder]
        return closed


def _key(delivery: DeliverSm, part: Part, header: bytes, pair: Hashable) -> _Key:
    """What the parts of one message have in common; its references are of one width."""
    pair = pair or (delivery.source.value, delivery.destination.value)
    return pair, part.reference, part.total, _width_of(header)


def _width_of(header: bytes) -> int:
    """How wide the reference in a header is, in octets; 0 where it stands in TLVs."""
    at = 0
    while at + 2 <= len(header):
        if (header[at], header[at + 1]) in ((_CONCAT_8, 3), (_CONCAT_16, 4)):
            return header[at + 1] - 2
        at += 2 + header[at + 1]
    return 0


def _says_the_same(piece: Piece, other: Piece) -> bool:
    return piece.text == other.text and _coding(piece) == _coding(other)


def _coding(piece: Piece) -> int:
    return piece.delivery.data_coding


def _without(total: int, there: Container[int]) -> tuple[int, ...]:
    return tuple(number for number in range(1, total + 1) if number not in there)
