"""`/tandem/v1/ChannelSenders`: WhatsApp and RCS senders, as the operator registers them.

An extension: the public API takes a channel sender's SID into a pool and has no way to make one.
Nothing carries these channels yet; they are kept, shown, and pooled.
"""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, change, gone, json_response
from gateway.api.services.pools import CHANNEL_NAMES
from gateway.directory.directory import SenderRecord
from gateway.routing.destination import parse_destination
from gateway.routing.sender_pool import SenderKind
from storage import config as config_rows
from storage.database import UniqueViolation

RCS_AGENT: Final = re.compile(r"[A-Za-z0-9_.\-]{1,100}")


def render(record: SenderRecord, call: Call) -> dict[str, Any]:
    service = call.deps.directory.services_by_id.get(record.service_id or 0)
    return {
        "sid": record.sid,
        "account_sid": call.deps.directory.accounts_by_id[record.account_id].sid,
        "messaging_service_sid": service.sid if service else None,
        "sender": record.sender.address,
        "sender_type": CHANNEL_NAMES[record.sender.kind],
        "country_code": record.sender.country or None,
        "date_created": iso8601(record.created_at),
        "date_updated": iso8601(record.updated_at),
        "url": f"{call.origin}/v1/ChannelSenders/{record.sid}",
    }


async def create(call: Call) -> Response:
    """From `sender` (`whatsapp:+E164`, `rcs:agent`), for `account_sid` (default: the caller)."""
    call.operator_only("channel senders are registered by the operator")
    given = call.json
    if unknown := sorted(set(given) - {"sender", "account_sid"}):
        raise ApiError(20001, f"{unknown[0][:64]}: no such field")
    kind, address, country = _sender(str(given.get("sender") or ""))
    account = call.named_account(str(given.get("account_sid") or ""), "account_sid")
    sid = call.new_sid("XE")
    values = {
        "sid": sid,
        "account_id": account.id,
        "carrier_id": None,
        "kind": kind.value,
        "address": address,
        "country": country,
        "friendly_name": address,
    }
    try:
        await change(call.deps, lambda connection: config_rows.insert_sender(connection, values))
    except UniqueViolation:
        raise ApiError(20409, f"{address} is registered already") from None
    return json_response(render(call.deps.directory.senders[sid], call), 201)


async def list_(call: Call) -> Response:
    records = [sender for sender in call.deps.directory.senders.values() if _seen_by(call, sender)]
    return call.listed_by_sid("senders", records, lambda record: render(record, call))


async def fetch(call: Call) -> Response:
    return json_response(render(_record(call), call))


async def delete(call: Call) -> Response:
    call.operator_only("channel senders are registered by the operator")
    sender_id = _record(call).sender.id
    await change(call.deps, lambda c: config_rows.delete_sender(c, sender_id))
    return gone()


def _seen_by(call: Call, record: SenderRecord) -> bool:
    return record.sender.kind in CHANNEL_NAMES and call.sees(record.account_id)


def _record(call: Call) -> SenderRecord:
    record = call.deps.directory.senders.get("XE" + call.request.path_params["sid"][2:].lower())
    if record is None or not _seen_by(call, record):
        raise call.missing()
    return record


def _sender(text: str) -> tuple[SenderKind, str, str]:
    """Kind, address and country of a channel sender. Raises ApiError 20001."""
    channel, _, name = text.partition(":")
    if channel == "whatsapp" and (number := parse_destination(name)) is not None:
        return SenderKind.WHATSAPP, f"whatsapp:{number.e164}", number.country
    if channel == "rcs" and RCS_AGENT.fullmatch(name):
        return SenderKind.RCS, text, ""
    raise unreadable(20001, text, "sender must be whatsapp:+<number> or rcs:<agent>")
