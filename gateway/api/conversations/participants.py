"""`/v1/Conversations/{CH}/Participants` and `/v1/ParticipantConversations`
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.conversations.conversations import timers_of
from gateway.api.conversations.shared import (
    allowed,
    attributes_of,
    conversation_of,
    is_told,
    number_of,
    path_sid,
    text_of,
)
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from gateway.conversations import events as names
from storage import conversations as rows
from storage.conversations import ConversationRow, MembershipRow, ParticipantRow, SpeakerRow
from storage.database import UniqueViolation

# participants with an address, in one conversation
# (docs/spec/messaging-services.md#autocreate-a-conversation)
MOST_BOUND: Final = 50


def binding_of(row: SpeakerRow) -> dict[str, str | None] | None:
    if row["address"] is None:
        return None
    return {"type": "sms", "address": row["address"], "proxy_address": row["proxy_address"]}


def render(call: Call, conversation: ConversationRow, row: ParticipantRow) -> dict[str, Any]:
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "conversation_sid": conversation["sid"],
        "identity": row["identity"],
        "attributes": row["attributes"],
        "messaging_binding": binding_of(row),
        "role_sid": row["role"],
        "last_read_message_index": row["last_read_index"],
        "last_read_timestamp": row["last_read_at"],
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": f"{call.origin}/v1/Conversations/{conversation['sid']}/Participants/{row['sid']}",
    }


async def create(call: Call) -> Response:
    """By `Identity`, or by `MessagingBinding.Address` and `.ProxyAddress`."""
    conversation = await conversation_of(call)
    values: dict[str, Any] = {
        "sid": call.new_sid("MB"),
        "conversation_id": conversation["id"],
        "account_id": call.account.id,
        **_values(call.form),
        **_binding(call),
    }
    if values.get("identity") is None and values.get("address") is None:
        raise ApiError(20001, "Identity or MessagingBinding.Address is needed")
    asked = [("ConversationSid", conversation["sid"]), ("Identity", values.get("identity") or "")]
    if "address" in values:
        asked += names.of_binding((values["address"], values["proxy_address"]))
    await allowed(call, names.PARTICIPANT_ADD, asked)
    kept = call.deps.conversations
    try:
        async with call.deps.pool.acquire() as connection, connection.transaction():
            now = await rows.locked(connection, conversation["id"])
            if now is None:
                raise ApiError(50350)
            if now["state"] == "closed":
                raise ApiError(50377)
            row = await rows.insert_participant(connection, values)
            if await rows.count_bound(connection, now["id"]) > MOST_BOUND:
                raise ApiError(20001, f"at most {MOST_BOUND} participants have an address")
            await rows.touch(connection, now["id"])
            if is_told(call):
                parameters = names.of_participant(now, row)
                await kept.events.record(connection, now, names.PARTICIPANT_ADDED, parameters)
    except UniqueViolation:
        raise await _conflict(call, conversation, values) from None
    kept.events.written()
    return json_response(render(call, conversation, row), 201)


async def _conflict(call: Call, conversation: ConversationRow, values: dict[str, Any]) -> ApiError:
    """The pair is in this conversation (50433) or in another one (50416); or the identity is."""
    if values.get("address") is None:
        return ApiError(50433)
    bound = await rows.bound(
        call.deps.pool, call.account.id, values["address"], values["proxy_address"]
    )
    if bound is None or bound["conversation_id"] == conversation["id"]:
        return ApiError(50433)
    return ApiError(
        50416,
        "A binding for this participant and proxy address already exists in Conversation"
        f" {bound['conversation']}",
    )


async def list_(call: Call) -> Response:
    conversation, request = await conversation_of(call), call.page
    async with call.listing() as lists:
        found = await rows.participants(
            lists, conversation["id"], request.key, request.size + 1, back=request.back
        )
    return call.listed(
        "participants", found, lambda row: row["sid"], partial(render, call, conversation)
    )


async def fetch(call: Call) -> Response:
    conversation = await conversation_of(call)
    return json_response(render(call, conversation, await _participant(call, conversation)))


async def update(call: Call) -> Response:
    """Everything but the address, which stays what it is."""
    conversation = await conversation_of(call)
    before = await _participant(call, conversation)
    values = _values(call.form)
    form = call.form
    if (text := text_of(form, "LastReadTimestamp")) is not None:
        values["last_read_at"] = text or None
    index = form.integer("LastReadMessageIndex", 0, 2**31 - 1, 20001)
    if index is not None:
        values["last_read_index"] = index
    kept = call.deps.conversations
    try:
        async with call.deps.pool.acquire() as connection, connection.transaction():
            await rows.update_participant(connection, before["id"], values)
            row = await rows.participant(connection, conversation["id"], before["sid"])
            if row is None:
                raise ApiError(50432)
            if is_told(call):
                parameters = names.of_participant(conversation, row)
                await kept.events.record(
                    connection, conversation, names.PARTICIPANT_UPDATED, parameters
                )
    except UniqueViolation:
        raise ApiError(50433) from None
    kept.events.written()
    return json_response(render(call, conversation, row))


async def delete(call: Call) -> Response:
    """The participant goes, and its pair of addresses is free."""
    conversation = await conversation_of(call)
    row = await _participant(call, conversation)
    kept = call.deps.conversations
    async with call.deps.pool.acquire() as connection, connection.transaction():
        await rows.delete_participant(connection, row["id"])
        if is_told(call):
            parameters = names.of_participant(conversation, row)
            await kept.events.record(
                connection, conversation, names.PARTICIPANT_REMOVED, parameters
            )
    kept.events.written()
    return gone()


async def list_memberships(call: Call) -> Response:
    """Every conversation of an `Address` or an `Identity`, newest first."""
    request = call.page
    address, identity = call.filter("Address"), call.filter("Identity")
    if address is None and identity is None:
        raise ApiError(20001, "Address or Identity is needed")
    async with call.listing() as lists:
        found = await rows.memberships(
            lists,
            call.account.id,
            address=number_of(address, 50407) if address else None,
            identity=identity,
            before=request.key,
            back=request.back,
            most=request.size + 1,
        )
    shown = partial(_render_membership, call)
    return call.listed("conversations", found, lambda row: row["sid"], shown)


def _render_membership(call: Call, row: MembershipRow) -> dict[str, Any]:
    url = f"{call.origin}/v1/Conversations/{row['conversation']}"
    return {
        "account_sid": call.account.sid,
        "chat_service_sid": row["chat_service"],
        "participant_sid": row["sid"],
        "participant_user_sid": None,
        "participant_identity": row["identity"],
        "participant_messaging_binding": binding_of(row),
        "conversation_sid": row["conversation"],
        "conversation_unique_name": row["unique_name"],
        "conversation_friendly_name": row["friendly_name"],
        "conversation_attributes": row["conversation_attributes"],
        "conversation_date_created": iso8601(row["conversation_created_at"]),
        "conversation_date_updated": iso8601(row["conversation_updated_at"]),
        "conversation_created_by": None,
        "conversation_state": row["state"],
        "conversation_timers": timers_of(row),
        "links": {"participant": f"{url}/Participants/{row['sid']}", "conversation": url},
    }


async def _participant(call: Call, conversation: ConversationRow) -> ParticipantRow:
    row = await rows.participant(call.deps.pool, conversation["id"], path_sid(call, "MB"))
    if row is None:
        raise ApiError(50432)
    return row


def _values(form: Form) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter, name in (("Identity", "identity"), ("RoleSid", "role")):
        if text := text_of(form, parameter):
            values[name] = text
    if (attributes := attributes_of(form)) is not None:
        values["attributes"] = attributes
    return values


def _binding(call: Call) -> dict[str, Any]:
    """The pair of addresses of the form. Raises ApiError 50407, 50408, 50409, 50413."""
    form = call.form
    address, proxy = form.get("MessagingBinding.Address"), form.get("MessagingBinding.ProxyAddress")
    if not address and not proxy:
        return {}
    address = number_of(address, 50407)
    text = proxy or ""
    proxy = text if text.isascii() and text.isdigit() and len(text) < 7 else number_of(text, 50408)
    if address == proxy:
        raise ApiError(50409)
    record = call.deps.directory.senders_by_address.get(proxy)
    if record is None or record.account_id != call.account.id:
        raise ApiError(50413)
    return {"address": address, "proxy_address": proxy}
