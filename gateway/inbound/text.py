"""From the octets of an inbound message to its text. Pure.

What the outbound side writes, this side reads: packed septets behind a header, national tables that
differ from part to part, every data_coding of the default alphabet (a property test sends all forms
of `gateway.channels.smpp.profile` through it).
"""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

from gateway.content import national
from smpp.alphabet import alphabet_of, decode_gsm7, decode_text, unpack_all
from smpp.concat import Piece, Whole, split_header

SINGLE_SHIFT, LOCKING_SHIFT = 0x24, 0x25  # user data header elements, 3GPP TS 23.040 §9.2.3.24
REPLACEMENT = "�"
NUL: Final = b"\0"


class PartForm(NamedTuple):
    """How a part is written."""

    alphabet: str
    data_coding: int
    locking: int
    single: int


def text_of(whole: Whole, default_alphabet: str, *, terminated: bool = False) -> str:
    """The text of a message, its parts joined.

    Neighbouring parts of one form are joined before they are decoded: a character may have been
    cut in two. Never raises; what cannot be read becomes U+FFFD. A NUL is the end of a string in C
    and never text, but in GSM-7, where it is `@`: there one at the end of a part goes only where
    the carrier's texts are known to end so (`terminated`).
    """
    texts = []
    for form, group in groupby(whole.pieces, key=lambda piece: form_of(piece, default_alphabet)):
        pieces = list(group)
        if form.alphabet in ("gsm7", "packed"):
            texts.append(_septets_as_text(form, pieces, terminated))
        elif form.alphabet == "ucs2":
            texts.append(_decode(form, _joined_units(pieces), default_alphabet))
        else:
            texts.append(_decode(form, b"".join(piece.text for piece in pieces), default_alphabet))
    return "".join(texts)


def form_of(piece: Piece, default_alphabet: str) -> PartForm:
    coding = piece.delivery.data_coding
    locking, single = 0, 0
    alphabet = alphabet_of(coding, default_alphabet)
    if piece.delivery.udhi and alphabet in ("gsm7", "packed"):
        locking, single = _shift_tables(split_header(piece.delivery).header)
    return PartForm(alphabet, coding, locking, single)


def ends_with_nul(whole: Whole, default_alphabet: str) -> bool | None:
    """Whether a text in unpacked GSM-7 ends with a NUL; None for any other."""
    last = whole.pieces[-1]
    if not last.text or form_of(last, default_alphabet).alphabet != "gsm7":
        return None
    return last.text.endswith(NUL)


def _septets_as_text(form: PartForm, pieces: list[Piece], terminated: bool) -> str:
    parts = []
    for piece in pieces:
        septets = piece.text
        if form.alphabet == "packed":
            # The first septet begins on a septet border behind the header (TS 23.040 §9.2.3.24).
            header_octets = len(piece.delivery.payload) - len(piece.text)
            septets = unpack_all(septets, -8 * header_octets % 7)
        parts.append(septets.removesuffix(NUL) if terminated else septets)
    septets = b"".join(parts)
    if form.locking or form.single:
        return national.decode(septets, form.locking, form.single)
    return decode_gsm7(septets)


def _joined_units(pieces: list[Piece]) -> bytes:
    """Parts of UCS-2 together; one odd NUL behind a part is no half of a character."""
    parts = []
    for number, piece in enumerate(pieces):
        octets = piece.text
        last = number + 1 == len(pieces)
        if (
            len(octets) % 2
            and octets.endswith(NUL)
            and (
                last
                or len(pieces[number + 1].text) % 2 == 0
                or pieces[number + 1].text.endswith(NUL)
            )
        ):
            octets = octets[:-1]
        parts.append(octets)
    return b"".join(parts)


def _decode(form: PartForm, octets: bytes, default_alphabet: str) -> str:
    text = decode_text(form.data_coding, octets, default_alphabet)
    if form.alphabet == "octets":  # no text: what is in the middle of it says so
        return text.strip("\0").replace("\0", REPLACEMENT)
    return text.replace("\0", "")


def _shift_tables(header: bytes) -> tuple[int, int]:
    """The national tables that a user data header names: (locking, single)."""
    found = {LOCKING_SHIFT: 0, SINGLE_SHIFT: 0}
    at = 0
    while at + 2 < len(header):
        kind, length = header[at], header[at + 1]
        if kind in found and length == 1:
            found[kind] = header[at + 2]
        at += 2 + length
    return found[LOCKING_SHIFT], found[SINGLE_SHIFT]


class Endings:
    """Which carriers end every text of GSM-7 with a NUL, as C does: learnt from their texts.

    Of several handsets: what one of them writes says nothing of the others' texts.
    """

    LEARN_AFTER: Final = 5  # texts in a row; one without it is enough to know better
    HANDSETS: Final = 3  # that wrote them

    def __init__(self) -> None:
        self._in_a_row: dict[int, int] = {}  # by carrier
        self._handsets: dict[int, set[str]] = {}

    def learnt(self, carrier_id: int, handset: str, ends_with_nul: bool) -> bool:
        """Whether this carrier's texts all end so, with this one."""
        handsets = self._handsets.setdefault(carrier_id, set())
        if not ends_with_nul:
            handsets.clear()
            self._in_a_row[carrier_id] = 0
            return False
        if len(handsets) < self.HANDSETS:
            handsets.add(handset)
        count = self._in_a_row[carrier_id] = min(
            self._in_a_row.get(carrier_id, 0) + 1, self.LEARN_AFTER
        )
        return count >= self.LEARN_AFTER and len(handsets) >= self.HANDSETS
