"""`/v1/Configuration/Addresses`: numbers of ours whose inbound messages make conversations."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.conversations.shared import (
    filters_of,
    method_of,
    normal_sid,
    number_of,
    path_sid,
    text_of,
)
from gateway.api.http.errors import ApiError
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from storage import conversation_settings as rows
from storage.database import UniqueViolation

TYPES: Final = ("webhook", "default")  # "studio" has nobody to take it


def render(call: Call, row: rows.ConversationAddressRow) -> dict[str, Any]:
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "type": row["type"],
        "address": row["address"],
        "friendly_name": row["friendly_name"],
        "address_country": row["country"],
        "auto_creation": {
            "enabled": row["enabled"],
            "type": row["creation_type"],
            "conversation_service_sid": row["chat_service"],
            "webhook_url": row["webhook_url"],
            "webhook_method": row["webhook_method"],
            "webhook_filters": row["webhook_filters"],
        },
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": f"{call.origin}/v1/Configuration/Addresses/{row['sid']}",
    }


async def create(call: Call) -> Response:
    form = call.form
    if form.get("Type") != "sms":
        raise ApiError(20001, "Type must be sms: no other channel is carried yet")
    text = form.get("Address") or ""
    record = call.deps.directory.senders_by_address.get(
        text if text.isascii() and text.isdigit() and len(text) < 7 else number_of(text, 50407)
    )
    if record is None or record.account_id != call.account.id:
        raise ApiError(50413)
    country = (form.get("AddressCountry") or record.sender.country or "").upper()
    values = {
        "sid": call.new_sid("IG"),
        "account_id": call.account.id,
        "type": "sms",
        "address": record.sender.address,
        "country": country[:2] or None,
        "enabled": False,
        "creation_type": "default",
        **await _values(call),
    }
    _check(values)
    try:
        await rows.insert_address(call.deps.pool, values)
    except UniqueViolation:
        raise ApiError(20409, "this address has a configuration") from None
    row = await rows.address(call.deps.pool, call.account.id, values["sid"])
    assert row is not None
    return json_response(render(call, row), 201)


async def list_(call: Call) -> Response:
    request = call.page
    async with call.listing() as lists:
        found = await rows.addresses(
            lists,
            call.account.id,
            call.filter("Type"),
            request.key,
            request.size + 1,
            back=request.back,
        )
    return call.listed(
        "address_configurations", found, lambda row: row["sid"], partial(render, call)
    )


async def fetch(call: Call) -> Response:
    return json_response(render(call, await _address(call)))


async def update(call: Call) -> Response:
    row = await _address(call)
    values = await _values(call)
    _check({**row, **values})
    await rows.update_address(call.deps.pool, row["id"], values)
    return json_response(render(call, await _address(call)))


async def delete(call: Call) -> Response:
    row = await _address(call)
    await rows.delete_address(call.deps.pool, row["id"])
    return gone()


async def _address(call: Call) -> rows.ConversationAddressRow:
    """The configuration of the path: by SID, or by the address itself."""
    return call.found(await rows.address(call.deps.pool, call.account.id, path_sid(call, "IG")))


async def _values(call: Call) -> dict[str, Any]:
    """The columns that the form sets."""
    form = call.form
    values: dict[str, Any] = {}
    if (name := text_of(form, "FriendlyName")) is not None:
        values["friendly_name"] = name
    if (enabled := form.flag("AutoCreation.Enabled")) is not None:
        values["enabled"] = enabled
    if kind := form.get("AutoCreation.Type"):
        if kind not in TYPES:
            raise ApiError(20001, f"AutoCreation.Type must be {' or '.join(TYPES)}")
        values["creation_type"] = kind
    if (url := form.url("AutoCreation.WebhookUrl", 21402)) is not None:
        values["webhook_url"] = url or None
    if (method := method_of(form, "AutoCreation.WebhookMethod")) is not None:
        values["webhook_method"] = method
    if (filters := filters_of(form, "AutoCreation.WebhookFilters")) is not None:
        values["webhook_filters"] = filters
    if sid := form.get("AutoCreation.ConversationServiceSid"):
        service = await rows.chat_service(call.deps.pool, call.account.id, normal_sid(sid, "IS"))
        if service is None:
            raise ApiError(20404, "AutoCreation.ConversationServiceSid was not found")
        values["chat_service_id"] = service["id"]
    return values


def _check(values: dict[str, Any]) -> None:
    if values["creation_type"] == "webhook" and not values.get("webhook_url"):
        raise ApiError(20001, "AutoCreation.Type=webhook needs AutoCreation.WebhookUrl")
