"""`/v1/Conversations` (docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.conversations.configuration import TIMERS, messaging_service, timer
from gateway.api.conversations.shared import (
    allowed,
    attributes_of,
    conversation_of,
    is_told,
    settings_of,
    text_of,
)
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from gateway.api.http.values import read_time
from gateway.conversations import events as names
from gateway.conversations.timers import interval_of
from storage import conversations as rows
from storage.conversations import ConversationRow, NamedConversationRow
from storage.database import Connection, UniqueViolation

STATES: Final = ("active", "inactive", "closed")
LINKS: Final = {"participants": "Participants", "messages": "Messages", "webhooks": "Webhooks"}


def timers_of(row: NamedConversationRow) -> dict[str, str]:
    """When it will become inactive, and closed; nothing of what has happened."""
    shown = {}
    if row["date_inactive"] is not None and row["state"] == "active":
        shown["date_inactive"] = iso8601(row["date_inactive"])
    if row["date_closed"] is not None and row["state"] != "closed":
        shown["date_closed"] = iso8601(row["date_closed"])
    return shown


def render(call: Call, row: ConversationRow) -> dict[str, Any]:
    url = f"{call.origin}/v1/Conversations/{row['sid']}"
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "chat_service_sid": row["chat_service"],
        "messaging_service_sid": row["messaging_service"],
        "friendly_name": row["friendly_name"],
        "unique_name": row["unique_name"],
        "attributes": row["attributes"],
        "state": row["state"],
        "timers": timers_of(row),
        "bindings": {},
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": url,
        "links": {name: f"{url}/{path}" for name, path in LINKS.items()},
    }


async def create(call: Call) -> Response:
    settings = await settings_of(call)
    values: dict[str, Any] = {
        "sid": call.new_sid("CH"),
        "account_id": call.account.id,
        "chat_service_id": settings["chat_service_id"],
        "messaging_service": settings["messaging_service"],
        "inactive_after": interval_of(settings["inactive_after"]),
        "closed_after": interval_of(settings["closed_after"]),
        **_values(call),
    }
    if state := _state(call.form):
        values["state"] = state
    asked = [
        ("FriendlyName", values.get("friendly_name") or ""),
        ("UniqueName", values.get("unique_name") or ""),
        ("Attributes", values.get("attributes") or "{}"),
        ("MessagingServiceSid", values["messaging_service"] or ""),
        ("State", values.get("state", "active")),
    ]
    values |= await allowed(call, names.CONVERSATION_ADD, asked)
    kept = call.deps.conversations
    try:
        async with call.deps.pool.acquire() as connection, connection.transaction():
            row = await rows.insert(connection, values)
            if is_told(call):
                parameters = names.of_conversation(row)
                await kept.events.record(connection, row, names.CONVERSATION_ADDED, parameters)
    except UniqueViolation:
        raise ApiError(50353) from None
    kept.events.written()
    return json_response(render(call, row), 201)


async def list_(call: Call) -> Response:
    """Newest first; `State`, `StartDate` and `EndDate` (of its making)."""
    request = call.page
    async with call.listing() as lists:
        found = await rows.page(
            lists,
            call.account.id,
            before=request.key,
            back=request.back,
            state=call.filter("State"),
            since=_date(call, "StartDate"),
            until=_date(call, "EndDate"),
            most=request.size + 1,
        )
    return call.listed("conversations", found, lambda row: row["sid"], partial(render, call))


async def fetch(call: Call) -> Response:
    return json_response(render(call, await conversation_of(call)))


async def update(call: Call) -> Response:
    """Change fields and state. A closed one stays closed (50377)."""
    found = await conversation_of(call)
    values, state = _values(call), _state(call.form)
    kept = call.deps.conversations
    try:
        async with call.deps.pool.acquire() as connection, connection.transaction():
            before = await rows.locked(connection, found["id"])
            if before is None:
                raise ApiError(50350)
            if before["state"] == "closed" and state not in (None, "closed"):
                raise ApiError(50377)
            await rows.update(connection, found["id"], values)
            if state is not None and state != before["state"]:
                await rows.set_state(connection, found["id"], state)
            row = await rows.by_id(connection, found["id"])
            assert row is not None, "it is locked"
            if is_told(call):
                await _tell(call, connection, before, row)
    except UniqueViolation:
        raise ApiError(50353) from None
    kept.events.written()
    return json_response(render(call, row))


async def _tell(
    call: Call, connection: Connection, before: ConversationRow, row: ConversationRow
) -> None:
    events = call.deps.conversations.events
    parameters = names.of_conversation(row)
    await events.record(connection, row, names.CONVERSATION_UPDATED, parameters)
    if row["state"] != before["state"]:
        parameters = names.of_state(row, before["state"], "API")
        await events.record(connection, row, names.STATE_UPDATED, parameters)


async def delete(call: Call) -> Response:
    row = await conversation_of(call)
    events = call.deps.conversations.events
    async with call.deps.pool.acquire() as connection, connection.transaction():
        if is_told(call):
            parameters = names.of_conversation(row)
            await events.record(connection, row, names.CONVERSATION_REMOVED, parameters)
        await rows.delete(connection, row["id"])
    events.written()
    return gone()


def _values(call: Call) -> dict[str, Any]:
    """The columns that the form sets."""
    form = call.form
    values: dict[str, Any] = {}
    for parameter, name in (("FriendlyName", "friendly_name"), ("UniqueName", "unique_name")):
        if (text := text_of(form, parameter)) is not None:
            values[name] = text or None
    if (attributes := attributes_of(form)) is not None:
        values["attributes"] = attributes
    service = messaging_service(call, form.get("MessagingServiceSid"))
    if service is not None:
        values["messaging_service"] = service or None
    for which in TIMERS:
        if (text := timer(form, f"Timers.{which.capitalize()}", which)) is not None:
            values[f"{which}_after"] = interval_of(text)
    return values


def _state(form: Form) -> str | None:
    state = form.get("State")
    if state is not None and state not in STATES:
        raise ApiError(50378)
    return state


def _date(call: Call, name: str) -> datetime | None:
    text = call.filter(name)
    if text is None:
        return None
    at = read_time(text)
    if at is None:
        raise ApiError(20001, f"{name} must be an ISO 8601 date")
    return at
