"""`/v1/Consents/Bulk` and `/v1/Contacts/Bulk`: what an app knows of its recipients
(docs/spec/messaging-services.md#bulk-consent-and-contacts).

A consent is a change of the block list, with its own source and its correlation id in the log. An
item that is wrong has a code of its own (30646, 30647) and leaves the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
import phonenumbers
from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.values import read_time
from gateway.api.opt_outs.block_list import operator_change
from gateway.api.resources import Call, json_response
from gateway.opt_out.scope import scope_named
from gateway.routing.destination import parse_destination
from gateway.routing.question import Channel
from storage import block_list, contacts, recipients
from storage.block_list import BlockKey

MOST_ITEMS: Final = 25
BAD_CONSENT: Final = 30646
BAD_CONTACT: Final = 30647
STATUSES: Final = {"opt-in": False, "opt-out": True}  # → blocked
SOURCES: Final = frozenset({"website", "offline", "opt-in-message", "opt-out-message", "others"})
CORRELATION: Final = re.compile(r"[0-9A-Za-z]{32}")
ZIP_CODE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z \-]{1,9}")

Item = dict[str, Any]


class Consent(NamedTuple):
    key: BlockKey
    blocked: bool
    source: str
    note: str
    pairs: tuple[BlockKey, ...]  # an opt-in lifts these too, where they are


async def consents(call: Call) -> Response:
    """Opt recipients in and out. An opt-in lifts an earlier STOP, but the network's own."""
    items = _items(call)
    reasons: list[list[str]] = []
    wanted: dict[int, Consent] = {}
    for index, item in enumerate(items):
        wrong: list[str] = []
        consent = _consent(call, item, wrong)
        reasons.append(wrong)
        if consent is not None and not wrong:
            wanted[index] = consent
    async with call.deps.pool.acquire() as connection, connection.transaction():
        opt_ins = [consent for consent in wanted.values() if not consent.blocked]
        pairs = [pair for consent in opt_ins for pair in consent.pairs]
        await recipients.exclude(
            connection,
            {consent.key[2] for consent in wanted.values()} | {pair[2] for pair in pairs},
        )
        held = await block_list.held_by_network(
            connection, [consent.key for consent in opt_ins] + pairs
        )
        lifted = await recipients.blocked_now(connection, pairs) - set(held)
        for index in [
            at for at, consent in wanted.items() if not consent.blocked and consent.key in held
        ]:
            reasons[index].append("OPT_OUT_BY_NETWORK")
            del wanted[index]
        await recipients.change_blocks(
            connection,
            [
                operator_change(
                    call, key, call.account.id, consent.blocked, consent.note, source=consent.source
                )
                for consent in wanted.values()
                for key in (
                    consent.key,
                    *(() if consent.blocked else lifted.intersection(consent.pairs)),
                )
            ],
        )
    return _answer(items, reasons, BAD_CONSENT)


async def add_contacts(call: Call) -> Response:
    """Where recipients live; kept, and used by nothing yet."""
    items = _items(call)
    reasons: list[list[str]] = []
    rows: dict[str, tuple[str, str, str, str]] = {}
    for item in items:
        wrong: list[str] = []
        number = _contact(item, wrong)
        correlation = _correlation(item, wrong)
        country = str(item.get("country_iso_code") or "").upper()
        if country not in phonenumbers.SUPPORTED_REGIONS:
            wrong.append("INVALID_COUNTRY_ISO_CODE")
        zip_code = str(item.get("zip_code") or "")
        if not ZIP_CODE.fullmatch(zip_code):
            wrong.append("INVALID_ZIP_CODE")
        reasons.append(wrong)
        if not wrong:
            rows[number] = (number, country, zip_code, correlation)
    if rows:
        await contacts.upsert(call.deps.pool, call.account.id, list(rows.values()))
    return _answer(items, reasons, BAD_CONTACT)


def _items(call: Call) -> list[Item]:
    """The request's items. Raises ApiError 20429 above the rate, 20001."""
    call.deps.bulk_quota.take(call.account.id)
    texts = call.form.all("Items")
    if not 1 <= len(texts) <= MOST_ITEMS:
        raise ApiError(20001, f"Items must be given 1 to {MOST_ITEMS} times")
    items = []
    for text in texts:
        try:
            item = orjson.loads(text)
        except orjson.JSONDecodeError:
            item = None
        if not isinstance(item, dict):
            raise ApiError(20001, "each of Items must be a JSON object")
        items.append(item)
    return items


def _answer(items: Sequence[Item], reasons: Sequence[list[str]], code: int) -> Response:
    return json_response(
        {
            "items": [
                {
                    "correlation_id": item.get("correlation_id"),
                    "error_code": code if wrong else 0,
                    "error_messages": wrong,
                }
                for item, wrong in zip(items, reasons, strict=True)
            ]
        },
        201,
    )


def _consent(call: Call, item: Item, wrong: list[str]) -> Consent | None:
    number = _contact(item, wrong)
    correlation = _correlation(item, wrong)
    scoped = scope_named(call.deps.directory, str(item.get("sender_id") or ""))
    if scoped is None or scoped.account_id != call.account.id:
        wrong.append("INVALID_SENDER_ID")
    status = item.get("status")
    if not isinstance(status, str) or status not in STATUSES:
        wrong.append("INVALID_STATUS")
    source = item.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        wrong.append("INVALID_SOURCE")
    date = str(item.get("date_of_consent") or "")
    if date and not _is_date(date):
        wrong.append("INVALID_DATE_OF_CONSENT")
    if wrong or scoped is None:
        return None
    key = (number, int(Channel.SMS), scoped.scope)
    pairs = tuple((number, int(Channel.SMS), pair) for pair in scoped.pairs)
    note = f"{correlation} {date}".strip()
    return Consent(key, STATUSES[str(status)], str(source), note, pairs)


def _contact(item: Item, wrong: list[str]) -> str:
    text = item.get("contact_id")
    number = parse_destination(text) if isinstance(text, str) and text[:1] == "+" else None
    if number is None:
        wrong.append("INVALID_CONTACT_ID")
        return ""
    return number.e164


def _correlation(item: Item, wrong: list[str]) -> str:
    text = item.get("correlation_id")
    if isinstance(text, str) and CORRELATION.fullmatch(text):
        return text
    wrong.append("INVALID_CORRELATION_ID")
    return ""


def _is_date(text: str) -> bool:
    return read_time(text) is not None
