"""Cutting a message into parts (docs/spec/messaging-services.md#capacity).

Greedy fill, with what must not be torn kept whole: an escape and its septet, a surrogate
pair, and, when it fits in one part, a character with its combining marks or an emoji
sequence. The figures are those of an 8-bit reference (153 septets, 67 UCS-2 units) whatever
a connector uses on the wire, because segments are what is counted, paced and billed.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from smpp.alphabet import ESCAPE

SINGLE_SEPTETS: Final = 160
PART_SEPTETS: Final = 153
SINGLE_UNITS: Final = 70  # UTF-16 code units
PART_UNITS: Final = 67
# With a 16-bit reference, whose header is an octet longer.
PART_SEPTETS_16: Final = 152
PART_UNITS_16: Final = 66

_ZWJ = "\u200d"
# Regional indicators pair up to flags; skin tones and tags extend the emoji before them.
_FLAG_FIRST, _FLAG_LAST = "\U0001f1e6", "\U0001f1ff"
_TONE_FIRST, _TONE_LAST = "\U0001f3fb", "\U0001f3ff"
_TAG_FIRST, _TAG_LAST = "\U000e0020", "\U000e007f"


def split_septets(
    septets: bytes, single: int = SINGLE_SEPTETS, part: int = PART_SEPTETS
) -> tuple[bytes, ...]:
    """Cut unpacked septets into parts; never between an escape and its septet."""
    if len(septets) <= single:
        return (septets,)
    parts: list[bytes] = []
    start = 0
    while start < len(septets):
        end = start + part
        # An escape is never escaped in what we encode, so the last septet alone tells.
        if end < len(septets) and septets[end - 1] == ESCAPE:
            end -= 1
        parts.append(septets[start:end])
        start = end
    return tuple(parts)


def split_units(text: str, part: int = PART_UNITS) -> tuple[bytes, ...]:
    """Encode as UTF-16BE and cut into parts. `text` must not hold lone surrogates."""
    octets = text.encode("utf-16-be")
    if len(octets) <= 2 * SINGLE_UNITS:
        return (octets,)
    parts: list[bytes] = []
    start = 0  # in code points
    while octets:
        cut = 2 * part
        if len(octets) > cut:
            if 0xD8 <= octets[cut - 2] <= 0xDB:  # the pair's first half would end the part
                cut -= 2
            end = start + len(octets[:cut].decode("utf-16-be"))
            kept = _sequence_border(text, start, end, part)
            if kept < end:
                cut -= len(text[kept:end].encode("utf-16-be"))
                end = kept
            start = end
        parts.append(octets[:cut])
        octets = octets[cut:]
    return tuple(parts)


def _sequence_border(text: str, start: int, end: int, part: int) -> int:
    """The last place at or before `end` that tears no sequence; `end` if there is no good one.

    A sequence longer than a part is torn where the part is full: moving it to the next
    part would leave a gap and tear it there all the same.
    """
    border = end
    while border > start and _joined(text, border):
        border -= 1
    if border in (start, end):
        return end
    after = end
    while after < len(text) and _joined(text, after):
        after += 1
        if after - border > part:
            return end
    if len(text[border:after].encode("utf-16-be")) > 2 * part:
        return end
    return border


def _joined(text: str, index: int) -> bool:
    """Whether the characters before and at `index` belong together.

    The part of Unicode's grapheme cluster rules (UAX 29) that shows in messages: combining
    marks and variation selectors, ZWJ sequences, skin tones, tags, flags, conjoining Hangul.
    """
    before, here = text[index - 1], text[index]
    if here < "\u0300":
        return before == _ZWJ and here > "\x7f"
    return (
        here == _ZWJ
        or before == _ZWJ
        or unicodedata.category(here)[0] == "M"
        or _TONE_FIRST <= here <= _TONE_LAST
        or _TAG_FIRST <= here <= _TAG_LAST
        or (_FLAG_FIRST <= here <= _FLAG_LAST and _flags_before(text, index) % 2 == 1)
        or _hangul_joined(before, here)
    )


def _flags_before(text: str, index: int) -> int:
    count = 0
    while count < index and _FLAG_FIRST <= text[index - 1 - count] <= _FLAG_LAST:
        count += 1
    return count


def _hangul_joined(before: str, here: str) -> bool:
    """Conjoining jamo: vowels and finals join the jamo or syllable before them."""
    return "\u1160" <= here <= "\u11ff" and (
        "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    )
