"""`/IncomingPhoneNumbers`: numbers that the account owns
(docs/spec/twilio-api.md#account-inventory).

Creating one takes it from the inventory; by the operator it means: this number is ours.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from starlette.responses import Response

from gateway.api.http.errors import ApiError, unreadable
from gateway.api.http.forms import read_flag
from gateway.api.http.render import API_VERSION, rfc2822_of
from gateway.api.http.resources import Call, Handler, change, json_response
from gateway.api.numbers import sender_fields
from gateway.api.numbers.inventory import national, number_type
from gateway.directory.directory import SenderRecord
from gateway.routing.destination import parse_destination
from gateway.routing.nanp import NumberKind
from gateway.routing.sender_pool import SenderKind
from storage import config as config_rows
from storage import inventory as inventory_rows
from storage.database import Connection, UniqueViolation

URL_FIELDS = {
    **sender_fields.SMS_URLS,
    "StatusCallback": "status_callback",
    "VoiceUrl": "voice_url",
    "VoiceFallbackUrl": "voice_fallback_url",
}
METHOD_FIELDS = {
    **sender_fields.SMS_METHODS,
    "StatusCallbackMethod": "status_callback_method",
    "VoiceMethod": "voice_method",
    "VoiceFallbackMethod": "voice_fallback_method",
}
ORIGIN = "hosted"  # the operator brought them
NUMBER_KINDS = (SenderKind.LONG_CODE, SenderKind.TOLL_FREE)


def render(record: SenderRecord, account_sid: str) -> dict[str, Any]:
    settings = record.settings
    return {
        "sid": record.sid,
        "account_sid": account_sid,
        "friendly_name": record.friendly_name,
        "phone_number": record.sender.address,
        "capabilities": {
            "voice": record.voice,
            "sms": record.sender.sms,
            "mms": record.sender.mms,
            "fax": False,
        },
        **{name: settings.get(name) for name in URL_FIELDS.values()},
        **{name: settings.get(name, "POST") for name in METHOD_FIELDS.values()},
        "sms_application_sid": settings.get("sms_application_sid"),
        "voice_application_sid": None,
        "voice_caller_id_lookup": False,
        "voice_receive_mode": "voice",
        "api_version": API_VERSION,
        "origin": ORIGIN,
        "beta": False,
        "address_requirements": "none",
        "address_sid": None,
        "bundle_sid": None,
        "identity_sid": None,
        "trunk_sid": None,
        "emergency_status": "Inactive",
        "emergency_address_sid": None,
        "emergency_address_status": "unregistered",
        "status": "in-use",
        "type": _type(record),
        "date_created": rfc2822_of(record.created_at),
        "date_updated": rfc2822_of(record.updated_at),
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{record.sid}.json",
    }


async def create(call: Call) -> Response:
    """Take a number: `PhoneNumber`, or any of an `AreaCode` from the inventory.

    An operator may also register a number that is in no inventory. Raises ApiError 20001, 21421,
    21422 (not to be had), 21452 (none in that area).
    """
    form = call.form
    text, area_code = form.get("PhoneNumber"), form.get("AreaCode")
    if not text and not area_code:
        raise ApiError(20001, "Missing required parameter PhoneNumber in the post body")
    number = parse_destination(text) if text else None
    if text and number is None:
        raise unreadable(21421, text)
    sid = call.new_sid("PN")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "settings": read_settings(call, {}),
        **sender_fields.changed_columns(call),
    }

    async def take(connection: Connection) -> None:
        if number is not None:
            offered = await inventory_rows.find(connection, number.e164)
            if offered is None and not call.is_operators:
                raise ApiError(21422)
            address = number
        else:
            offers = await inventory_rows.search(
                connection, area_code=area_code, type="local", most=1
            )
            offered = offers[0] if offers else None
            found = parse_destination(offered["address"]) if offered else None
            if found is None:
                raise ApiError(21452)
            address = found
        taken: dict[str, Any] = {}
        if offered:
            taken = {"carrier_id": offered["carrier_id"], "voice": offered["voice"]}
            taken |= {"sms": offered["sms"], "mms": offered["mms"]}
        if not taken and "carrier_id" not in values:
            taken["carrier_id"] = call.deps.default_carrier_id()
        toll_free = address.kind is NumberKind.TOLL_FREE
        await config_rows.insert_sender(
            connection,
            {
                "kind": (SenderKind.TOLL_FREE if toll_free else SenderKind.LONG_CODE).value,
                "address": address.e164,
                "country": address.country,
                "friendly_name": national(address.e164),
                **taken,
                **values,
            },
        )
        if offered is not None:
            most = call.deps.limits.inventory_numbers
            await config_rows.check_held(connection, "inventory_numbers", most, call.account.id)

    try:
        await change(call.deps, take)
    except UniqueViolation:
        raise ApiError(21422) from None
    return json_response(render(call.deps.directory.senders[sid], call.account.sid), 201)


async def list_(call: Call) -> Response:
    return _list(call, None)


def listing(type: str) -> Handler:
    """The handler of `Local`, `Mobile` or `TollFree`."""

    async def list_of_type(call: Call) -> Response:
        return _list(call, type)

    return list_of_type


def _list(call: Call, type: str | None) -> Response:
    address, name = call.filter("PhoneNumber"), call.filter("FriendlyName")
    pattern = re.compile(re.escape(address).replace(r"\*", "[0-9]")) if address else None
    beta = read_flag("Beta", call.filter("Beta"))
    records = [
        record
        for record in call.deps.directory.senders.values()
        if record.account_id == call.account.id
        and record.sender.kind in NUMBER_KINDS
        and (pattern is None or pattern.search(record.sender.address))
        and name in (None, record.friendly_name)
        and beta is not True
        and call.filter("Origin") in (None, ORIGIN)
        and (type is None or _type(record) == type)
    ]
    return call.listed_by_sid(
        "incoming_phone_numbers", records, lambda record: render(record, call.account.sid)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(_record(call), call.account.sid))


async def update(call: Call) -> Response:
    record = _record(call)
    settings = read_settings(call, record.settings)
    return await sender_fields.changed(call, record, settings, render)


async def delete(call: Call) -> Response:
    return await sender_fields.deleted(call, _record(call))


def _record(call: Call) -> SenderRecord:
    return sender_fields.record_of(call, "PN")


def read_settings(call: Call, before: dict[str, Any]) -> dict[str, Any]:
    """URLs, methods and application. Raises ApiError 21402, 21403, 21406, 21420."""
    settings = sender_fields.url_settings(call.form, before, URL_FIELDS, METHOD_FIELDS)
    application_sid = call.form.get("SmsApplicationSid")
    if application_sid is not None:
        application = call.deps.directory.application(call.account.id, application_sid)
        if application_sid and application is None:
            raise ApiError(21420)
        settings["sms_application_sid"] = application.sid if application else None
    return settings


@lru_cache(maxsize=10_000)
def _type_of(address: str) -> str:
    number = parse_destination(address)
    return number_type(number) if number is not None else "local"


def _type(record: SenderRecord) -> str:
    return _type_of(record.sender.address)
