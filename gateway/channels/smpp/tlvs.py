"""Optional parameters (TLVs) as people write them: in `tandem.toml` and in the send call.

A tag is a number (`0x1400`, `5120`) or a name of SMPP's (`dest_addr_subunit`). A value that is
`0x` and an even number of hex digits is those octets, any other is its text in UTF-8.
"""

from __future__ import annotations

import re
from typing import Final

from smpp.codec import decode_tlvs
from smpp.vocabulary import (
    MESSAGE_PAYLOAD,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    TLV_NAMES,
    USER_MESSAGE_REFERENCE,
    tlv_name,
)

MOST_OCTETS: Final = 255  # of one value; more is no parameter but a text
# Tags that the gateway itself sets.
OURS: Final = frozenset(
    {
        MESSAGE_PAYLOAD,
        SAR_MSG_REF_NUM,
        SAR_SEGMENT_SEQNUM,
        SAR_TOTAL_SEGMENTS,
        USER_MESSAGE_REFERENCE,
    }
)

_TAGS: Final = {name: tag for tag, name in TLV_NAMES.items()}
_HEX: Final = re.compile(r"0x((?:[0-9A-Fa-f]{2})*)")

DLT_ENTITY_ID: Final = 0x1400
DLT_TEMPLATE_ID: Final = 0x1401
PRESETS: Final[dict[str, tuple[int, ...]]] = {
    # India: every commercial message names its registered sender and template (TRAI's DLT).
    "india_dlt": (DLT_ENTITY_ID, DLT_TEMPLATE_ID),
}


_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")


def parse_tag(text: str) -> int:
    """The tag behind a number or a name. Raises ValueError, saying what is wrong."""
    tag = _TAGS.get(text.lower())
    if tag is None:
        if _NUMBER.fullmatch(text) is None:
            raise ValueError(f"{text!r} is no TLV tag (such as 0x1400) and no name of one")
        tag = int(text, 16 if text[:2].lower() == "0x" else 10)
    if not 0 < tag <= 0xFFFF:
        raise ValueError(f"TLV tag {text} is not between 0x0001 and 0xffff")
    if tag in OURS:
        raise ValueError(f"TLV {text} is set by the gateway itself")
    return tag


def parse_value(text: str) -> bytes:
    """The octets of a value. Raises ValueError when there are too many."""
    found = _HEX.fullmatch(text)
    value = bytes.fromhex(found[1]) if found else text.encode("utf-8", "replace")
    if len(value) > MOST_OCTETS:
        raise ValueError(f"a TLV has at most {MOST_OCTETS} octets, not {len(value)}")
    return value


def shown(octets: bytes, allowed: frozenset[int]) -> list[tuple[str, str]]:
    """The allowed ones among a message's TLVs, as callback parameters; of a tag the last.

    `("SmppTlv.network_error_code", "0x030001")`: text where it is plain, else `0x` and hex.
    """
    found = {tag: value for tag, value in decode_tlvs(octets, 0) if tag in allowed}
    return [(f"SmppTlv.{tlv_name(tag)}", _text(value)) for tag, value in found.items()]


def _text(value: bytes) -> str:
    text = value.rstrip(b"\x00").decode("latin-1")
    if text and text.isascii() and text.isprintable() and not text.startswith("0x"):
        return text
    return "0x" + value.hex()
