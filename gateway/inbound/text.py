"""From the octets of an inbound message to its text. Pure."""

from __future__ import annotations

from itertools import groupby

from gateway.content import national
from smpp.alphabet import decode_text
from smpp.concat import Piece, Whole, split_header

SINGLE_SHIFT, LOCKING_SHIFT = 0x24, 0x25  # user data header elements, 3GPP TS 23.040 §9.2.3.24
DEFAULT_CODING = 0
REPLACEMENT = "�"


def text_of(whole: Whole, default_alphabet: str) -> str:
    """The text of a message, its parts joined.

    Neighbouring parts of one coding are joined before they are decoded: a character may have
    been cut in two. Never raises; what cannot be read becomes U+FFFD, and so does NUL, which
    no store takes.
    """
    texts = []
    pieces = whole.pieces
    if default_alphabet == "packed":
        texts = [_decode([piece], default_alphabet) for piece in pieces]
    else:
        for _, group in groupby(pieces, key=lambda piece: piece.delivery.data_coding):
            texts.append(_decode(list(group), default_alphabet))
    return "".join(texts).replace("\x00", REPLACEMENT)


def _decode(pieces: list[Piece], default_alphabet: str) -> str:
    coding = pieces[0].delivery.data_coding
    octets = b"".join(piece.text for piece in pieces)
    locking, single = _shift_tables(split_header(pieces[0].delivery).header)
    if (locking or single) and coding == DEFAULT_CODING and default_alphabet == "gsm7":
        return national.decode(octets, locking, single)
    return decode_text(coding, octets, default_alphabet)


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
