"""What the journal holds of one message: its PDUs and the calls of its webhooks, for Explain."""

from __future__ import annotations

from typing import Any, Final

import orjson

from gateway.messages.message import created_at
from gateway.observe.journal import CALL, IN, OUT, Journal, JournalEntry
from gateway.runtime.times import iso8601_ms
from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.describe import describe
from smpp.pdu import DeliverSm
from smpp.receipt import forms_of, parse_receipt
from storage.messages import MessageRow

SLACK_S: Final = 2.0
ANSWER_S: Final = 120.0  # an answer later than this is not looked for


async def of_message(journal: Journal, row: MessageRow, sid: str, until: float) -> dict[str, Any]:
    """`pdus` and `webhooks` of a message's row, by time."""
    since = created_at(row["id"]) - SLACK_S
    digits = row["recipient"].lstrip("+").encode()
    account_id = row["account_id"]
    near = await journal.find(account_id, (digits, sid.encode()), since, until)
    calls = [entry for entry in near if entry.kind == CALL and sid.encode() in entry.payload]
    submits = [entry for entry in near if entry.kind == OUT and _is_submit(entry, row)]
    answers = await _answers(journal, account_id, submits, v.SUBMIT_SM_RESP, IN)
    names = {spelling for entry in answers for spelling in _spellings(entry)}
    receipts = [entry for entry in near if entry.kind == IN and _is_receipt(entry, names)]
    taken = await _answers(journal, account_id, receipts, v.DELIVER_SM_RESP, OUT)
    pdus = sorted((*submits, *answers, *receipts, *taken))
    return {
        "pdus": [_pdu(entry) for entry in pdus],
        "webhooks": [_call(entry) for entry in calls],
    }


async def erase(journal: Journal, row: MessageRow, sid: str, until: float) -> None:
    """Nothing of a message's text or recipient stays in the journal."""
    digits = row["recipient"].lstrip("+").encode()
    since = created_at(row["id"]) - SLACK_S
    await journal.erase(row["account_id"], (digits, sid.encode()), since, until)


async def _answers(
    journal: Journal, account_id: int, requests: list[JournalEntry], command: int, kind: int
) -> list[JournalEntry]:
    """The answers to requests: on the same connection, with the same sequence number, soon after.

    Sequence numbers begin anew with each connection, and come round again: what follows the next
    request with the same number, or the next bind, answers another message, which may be
    somebody else's.
    """
    if not requests:
        return []
    asked = {(entry.name, _header(entry)[3]) for entry in requests}
    binds = {entry.name for entry in requests}
    request, requested = command & ~v.RESPONSE, OUT if kind == IN else IN

    def wanted(entry: JournalEntry) -> bool:
        if len(entry.payload) < codec.HEADER_OCTETS:
            return False
        _, found, _, sequence = _header(entry)
        if (entry.name, sequence) in asked and (entry.kind, found) in (
            (kind, command),
            (requested, request),
        ):
            return True
        return entry.kind == OUT and found in v.BINDS and entry.name in binds

    first, last = min(entry.at for entry in requests), max(entry.at for entry in requests)
    commands = (command, request, *v.BINDS)
    needles = tuple(number.to_bytes(4, "big") for number in commands)
    near = await journal.find(account_id, needles, first, last + ANSWER_S, wanted)
    mine = {(entry.at, entry.place, entry.name) for entry in requests}
    under_way: dict[tuple[str, int], float] = {}  # ours that await an answer: when they were sent
    answers = []
    for entry in near:
        _, found, _, sequence = _header(entry)
        key = entry.name, sequence
        if found in v.BINDS:
            under_way = {key: at for key, at in under_way.items() if key[0] != entry.name}
        elif found == request:
            under_way.pop(key, None)
            if (entry.at, entry.place, entry.name) in mine:
                under_way[key] = entry.at
        elif key in under_way and entry.at - under_way[key] <= ANSWER_S:
            answers.append(entry)
    return answers


def _header(entry: JournalEntry) -> tuple[int, int, int, int]:
    length, command, status, sequence = HEADER.unpack_from(entry.payload)
    return length, command, status, sequence


def _is_submit(entry: JournalEntry, row: MessageRow) -> bool:
    """Whether a PDU is a segment of the message: its addresses, and its reference where it has."""
    message = _message(entry, v.SUBMIT_SM)
    if message is None:
        return False
    if message.destination.value.lstrip("+") != row["recipient"].lstrip("+"):
        return False
    if row["sender"] and message.source.value.lstrip("+") != row["sender"].lstrip("+"):
        return False
    reference = dict(message.tlvs).get(v.USER_MESSAGE_REFERENCE)
    if reference is not None and row["reference"]:
        return int.from_bytes(reference, "big") == row["reference"] & 0xFFFF
    ended = row["sent_at"] or row["done_at"]
    return ended is None or entry.at <= ended.timestamp() + SLACK_S


def _is_receipt(entry: JournalEntry, names: set[str]) -> bool:
    message = _message(entry, v.DELIVER_SM)
    if message is None or not message.is_receipt:
        return False
    receipt = parse_receipt(message)
    if receipt is None or receipt.message_id is None:
        return False
    return any(spelling in names for _, spelling in forms_of(receipt.message_id))


def _spellings(entry: JournalEntry) -> list[str]:
    try:
        name, _ = codec.decode_submit_resp(entry.payload)
    except CodecError:
        return []
    return [spelling for _, spelling in forms_of(name)] if name else []


def _message(entry: JournalEntry, command: int) -> DeliverSm | None:
    try:
        if _header(entry)[1] != command:
            return None
        return codec.decode_deliver(entry.payload)
    except (CodecError, ValueError):
        return None


def _pdu(entry: JournalEntry) -> dict[str, Any]:
    return {
        "at": iso8601_ms(entry.at),
        "bind": entry.name,
        "direction": "out" if entry.kind == OUT else "in",
        "summary": describe(entry.payload),
        "hex": entry.payload.hex(),
    }


def _call(entry: JournalEntry) -> dict[str, Any]:
    return {"at": iso8601_ms(entry.at), **orjson.loads(entry.payload)}
