"""`/v1/Configuration`, its webhooks, and `/v1/Services`: an account's own defaults."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.conversations.shared import (
    filters_of,
    method_of,
    normal_sid,
    path_sid,
    settings_of,
    text_of,
)
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.resources import Call, at_limit, gone, json_response
from gateway.conversations.timers import interval_of
from storage import conversation_settings as rows
from storage.config import AtLimit
from storage.database import BadRow

TIMERS: Final = {"inactive": (60, 50375), "closed": (600, 50376)}


def timer(form: Form, parameter: str, which: str) -> str | None:
    """A timer as given; "" for none. Raises ApiError 50375, 50376 for one that is too short."""
    text = form.get(parameter)
    if text is None:
        return None
    least_s, code = TIMERS[which]
    try:
        length = interval_of(text)
    except ValueError as error:
        raise ApiError(code, str(error)) from None
    if length is not None and length.total_seconds() < least_s:
        raise ApiError(code)
    return text if length is not None else ""


def messaging_service(call: Call, text: str | None) -> str | None:
    """The SID of one of the account's services. Raises ApiError 50373."""
    if not text:
        return text
    service = call.deps.directory.services.get(normal_sid(text, "MG"))
    if service is None or service.account_id != call.account.id:
        raise ApiError(50373)
    return service.sid


def _render(call: Call, row: rows.ConversationSettingsRow) -> dict[str, Any]:
    url = f"{call.origin}/v1/Configuration"
    return {
        "account_sid": call.account.sid,
        "default_chat_service_sid": row["chat_service"],
        "default_messaging_service_sid": row["messaging_service"],
        "default_inactive_timer": row["inactive_after"],
        "default_closed_timer": row["closed_after"],
        "url": url,
        # Twilio's `service` leads to `/Services/{IS}/Configuration`, which is not here.
        "links": {"webhooks": f"{url}/Webhooks"},
    }


async def fetch(call: Call) -> Response:
    return json_response(_render(call, await settings_of(call)))


async def update(call: Call) -> Response:
    await settings_of(call)
    form = call.form
    values: dict[str, Any] = {}
    if sid := form.get("DefaultChatServiceSid"):
        service = await rows.chat_service(call.deps.pool, call.account.id, normal_sid(sid, "IS"))
        if service is None:
            raise ApiError(20404, "DefaultChatServiceSid was not found")
        values["chat_service_id"] = service["id"]
    given = messaging_service(call, form.get("DefaultMessagingServiceSid"))
    if given is not None:
        values["messaging_service"] = given or None
    for which in TIMERS:
        text = timer(form, f"Default{which.capitalize()}Timer", which)
        if text is not None:
            values[f"{which}_after"] = text or None
    await rows.update_settings(call.deps.pool, call.account.id, values)
    return json_response(_render(call, await settings_of(call)))


# Global webhooks ------------------------------------------------------------------------------


def _render_webhooks(call: Call, row: rows.ConversationSettingsRow) -> dict[str, Any]:
    return {
        "account_sid": call.account.sid,
        "method": row["method"],
        "filters": row["filters"],
        "pre_webhook_url": row["pre_webhook_url"],
        "post_webhook_url": row["post_webhook_url"],
        "target": row["target"],
        "url": f"{call.origin}/v1/Configuration/Webhooks",
    }


async def fetch_webhooks(call: Call) -> Response:
    return json_response(_render_webhooks(call, await settings_of(call)))


async def update_webhooks(call: Call) -> Response:
    await settings_of(call)
    form = call.form
    values: dict[str, Any] = {}
    for parameter, name in (
        ("PreWebhookUrl", "pre_webhook_url"),
        ("PostWebhookUrl", "post_webhook_url"),
    ):
        if (url := form.url(parameter, 21402)) is not None:
            values[name] = url or None
    if (method := method_of(form, "Method")) is not None:
        values["method"] = method
    if (filters := filters_of(form, "Filters")) is not None:
        values["filters"] = filters
    if form.get("Target") not in (None, "webhook"):
        raise ApiError(20001, "Target must be webhook: nothing else listens here")
    await rows.update_settings(call.deps.pool, call.account.id, values)
    return json_response(_render_webhooks(call, await settings_of(call)))


# Chat services --------------------------------------------------------------------------------


def _render_service(call: Call, row: rows.ChatServiceRow) -> dict[str, Any]:
    url = f"{call.origin}/v1/Services/{row['sid']}"
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "friendly_name": row["friendly_name"],
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": url,
        "links": {},
    }


async def create_service(call: Call) -> Response:
    name = text_of(call.form, "FriendlyName")
    if not name:
        raise ApiError(20001, "Missing required parameter FriendlyName in the post body")
    await settings_of(call)  # the default one comes first
    sid, most = call.new_sid("IS"), call.deps.limits.conversation_services
    try:
        row = await rows.insert_chat_service(call.deps.pool, call.account.id, sid, name, most)
    except AtLimit as limit:
        raise at_limit(limit) from None
    return json_response(_render_service(call, row), 201)


async def list_services(call: Call) -> Response:
    await settings_of(call)
    request = call.page
    async with call.listing() as lists:
        found = await rows.chat_services(
            lists, call.account.id, request.key, request.size + 1, back=request.back
        )
    return call.listed("services", found, lambda row: row["sid"], partial(_render_service, call))


async def fetch_service(call: Call) -> Response:
    return json_response(_render_service(call, await _service(call)))


async def delete_service(call: Call) -> Response:
    """A chat service goes with its conversations; the default one stays."""
    row = await _service(call)
    try:
        await rows.delete_chat_service(call.deps.pool, row["id"])
    except BadRow:
        raise ApiError(20409, "this is the default chat service") from None
    return gone()


async def _service(call: Call) -> rows.ChatServiceRow:
    return call.found(
        await rows.chat_service(call.deps.pool, call.account.id, path_sid(call, "IS"))
    )
