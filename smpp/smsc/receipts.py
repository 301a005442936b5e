"""How the simulated carriers write receipts: the text of appendix B, and its dialects."""

from __future__ import annotations

import time
from functools import lru_cache
from struct import Struct

from smpp import codec
from smpp import vocabulary as v
from smpp.receipt import state_of

ID_WIDTH = 10

_ID_TLV = Struct("!HH")


def spell(message_id: bytes, form: str) -> bytes:
    """An id as a receipt spells it, in one of scenario.ID_FORMS."""
    if form == "same":
        return message_id
    if form == "foreign":
        return b"ffff" + message_id[::-1]
    if form == "stripped":
        return message_id.lstrip(b"0") or b"0"
    if form == "padded":
        return message_id.zfill(ID_WIDTH + 6)
    if form == "folded":
        return message_id.swapcase()
    try:
        if form == "decimal":  # the response was hex
            return b"%d" % int(message_id, 16)
        digits = b"%x" % int(message_id)  # the response was decimal
    except ValueError:
        return message_id
    return digits.upper() if form == "HEX" else digits


@lru_cache(maxsize=256)
def stamp(minute: int, zone_minutes: int) -> bytes:
    """YYMMDDhhmm of a minute since the epoch, in a zone."""
    return time.strftime("%y%m%d%H%M", time.gmtime((minute + zone_minutes) * 60)).encode()


def text_of(
    form: str,
    message_id: bytes,
    submitted: bytes,
    done: bytes,
    stat: bytes,
    err: bytes,
    quoted: bytes,
) -> bytes:
    """The short_message of a receipt, in one of scenario.RECEIPT_FORMS."""
    delivered = b"001" if stat == b"DELIVRD" else b"000"
    if form == "short":
        return b"id:%b stat:%b err:%b" % (message_id, stat.lower(), err.lstrip(b"0") or b"0")
    if form == "spaced":
        return b"Stat: %b  Err: %b  ID: %b  Done Date: %b00 Submit Date: %b00 Text: %b" % (
            stat,
            err,
            message_id,
            done,
            submitted,
            quoted,
        )
    if form == "commas":
        return b"%b,%b,%b,%b" % (message_id, done, stat, err)
    if form == "tlv":
        return b""
    text = b"id:%b sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:%b" % (
        message_id,
        delivered,
        submitted,
        done,
        stat,
        err,
        quoted,
    )
    return text.decode("latin-1").encode("utf-16-be") if form == "ucs2" else text


def tlvs_of(message_id: bytes, stat: bytes, err: bytes) -> bytes:
    """The TLVs of a receipt: id, state, and the network's error where it is a number."""
    return _ID_TLV.pack(v.RECEIPTED_MESSAGE_ID, len(message_id) + 1) + b"%b\0%b" % (
        message_id,
        _outcome_tlvs(stat, err),
    )


@lru_cache(maxsize=256)
def _outcome_tlvs(stat: bytes, err: bytes) -> bytes:
    tlvs = [(v.MESSAGE_STATE, bytes((state_of(stat.decode("latin-1")),)))]
    if err.isdigit() and int(err) <= 0xFFFF:
        tlvs.append((v.NETWORK_ERROR_CODE, b"\x03" + int(err).to_bytes(2, "big")))
    return codec.encode_tlvs(tuple(tlvs))
