"""Delivery receipts: what a carrier says became of a message, in all its dialects.

SMPP 3.4 appendix B gives the text form as "vendor specific", and vendors took
the word: fields in any order, missing, renamed, with spaces after the colon,
dates of 10, 12 or 14 digits, errors of one to four characters and letters, the
text cut in the middle of binary, ASCII marked as UCS-2 and UCS-2 marked as
ASCII, a NUL or a header before it. So the text is read field by field, whatever
stands before the first, and the TLVs, where there are any, win over it
(§5.3.2.12, §5.3.2.35, §5.3.2.31).

The id of a receipt need not be spelt like the id of the response it belongs
to: `forms_of` lists the other spellings in the order in which to try them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import lru_cache
from typing import Final

from smpp.pdu import DeliverSm, tlv
from smpp.vocabulary import (
    MESSAGE_STATE,
    NETWORK_ERROR_CODE,
    RECEIPTED_MESSAGE_ID,
    MessageState,
)


@dataclass(slots=True)
class Receipt:
    """What a receipt says. Texts are as they came; empty where the carrier left them out."""

    message_id: str
    state: MessageState
    stat: str
    error: str = ""
    submit_date: str = ""
    done_date: str = ""
    sub: str = ""
    dlvrd: str = ""
    text: bytes = b""
    network_error: bytes | None = None
    # What else it may mean: the id in the text where a TLV has another.
    other_ids: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Each id that it gives, the likeliest first."""
        return (self.message_id, *self.other_ids)


# Its lengths are bounded, so that no text takes long, wherever it is looked for in it.
_STANDARD: Final = re.compile(
    rb"id:([^\s\0]{1,255}) sub:(\d{1,20}) dlvrd:(\d{1,20}) submit date:(\d{1,20})"
    rb" done date:(\d{1,20}) stat:([^\s\0]{1,40}) err:([^\s\0]{1,40})(?: text:(.*))?",
    re.IGNORECASE | re.DOTALL,
)
_BARE_ID: Final = re.compile(rb"id\s{0,8}[:=][ \t]{0,8}([^\s\0]{1,255})", re.IGNORECASE)
_LONGEST_HEAD: Final = 1_000  # octets in which a receipt must have begun
_FIELD: Final = re.compile(
    rb"(?<![0-9A-Za-z_])"
    rb"(id|message[ _]?id|sub|dlvrd|submit[ _]?date|done[ _]?date|stat|state|status"
    rb"|err|error|error[ _]?code|text)\s{0,8}[:=][ \t]{0,8}",
    re.IGNORECASE,
)
_NAMES: Final = {
    b"id": "message_id",
    b"messageid": "message_id",
    b"sub": "sub",
    b"dlvrd": "dlvrd",
    b"submitdate": "submit_date",
    b"donedate": "done_date",
    b"stat": "stat",
    b"state": "stat",
    b"status": "stat",
    b"err": "error",
    b"error": "error",
    b"errorcode": "error",
    b"text": "text",
}

# A stat is seven letters by the book, whole words by some, other verbs by a few:
# its beginning decides.
_STATES: Final = (
    ("DELIV", MessageState.DELIVERED),
    ("DELV", MessageState.DELIVERED),
    ("DLV", MessageState.DELIVERED),
    ("EXPIR", MessageState.EXPIRED),
    ("DELET", MessageState.DELETED),
    ("CANCEL", MessageState.DELETED),
    ("UNDEL", MessageState.UNDELIVERABLE),
    ("UNDLV", MessageState.UNDELIVERABLE),
    ("NOT", MessageState.UNDELIVERABLE),
    ("NON", MessageState.UNDELIVERABLE),
    ("FAIL", MessageState.UNDELIVERABLE),
    ("ERR", MessageState.UNDELIVERABLE),
    ("IMPOSS", MessageState.UNDELIVERABLE),
    ("ABORT", MessageState.UNDELIVERABLE),
    ("TIMEOUT", MessageState.EXPIRED),
    ("ACCEPT", MessageState.ACCEPTED),
    ("ACKED", MessageState.ACCEPTED),
    ("SENT", MessageState.ENROUTE),
    ("ENROUT", MessageState.ENROUTE),
    ("BUFF", MessageState.ENROUTE),
    ("PEND", MessageState.ENROUTE),
    ("SCHED", MessageState.SCHEDULED),
    ("REJ", MessageState.REJECTED),
    ("SKIP", MessageState.SKIPPED),
    ("UNKN", MessageState.UNKNOWN),
)
# What a verb is said of: `DELIVERY_FAILED`.
_SUBJECT: Final = re.compile(r"(?:MESSAGE|MSG|SMS|DELIVERY|DLVRY)[ _.-]*|DELIV(?:[ _.-]+|(?=FAIL))")
_SUCCESS: Final = ("OK", "SUCC", "CONF", "COMPL", "DONE", "ACK", "REPORT", "RECE", "TO")
_KNOWN: dict[str, MessageState] = {state.stat: state for state in MessageState}


