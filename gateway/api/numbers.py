"""`/IncomingPhoneNumbers`: numbers that the account owns (twilio-api §6).

Creating one means: this number is ours, on that carrier.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from gateway.api import sender_fields
from gateway.api.errors import ApiError
from gateway.api.forms import Form
from gateway.api.paging import cut, envelope_2010, in_memory
from gateway.api.render import API_VERSION, rfc2822_of
from gateway.api.resources import Call, answer, change, gone
from gateway.dispatch.directory import SenderRecord
from gateway.routing.destination import parse_destination
from gateway.routing.nanp import NumberKind
from gateway.routing.pool import SenderKind
from storage import config as config_rows
from storage.pool import UniqueViolation

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
NUMBER_KINDS = (SenderKind.LONG_CODE, SenderKind.TOLL_FREE)


def render(record: SenderRecord, account_sid: str) -> dict[str, Any]:
    settings = record.settings
    toll_free = record.sender.kind is SenderKind.TOLL_FREE
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
        "origin": "hosted",
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
        "type": "tollfree" if toll_free else "local",
        "date_created": rfc2822_of(record.created_at),
        "date_updated": rfc2822_of(record.updated_at),
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{record.sid}.json",
    }


async def create(call: Call) -> Response:
    text = call.form.get("PhoneNumber")
    if not text:
        raise ApiError(20001, "Missing required parameter PhoneNumber in the post body")
    number = parse_destination(text)
    if number is None:
        raise ApiError(21421)
    kind = SenderKind.TOLL_FREE if number.kind is NumberKind.TOLL_FREE else SenderKind.LONG_CODE
    sid = call.new_sid("PN")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "carrier_id": sender_fields.carrier_id(call),
        "kind": kind.value,
        "address": number.e164,
        "country": number.country,
        "friendly_name": number.e164,
        "settings": _settings(call.form, {}),
        **sender_fields.changed_columns(call),
    }
    try:
        await change(call.deps, lambda connection: config_rows.insert_sender(connection, values))
    except UniqueViolation:
        raise ApiError(21422) from None
    return answer(render(call.deps.directory.senders[sid], call.account.sid), 201)


async def list_(call: Call) -> Response:
    return _list(call, NUMBER_KINDS)


async def list_local(call: Call) -> Response:
    return _list(call, (SenderKind.LONG_CODE,))


async def list_toll_free(call: Call) -> Response:
    return _list(call, (SenderKind.TOLL_FREE,))


def _list(call: Call, kinds: tuple[SenderKind, ...]) -> Response:
    address, name = call.filter("PhoneNumber"), call.filter("FriendlyName")
    records = [
        record
        for record in call.deps.directory.senders.values()
        if record.account_id == call.account.id
        and record.sender.kind in kinds
        and (address is None or address in record.sender.address)
        and name in (None, record.friendly_name)
    ]
    request = call.page
    rest = in_memory(records, request, lambda record: record.sid)
    page, token = cut(rest, request, lambda record: record.sid)
    rows = [render(record, call.account.sid) for record in page]
    return answer(envelope_2010("incoming_phone_numbers", rows, call.path, request, token))


async def fetch(call: Call) -> Response:
    return answer(render(_record(call), call.account.sid))


async def update(call: Call) -> Response:
    record = _record(call)
    values = {
        "settings": _settings(call.form, record.settings),
        **sender_fields.changed_columns(call),
    }
    sender_id = record.sender.id
    await change(
        call.deps, lambda connection: config_rows.update_sender(connection, sender_id, values)
    )
    return answer(render(call.deps.directory.senders[record.sid], call.account.sid))


async def delete(call: Call) -> Response:
    sender_id = _record(call).sender.id
    await change(call.deps, lambda connection: config_rows.delete_sender(connection, sender_id))
    return gone()


def _record(call: Call) -> SenderRecord:
    record = call.deps.directory.senders.get("PN" + call.request.path_params["sid"][2:].lower())
    if record is None or record.account_id != call.account.id:
        raise call.missing()
    return record


def _settings(form: Form, before: dict[str, Any]) -> dict[str, Any]:
    return sender_fields.url_settings(form, before, URL_FIELDS, METHOD_FIELDS)
