"""`/SMS/ShortCodes`: short codes of the account (docs/spec/twilio-api.md#account-inventory).

The public API has no create and no delete: ours are an extension, for the operator.
"""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.render import API_VERSION, rfc2822_of
from gateway.api.http.resources import Call, change, json_response
from gateway.api.numbers import sender_fields
from gateway.directory.directory import SenderRecord
from gateway.routing import alpha
from gateway.routing.sender_pool import SenderKind
from storage import config as config_rows
from storage.database import UniqueViolation

SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")


def render(record: SenderRecord, account_sid: str) -> dict[str, Any]:
    settings = record.settings
    return {
        "sid": record.sid,
        "account_sid": account_sid,
        "friendly_name": record.friendly_name,
        "short_code": record.sender.address,
        "api_version": API_VERSION,
        **{name: settings.get(name) for name in sender_fields.SMS_URLS.values()},
        **{name: settings.get(name, "POST") for name in sender_fields.SMS_METHODS.values()},
        "date_created": rfc2822_of(record.created_at),
        "date_updated": rfc2822_of(record.updated_at),
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/SMS/ShortCodes/{record.sid}.json",
    }


async def create(call: Call) -> Response:
    """This short code is ours, in that country and on that carrier (an extension)."""
    call.operator_only("short codes are registered by the operator")
    code, country = call.form.get("ShortCode"), (call.form.get("IsoCountryCode") or "").upper()
    if not code or not SHORT_CODE.fullmatch(code):
        raise unreadable(20001, code or "", "ShortCode must be 3 to 8 digits")
    if country not in alpha.packaged():
        raise ApiError(20001, "IsoCountryCode must be the country of the short code")
    sid = call.new_sid("SC")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "carrier_id": sender_fields.carrier_id(call),
        "kind": SenderKind.SHORT_CODE.value,
        "address": code,
        "country": country,
        "friendly_name": code,
        "settings": _settings(call, {}),
        **sender_fields.changed_columns(call),
    }
    try:
        await change(call.deps, lambda connection: config_rows.insert_sender(connection, values))
    except UniqueViolation:
        raise ApiError(20409, f"the short code {code} is registered already") from None
    return json_response(render(call.deps.directory.senders[sid], call.account.sid), 201)


async def list_(call: Call) -> Response:
    code, name = call.filter("ShortCode"), call.filter("FriendlyName")
    records = [
        record
        for record in call.deps.directory.senders.values()
        if record.account_id == call.account.id
        and record.sender.kind is SenderKind.SHORT_CODE
        and (code is None or code in record.sender.address)
        and name in (None, record.friendly_name)
    ]
    return call.listed_by_sid(
        "short_codes", records, lambda record: render(record, call.account.sid)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(_record(call), call.account.sid))


async def update(call: Call) -> Response:
    record = _record(call)
    settings = _settings(call, record.settings)
    return await sender_fields.changed(call, record, settings, render)


async def delete(call: Call) -> Response:
    call.operator_only("short codes are registered by the operator")
    return await sender_fields.deleted(call, _record(call))


def _record(call: Call) -> SenderRecord:
    return sender_fields.record_of(call, "SC")


def _settings(call: Call, before: dict[str, Any]) -> dict[str, Any]:
    return sender_fields.url_settings(
        call.form, before, sender_fields.SMS_URLS, sender_fields.SMS_METHODS
    )