def state_of(stat: str) -> MessageState:
    """The state that a `stat` means; UNKNOWN for a word nobody has heard.

    >>> state_of("DELIVRD").name, state_of("Failed").name, state_of("2").name
    ('DELIVERED', 'UNDELIVERABLE', 'DELIVERED')
    """
    known = _KNOWN.get(stat)
    if known is not None:
        return known
    word = stat.upper()
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return MessageState(int(word)) if int(word) < len(MessageState) else MessageState.UNKNOWN
    subject = _SUBJECT.match(word)
    if subject is not None and (verb := word[subject.end() :]):
        state = _by_beginning(verb)
        if state is not MessageState.UNKNOWN:
            return state
        if subject[0].startswith("DELIVERY") and not verb.startswith(_SUCCESS):
            return MessageState.UNKNOWN  # a wrong `delivered` is worse than none
    return _by_beginning(word)


def _by_beginning(word: str) -> MessageState:
    for beginning, state in _STATES:
        if word.startswith(beginning):
            return state
    return MessageState.UNKNOWN


def parse_receipt(delivery: DeliverSm, pattern: re.Pattern[bytes] | None = None) -> Receipt | None:
    """What the receipt in `delivery` says, or None if it cannot be understood.

    `pattern` is a carrier's own form: a regular expression over the text whose
    named groups are the fields of Receipt (`message_id` and `stat` at least).
    Understood means: an id, and a stat or a state. Never raises.
    """
    text = delivery.payload
    if pattern is None:
        standard = _STANDARD.fullmatch(text)
        if standard is not None:
            return _read(standard, delivery)
    text = _plain(text)
    fields: dict[str, str] = {}
    if pattern is not None:
        fields, quoted = _by_pattern(pattern, text)
    elif (standard := _STANDARD.search(text, 0, _LONGEST_HEAD)) is not None:
        return _read(standard, delivery)
    if not fields:
        fields, quoted = _by_field(text)
    stat = fields.get("stat", "")
    if "message_id" not in fields and stat and "done_date" in fields:
        # All is there but its name: letters stand right before it.
        bare = _BARE_ID.search(text, 0, _LONGEST_HEAD)
        fields["message_id"] = _value(bare[1]) if bare is not None else ""
    receipt = Receipt(
        fields.get("message_id", ""),
        state_of(stat),
        stat,
        fields.get("error", ""),
        fields.get("submit_date", ""),
        fields.get("done_date", ""),
        fields.get("sub", ""),
        fields.get("dlvrd", ""),
        quoted,
    )
    receipt = _with_tlvs(receipt, delivery)
    return receipt if receipt.message_id and receipt.stat else None


def _read(standard: re.Match[bytes], delivery: DeliverSm) -> Receipt:
    """The receipt in the specification's own form."""
    raw_id, sub, dlvrd, submitted, done, raw_stat, error, quoted = standard.groups()
    stat = _value(raw_stat)
    receipt = Receipt(
        _value(raw_id),
        _KNOWN.get(stat) or state_of(stat),
        stat,
        _value(error),
        submitted.decode("latin-1"),
        done.decode("latin-1"),
        sub.decode("latin-1"),
        dlvrd.decode("latin-1"),
        quoted or b"",
    )
    return _with_tlvs(receipt, delivery) if delivery.tlvs else receipt


def _with_tlvs(receipt: Receipt, delivery: DeliverSm) -> Receipt:
    """Let the TLVs, if there are any, win over the text."""
    message_id = tlv(delivery.tlvs, RECEIPTED_MESSAGE_ID)
    if message_id:
        ended = message_id.split(b"\0", 1)[0]
        ids = (_value(ended), ended.decode("latin-1"), receipt.message_id)
        receipt.message_id, *others = dict.fromkeys(filter(None, ids)) or ("",)
        receipt.other_ids = tuple(others)
    state = tlv(delivery.tlvs, MESSAGE_STATE)
    if state and state[-1] < len(MessageState):
        receipt.state = MessageState(state[-1])
        receipt.stat = receipt.stat or receipt.state.stat
    network_error = tlv(delivery.tlvs, NETWORK_ERROR_CODE)
    if network_error:
        receipt.network_error = network_error
        if not receipt.error and len(network_error) == 3:
            receipt.error = f"{int.from_bytes(network_error[1:], 'big'):03d}"
    return receipt


