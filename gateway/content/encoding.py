"""From a text to what is sent: Smart Encoding, encoding choice, segments.

The order is fixed (docs/spec/messaging-services.md#order-of-work-for-one-outbound-message step 9):
replace, choose, cut. A text whose characters are all in GSM-7 goes as GSM-7, any other as UCS-2
(docs/spec/messaging-services.md#choice-of-encoding); national language tables are used only when a
connector lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from gateway.content import national
from gateway.content.segments import SINGLE_SEPTETS, split_septets, split_units
from gateway.content.smart import smarten
from smpp.alphabet import AlphabetError, encode_gsm7
from smpp.alphabet import is_gsm7 as is_gsm7  # what a text must be to go as GSM-7

BODY_LIMIT: Final = 1600  # UTF-16 code units of the submitted text; beyond: error 21617
# What was put into a text since may make it longer
# (docs/spec/messaging-services.md#smart-encoding), up to what 255 parts hold in any encoding.
SENT_LIMIT: Final = 16_000


class Encoding(IntEnum):
    """How the parts of a message are coded."""

    GSM7 = 0
    UCS2 = 1


class Content(NamedTuple):
    """A text made ready to send.

    `parts` are payloads without UDH: unpacked GSM-7 septets or UTF-16BE. `locking` and
    `single` are national language identifiers (3GPP TS 23.038 §6.2.1.2.4), 0 for the default
    tables; when one is set, every part needs its UDH element 0x25 or 0x24, even a lone part.
    """

    text: str  # what is really sent, after Smart Encoding
    encoding: Encoding
    parts: tuple[bytes, ...]
    locking: int = 0
    single: int = 0
    counted: int = 0  # parts with an 8-bit reference, where it was cut for another

    @property
    def segments(self) -> int:
        """How many segments are sent and paced."""
        return len(self.parts)

    @property
    def billed(self) -> int:
        """How many segments are shown and billed, whatever a carrier makes of it
        (docs/spec/messaging-services.md#capacity)."""
        return self.counted or len(self.parts)


def encode(text: str, *, smart: bool = False, national_tables: Sequence[int] = ()) -> Content:
    """Choose the encoding of `text` and cut it into parts
    (docs/spec/messaging-services.md#smart-encoding,
    docs/spec/messaging-services.md#encoding-and-segmentation).

    `national_tables` are the language identifiers a connector may use; one is taken only
    when it makes the text fit 7 bits in fewer segments than UCS-2. Lone surrogates, which no
    phone can show, become U+FFFD. Never raises; the body limit is the caller's to check.
    """
    try:
        septets = encode_gsm7(text)
    except AlphabetError:
        return _encode_other(text, smart, national_tables)
    if len(septets) <= SINGLE_SEPTETS:  # the hot path: one segment
        return Content(text, Encoding.GSM7, (septets,))
    return Content(text, Encoding.GSM7, split_septets(septets))


def whole(text: str) -> Content:
    """The text of an MMS: not cut, as GSM-7 where that holds it, else as UCS-2."""
    try:
        return Content(text, Encoding.GSM7, (encode_gsm7(text),))
    except AlphabetError:
        text = _without_lone_surrogates(text)
        return Content(text, Encoding.UCS2, (text.encode("utf-16-be"),))


def _encode_other(text: str, smart: bool, national_tables: Sequence[int]) -> Content:
    if smart:
        replaced = smarten(text)
        if replaced is not text:
            return Content(replaced, Encoding.GSM7, split_septets(encode_gsm7(replaced)))
    try:
        parts = split_units(text)
    except UnicodeEncodeError:
        text = _without_lone_surrogates(text)
        parts = split_units(text)
    if national_tables:
        shifted = national.encode(text, national_tables)
        if shifted is not None and len(shifted.parts) < len(parts):
            return Content(text, Encoding.GSM7, shifted.parts, shifted.locking, shifted.single)
    return Content(text, Encoding.UCS2, parts)


def _without_lone_surrogates(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def body_units(text: str) -> int:
    """The length that the body limit counts: UTF-16 code units, an emoji being two."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-be", "surrogatepass")) // 2
