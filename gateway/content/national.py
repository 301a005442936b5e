"""National language shift tables of GSM-7 (3GPP TS 23.038 §6.2.1.2).

A *locking shift* table takes the place of the basic table for a whole message, a *single shift*
table that of the extension table, for the one septet after an escape. Which are in use is told by
UDH elements 0x25 and 0x24, three octets each, so such a message carries a UDH even when it is one
part (docs/spec/messaging-services.md#choice-of-encoding). They turn 70 characters a segment into up
to 155 for Turkish, Portuguese, Hindi and ten more, at carriers that allow them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from gateway import data
from gateway.content.segments import split_septets
from smpp.alphabet import BASIC, ESCAPE, EXTENSION

LANGUAGES: Final = {
    1: "Turkish",
    2: "Spanish",
    3: "Portuguese",
    4: "Bengali",
    5: "Gujarati",
    6: "Hindi",
    7: "Kannada",
    8: "Malayalam",
    9: "Oriya",
    10: "Punjabi",
    11: "Tamil",
    12: "Telugu",
    13: "Urdu",
}

_OCTETS = 140
_CONCATENATION = 5  # element 0x00 with its length and three octets
_ELEMENT = 3


class Shifted(NamedTuple):
    """Parts in national tables; 0 stands for the default table of that kind."""

    parts: tuple[bytes, ...]
    locking: int
    single: int


@cache
def _tables() -> dict[tuple[str, int], dict[int, str]]:
    tables: dict[tuple[str, int], dict[int, str]] = {}
    for row in data.rows("gsm7.csv"):
        table = tables.setdefault((row["table"], int(row["language_id"])), {})
        table[int(row["septet"], 16)] = chr(int(row["codepoint"].removeprefix("U+"), 16))
    return tables


def locking_table(language: int) -> dict[int, str]:
    """Septet to character; the basic table for 0 and for a language without a locking table."""
    return _tables().get(("locking", language)) or dict(enumerate(BASIC))


def single_table(language: int) -> dict[int, str]:
    """Septet after the escape to character; the extension table for 0."""
    return _tables().get(("single", language)) or EXTENSION


@cache
def _encoder(locking: int, single: int) -> dict[int, str]:
    """Code point to septets, as a table for `str.translate`; one septet wins over two."""
    table = {
        ord(character): chr(ESCAPE) + chr(septet)
        for septet, character in single_table(single).items()
    }
    for septet, character in locking_table(locking).items():
        if septet != ESCAPE:
            table[ord(character)] = chr(septet)
    return table


def capacity(elements: int) -> tuple[int, int]:
    """Septets of a single part and of one of several, with one or two language elements."""
    single = (_OCTETS - 1 - _ELEMENT * elements) * 8 // 7
    part = (_OCTETS - 1 - _CONCATENATION - _ELEMENT * elements) * 8 // 7
    return single, part


def _choices(languages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(locking, single) pairs worth trying, those with one UDH element first."""
    for language in languages:
        if ("single", language) in _tables():
            yield 0, language
    for language in languages:
        if ("locking", language) in _tables():
            yield language, 0
    for language in languages:
        if ("locking", language) in _tables():
            yield language, language


def encode(text: str, languages: Sequence[int]) -> Shifted | None:
    """The shortest coding of `text` with the tables of one of `languages`, or None.

    Among equally many segments the earlier language wins, and a single shift over a locking
    shift: a phone that ignores the element still shows most of a single-shift text.
    """
    best: Shifted | None = None
    needed = set(map(ord, text))
    for locking, single in _choices(languages):
        table = _encoder(locking, single)
        if not needed <= table.keys():
            continue
        septets = text.translate(table).encode("latin-1")
        parts = split_septets(septets, *capacity(bool(locking) + bool(single)))
        if best is None or len(parts) < len(best.parts):
            best = Shifted(parts, locking, single)
    return best


def decode(septets: bytes, locking: int = 0, single: int = 0) -> str:
    """Read unpacked septets in national tables; never raises.

    An unknown septet after an escape shows the locking table's character, a double or
    trailing escape a space (3GPP TS 23.038 §6.2.1.1).
    """
    shown = dict.fromkeys(range(256), " ") | locking_table(locking)
    shown[ESCAPE] = " "
    extra = single_table(single)
    characters: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            characters.append(extra.get(septet) or shown[septet])
            escaped = False
        elif septet == ESCAPE:
            escaped = True
        else:
            characters.append(shown[septet])
    if escaped:
        characters.append(" ")
    return "".join(characters)