def _plain(text: bytes) -> bytes:
    """One octet per character, whatever data_coding claims: a receipt is ASCII by nature.

    It is UTF-16 where every other octet is a NUL.
    """
    if text[:2] in (b"\xfe\xff", b"\xff\xfe"):
        text = text[2:]
    if b"\0" not in text:
        return text
    pairs = len(text) // 2
    if text[::2].count(0) * 2 > pairs:
        return text.decode("utf-16-be", "replace").encode("latin-1", "replace")
    if text[1::2].count(0) * 2 > pairs:
        return text.decode("utf-16-le", "replace").encode("latin-1", "replace")
    return text


def _by_field(text: bytes) -> tuple[dict[str, str], bytes]:
    fields: dict[str, str] = {}
    name = ""
    start = 0
    for found in _FIELD.finditer(text):
        if name:
            fields.setdefault(name, _value(text[start : found.start()]))
        key = found.group(1).lower().replace(b" ", b"").replace(b"_", b"")
        name = _NAMES[key]
        start = found.end()
        if name == "text":  # the last field, whatever it looks like inside
            return fields, text[start:]
    if name:
        fields.setdefault(name, _value(text[start:]))
    return fields, b""


def _by_pattern(pattern: re.Pattern[bytes], text: bytes) -> tuple[dict[str, str], bytes]:
    found = pattern.search(text)
    if found is None:
        return {}, b""
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    quoted = groups.pop("text", b"")
    return {name: _value(value) for name, value in groups.items()}, quoted


def _value(octets: bytes) -> str:
    return octets.decode("latin-1").strip(" \t\r\n\0,;|\"'")


@lru_cache(maxsize=1024)  # receipts come in crowds, of the same second or minute
def parse_date(text: str, utc_offset_minutes: int = 0) -> datetime | None:
    """A receipt's date: YYMMDDhhmm, with seconds, or with the century; None if it is none.

    Twelve digits are YYMMDDhhmmss unless they begin with the century: the year
    2020 of a two-digit year is past, so "20" says YYYYMMDDhhmm.
    """
    shapes = {10: "%y%m%d%H%M", 12: "%y%m%d%H%M%S", 14: "%Y%m%d%H%M%S"}
    shape = shapes.get(len(text))
    if shape is None or not text.isascii() or not text.isdigit():
        return None
    if len(text) == 12 and text.startswith("20"):
        shape = "%Y%m%d%H%M"
    try:
        zone = timezone(timedelta(minutes=utc_offset_minutes))
        return datetime.strptime(text, shape).replace(tzinfo=zone)
    except ValueError:
        return None


# Ids ---------------------------------------------------------------------------


class IdForm(Enum):
    """How a receipt's id was turned into the id of the response."""

    RAW = "as is"
    FOLDED = "other case"
    STRIPPED = "zeros stripped"
    HEX_TO_DECIMAL = "hex to decimal"
    DECIMAL_TO_HEX = "decimal to hex"
    PADDED = "padded with zeros"


_WIDTHS: Final = (8, 10, 16, 20)
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_DECIMAL: Final = re.compile(r"[0-9]{1,39}")


def forms_of(raw_id: str) -> tuple[tuple[IdForm, str], ...]:
    """The spellings under which a response may have given this id, likeliest first, no repeats."""
    found: dict[str, IdForm] = {raw_id: IdForm.RAW}

    def also(form: IdForm, *spellings: str) -> None:
        for spelling in spellings:
            if spelling:
                found.setdefault(spelling, form)

    also(IdForm.FOLDED, raw_id.lower(), raw_id.upper())
    bare = raw_id.lstrip("0")
    also(IdForm.STRIPPED, bare, bare.lower(), bare.upper())
    converted: list[str] = [bare]
    if _HEX.fullmatch(raw_id):
        decimal = str(int(raw_id, 16))
        converted.append(decimal)
        also(IdForm.HEX_TO_DECIMAL, decimal)
    if _DECIMAL.fullmatch(raw_id):
        digits = f"{int(raw_id):x}"
        converted.append(digits)
        also(IdForm.DECIMAL_TO_HEX, digits, digits.upper())
    for width in _WIDTHS:
        for spelling in converted:
            if 0 < len(spelling) < width:
                padded = spelling.zfill(width)
                also(IdForm.PADDED, padded, padded.lower(), padded.upper())
    return tuple((form, spelling) for spelling, form in found.items())


def normal_forms(raw_id: str) -> tuple[str, ...]:
    """The spellings of `forms_of` alone.

    >>> normal_forms("0A1F")[:5]
    ('0A1F', '0a1f', 'A1F', 'a1f', '2591')
    """
    return tuple(spelling for _, spelling in forms_of(raw_id))
