"""Alphabets of short messages: text to octets and back.

What lives here: the GSM 7-bit default alphabet with its extension table, septet packing,
and the reading of a PDU's ``data_coding``. What may not: segmentation, the choice of an
encoding, national language tables (they need a UDH and belong to the gateway's content).

Two shapes of GSM-7 octets must not be mixed up. *Unpacked* is one septet per octet, bit 7
clear: what SMPP carries by default. *Packed* is 3GPP TS 23.038 §6.1.2.1, seven bits after
another, least significant first: what the air interface carries, and some SMSCs ask for.

How the fast path works. ``codecs.charmap_encode`` with a table from ``charmap_build`` is a
C loop of one lookup per character, but it can only give one octet for one character and
insists that octet 0 is U+0000. So the table gives ``@`` (septet 0) and the ten extension
characters stand-ins above 0x7f. Output without high octets is finished; the rest is put
right by ``translate`` and ``replace``, still in C.

Decoding never raises: text from a carrier is shown as well as it can be, never refused.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final

ESCAPE: Final = 0x1B

# 3GPP TS 23.038 §6.2.1, septets 0x00 to 0x7f; 0x1b is the escape to the extension table.
BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)

# 3GPP TS 23.038 §6.2.1.1: the septet after the escape.
EXTENSION: Final[dict[int, str]] = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}

_AT = 0x80
_FIRST_EXTENSION = 0x81
_UNDEFINED = "\ufffe"  # how a charmap table says "nothing here"


class AlphabetError(ValueError):
    """The text has a character that the alphabet has not."""


def _stand_in_table() -> str:
    cells = [_UNDEFINED] * 256
    cells[1:128] = BASIC[1:]
    cells[0] = "\0"
    cells[ESCAPE] = _UNDEFINED
    cells[_AT] = BASIC[0]
    cells[_FIRST_EXTENSION : _FIRST_EXTENSION + len(EXTENSION)] = EXTENSION.values()
    return "".join(cells)


_ENCODE = codecs.charmap_build(_stand_in_table())
_AT_TO_SEPTET = bytes.maketrans(bytes([_AT]), b"\0")
_EXPANSIONS = tuple(
    (bytes([_FIRST_EXTENSION + position]), bytes([ESCAPE, septet]))
    for position, septet in enumerate(EXTENSION)
)

# Octets above 0x7f are no septets. Who sends them under "default alphabet" almost always
# means Latin-1, so they are read as that. A lone escape is shown as a space (TS 23.038
# §6.2.1, note 1).
_DECODE = BASIC.replace("\x1b", " ") + bytes(range(128, 256)).decode("latin-1")


def _stand_ins(text: str) -> bytes | None:
    """One octet per character, `@` and extensions as stand-ins; None outside the alphabet."""
    try:
        octets: bytes = codecs.charmap_encode(text, "strict", _ENCODE)[0]
    except UnicodeEncodeError:
        return None
    return None if 0 in octets else octets


def encode_gsm7(text: str) -> bytes:
    """Encode as unpacked GSM-7: one septet per octet, extension characters as 0x1b + septet.

    Raises AlphabetError when `text` leaves the basic and extension tables.
    """
    octets = _stand_ins(text)
    if octets is None:
        raise AlphabetError("a character is outside the GSM 7-bit default alphabet")
    if octets.isascii():
        return octets
    if octets.translate(None, b"\x80").isascii():
        return octets.translate(_AT_TO_SEPTET)
    for stand_in, pair in _EXPANSIONS:
        octets = octets.replace(stand_in, pair)
    return octets.translate(_AT_TO_SEPTET)


def is_gsm7(text: str) -> bool:
    """Whether every character is in the GSM-7 basic or extension table."""
    return _stand_ins(text) is not None


def decode_gsm7(data: bytes) -> str:
    """Decode unpacked GSM-7; never raises.

    An escape before a septet without an extension gives that septet's basic character, a
    double or trailing escape a space (3GPP TS 23.038 §6.2.1.1).
    """
    text: str = codecs.charmap_decode(data, "replace", _DECODE)[0]
    if ESCAPE not in data:
        return text
    characters: list[str] = []
    position = 0
    while (escape := data.find(ESCAPE, position)) >= 0:
        characters.append(text[position:escape])
        if escape + 1 < len(data):
            characters.append(EXTENSION.get(data[escape + 1], text[escape + 1]))
        else:
            characters.append(" ")
        position = escape + 2
    characters.append(text[position:])
    return "".join(characters)


def pack(septets: bytes, fill_bits: int = 0) -> bytes:
    """Pack septets into octets, least significant bit first (3GPP TS 23.038 §6.1.2.1).

    `fill_bits` zero bits come first; after a UDH they move the first septet to a septet
    border (one bit after a UDH of 6 octets, none after 7).
    """
    bits = 0
    for septet in reversed(septets):
        bits = bits << 7 | septet
    return (bits << fill_bits).to_bytes((len(septets) * 7 + fill_bits + 7) // 8, "little")


def unpack(data: bytes, septets: int, fill_bits: int = 0) -> bytes:
    """Take `septets` septets out of packed octets; fewer when `data` holds fewer."""
    available = max(0, (len(data) * 8 - fill_bits) // 7)
    bits = int.from_bytes(data, "little") >> fill_bits
    return bytes(bits >> 7 * index & 0x7F for index in range(min(septets, available)))


def unpack_all(data: bytes, fill_bits: int = 0) -> bytes:
    """Unpack a whole body whose septet count is unknown.

    Seven spare bits at the end look like one more septet: CR is the standard's own padding
    there (TS 23.038 §6.1.2.3.1) and zero everybody else's, so both are dropped.
    """
    available = max(0, (len(data) * 8 - fill_bits) // 7)
    septets = unpack(data, available, fill_bits)
    if (len(data) * 8 - fill_bits) % 7 == 0 and septets[-1:] in (b"\r", b"\0"):
        return septets[:-1]
    return septets


def _decode_ucs2(data: bytes) -> str:
    """UTF-16, big-endian unless a byte order mark says otherwise; an odd last octet is cut."""
    if len(data) % 2:
        data = data[:-1]
    if data.startswith(codecs.BOM_UTF16_LE):
        return data[2:].decode("utf-16-le", "replace")
    if data.startswith(codecs.BOM_UTF16_BE):
        data = data[2:]
    return data.decode("utf-16-be", "replace")


# SMPP 3.4 §5.2.19: the values that are SMPP's own and not 3GPP TS 23.038's.
_SMPP_CODECS: Final = {
    0x01: "ascii",
    0x03: "latin-1",
    0x05: "shift_jis",
    0x06: "iso8859-5",
    0x07: "iso8859-8",
    0x0A: "iso2022_jp",
    0x0D: "euc_jp",
    0x0E: "euc_kr",
}


def alphabet_of(data_coding: int, default_alphabet: str = "gsm7") -> str:
    """The alphabet behind a `data_coding`, as one name.

    `default_alphabet`, "ucs2", "octets" or a Python codec's name. Values 0x00 to 0x0f are
    SMPP's list (SMPP 3.4 §5.2.19); above, the coding groups of 3GPP TS 23.038 §4. Who writes
    UTF-8 by default does so as ASCII and as 8-bit octets, too.
    """
    alphabet = _alphabet_of(data_coding, default_alphabet)
    if default_alphabet == "utf8" and alphabet in ("ascii", "octets"):
        return "utf8"
    return alphabet


def _alphabet_of(data_coding: int, default_alphabet: str) -> str:
    if data_coding < 0x10:
        if data_coding == 0x08:
            return "ucs2"
        if data_coding in (0x02, 0x04):
            return "octets"
        return _SMPP_CODECS.get(data_coding, default_alphabet)
    group = data_coding >> 4
    if group < 0x8:  # general, and "marked for automatic deletion": bits 3 and 2 tell
        return (default_alphabet, "octets", "ucs2", default_alphabet)[data_coding >> 2 & 0x3]
    if group == 0xE:  # message waiting, text in UCS-2
        return "ucs2"
    if group == 0xF:  # data coding / message class: bit 2 tells
        return "octets" if data_coding & 0x04 else default_alphabet
    return default_alphabet  # message waiting in the default alphabet, and what is reserved


def _decode_packed(data: bytes, fill_bits: int) -> str:
    return decode_gsm7(unpack_all(data, fill_bits))


_DECODERS: Final[dict[str, Callable[[bytes], str]]] = {
    "gsm7": decode_gsm7,
    "ucs2": _decode_ucs2,
    "utf8": lambda data: data.decode("utf-8", "replace"),
    "octets": lambda data: data.decode("latin-1"),
    "latin1": lambda data: data.decode("latin-1"),
    # "ASCII" carriers pass 8-bit text through, and it is Latin-1 then.
    "ascii": lambda data: data.decode("latin-1"),
}


def decode_text(
    data_coding: int, data: bytes, default_alphabet: str = "gsm7", *, fill_bits: int = 0
) -> str:
    """Decode a body without its UDH; never raises.

    `default_alphabet` says what data_coding 0 and the groups built on it mean at this
    carrier: "gsm7" (unpacked), "packed", "latin1", "ascii" or "utf8". `fill_bits` matters only for
    packed text after a UDH. Join the parts of a long message before decoding when they are
    UCS-2: a careless sender cuts surrogate pairs in two.
    """
    alphabet = alphabet_of(data_coding, default_alphabet)
    if alphabet == "packed":
        return _decode_packed(data, fill_bits)
    decoder = _DECODERS.get(alphabet)
    if decoder is not None:
        return decoder(data)
    try:
        return data.decode(alphabet, "replace")
    except (LookupError, ValueError):  # a codec this build of Python has not
        return data.decode("latin-1")
