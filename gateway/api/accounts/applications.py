"""`/Applications`: URLs under one SID, for numbers and sends to name
(docs/spec/twilio-api.md#account-inventory)."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.render import API_VERSION, rfc2822_of
from gateway.api.http.resources import Call, adding, change, gone, json_response
from gateway.api.numbers import sender_fields
from gateway.directory.directory import Application
from storage import config as config_rows

NAME_LIMIT: Final = 64
URLS: Final = {
    **sender_fields.SMS_URLS,
    "MessageStatusCallback": "message_status_callback",
    "SmsStatusCallback": "sms_status_callback",
    "StatusCallback": "status_callback",
}
METHODS: Final = {**sender_fields.SMS_METHODS, "StatusCallbackMethod": "status_callback_method"}
# Shown for SDKs that read them; there is no voice here.
VOICE: Final = {
    "voice_url": None,
    "voice_method": None,
    "voice_fallback_url": None,
    "voice_fallback_method": None,
    "voice_caller_id_lookup": None,
}


def render(application: Application, account_sid: str) -> dict[str, Any]:
    settings = application.settings
    return {
        "sid": application.sid,
        "account_sid": account_sid,
        "friendly_name": application.friendly_name,
        "api_version": API_VERSION,
        **{name: settings.get(name) for name in URLS.values()},
        **{name: settings.get(name, "POST") for name in METHODS.values()},
        **VOICE,
        "public_application_connect_enabled": False,
        "date_created": rfc2822_of(application.created_at),
        "date_updated": rfc2822_of(application.updated_at),
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/Applications/{application.sid}.json",
    }


async def create(call: Call) -> Response:
    sid = call.new_sid("AP")
    values = {
        "sid": sid,
        "account_id": call.account.id,
        "friendly_name": (call.form.get("FriendlyName") or "")[:NAME_LIMIT],
        "settings": sender_fields.url_settings(call.form, {}, URLS, METHODS),
    }
    add = adding(
        call.deps,
        lambda c: config_rows.insert_application(c, values),
        call.account.id,
        "applications",
    )
    await change(call.deps, add)
    return json_response(render(call.deps.directory.applications[sid], call.account.sid), 201)


async def list_(call: Call) -> Response:
    name = call.filter("FriendlyName")
    applications = [
        application
        for application in call.deps.directory.applications.values()
        if application.account_id == call.account.id and name in (None, application.friendly_name)
    ]
    return call.listed_by_sid(
        "applications", applications, lambda application: render(application, call.account.sid)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(_application(call), call.account.sid))


async def update(call: Call) -> Response:
    application = _application(call)
    values: dict[str, Any] = {
        "settings": sender_fields.url_settings(call.form, application.settings, URLS, METHODS)
    }
    if (name := call.form.get("FriendlyName")) is not None:
        values["friendly_name"] = name[:NAME_LIMIT]
    await change(call.deps, lambda c: config_rows.update_application(c, application.id, values))
    return json_response(
        render(call.deps.directory.applications[application.sid], call.account.sid)
    )


async def delete(call: Call) -> Response:
    """Numbers that name it go back to their own URLs."""
    application = _application(call)
    await change(call.deps, lambda c: config_rows.delete_application(c, application.id))
    return gone()


def _application(call: Call) -> Application:
    sid = call.request.path_params["sid"]
    return call.found(call.deps.directory.application(call.account.id, sid))
