"""`/v1/Conversations/{CH}/Messages` and their delivery receipts
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.acceptance.acceptor import Overloaded, Unavailable
from gateway.api.conversations.shared import (
    allowed,
    attributes_of,
    conversation_of,
    is_told,
    message_of,
    path_sid,
    text_of,
)
from gateway.api.http.errors import RETRY_AFTER_S, ApiError
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from gateway.api.http.values import read_whole
from gateway.content.encoding import BODY_LIMIT, body_units
from gateway.conversations import events as names
from gateway.conversations.events import Source
from gateway.conversations.outbound import NotPosted, Words
from storage import conversation_messages as rows
from storage import conversations as conversation_rows
from storage.conversations import ConversationRow

DEFAULT_AUTHOR: Final = "system"
MOST_INDEX: Final = 2**31 - 1  # of a message in its conversation: an int column
# Which statuses of receipts count as which: what was delivered was sent.
COUNTS: Final = {
    "sent": ("sent", "delivered", "undelivered", "read"),
    "delivered": ("delivered", "read"),
    "read": ("read",),
    "failed": ("failed",),
    "undelivered": ("undelivered",),
}


def delivery_of(tally: Mapping[str | None, int] | None) -> dict[str, Any] | None:
    """How far a message got at all its recipients; None when it went to nobody."""
    if not tally:
        return None
    total = sum(tally.values())
    shown: dict[str, Any] = {"total": total}
    for name, statuses in COUNTS.items():
        many = sum(tally.get(status, 0) for status in statuses)
        shown[name] = "all" if many == total else "some" if many else "none"
    return shown


def render(
    call: Call,
    conversation: ConversationRow,
    row: rows.ConversationMessageRow,
    tally: Mapping[str | None, int] | None,
) -> dict[str, Any]:
    url = f"{call.origin}/v1/Conversations/{conversation['sid']}/Messages/{row['sid']}"
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "conversation_sid": conversation["sid"],
        "index": row["index"],
        "author": row["author"],
        "participant_sid": row["participant"],
        "body": row["body"],
        "media": None,
        "attributes": row["attributes"],
        "delivery": delivery_of(tally),
        "content_sid": None,
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": url,
        "links": {"delivery_receipts": f"{url}/Receipts", "channel_metadata": None},
    }


async def create(call: Call) -> Response:
    """Post a message; it leaves as SMS to every participant with an address but its author."""
    conversation = await conversation_of(call)
    if conversation["state"] == "closed":
        raise ApiError(50377)
    form = call.form
    for parameter in ("MediaSid", "ContentSid", "ContentVariables"):
        if form.get(parameter):
            raise ApiError(20001, f"{parameter}: only texts are carried yet")
    words = Words(
        text_of(form, "Author") or DEFAULT_AUTHOR,
        _body(form.get("Body")),
        attributes_of(form) or "{}",
        heard=is_told(call),
    )
    asked = [
        ("ConversationSid", conversation["sid"]),
        ("Body", words.body),
        ("Author", words.author),
        ("Attributes", words.attributes),
        ("Media", ""),
    ]
    changes = await allowed(call, names.MESSAGE_ADD, asked)
    if changes:
        words = words.changed(changes)
        _body(words.body)
    try:
        row = await call.deps.conversations.outbound.post(conversation, words, Source.API)
    except NotPosted:
        await conversation_of(call)  # 50350 when it is gone
        raise ApiError(50377) from None
    except Overloaded:
        raise ApiError(20429, headers=RETRY_AFTER_S) from None
    except Unavailable:
        raise ApiError(20503, headers=RETRY_AFTER_S) from None
    tallies = await rows.tally(call.deps.pool, [row["id"]])
    return json_response(render(call, conversation, row, tallies.get(row["id"])), 201)


async def list_(call: Call) -> Response:
    """By index; `Order=desc` the other way round."""
    conversation, request = await conversation_of(call), call.page
    order = call.filter("Order")
    if order not in (None, "asc", "desc"):
        raise ApiError(20001, "Order must be asc or desc")
    index = read_whole(request.key, 0, MOST_INDEX) if request.key is not None else None
    if request.key is not None and index is None:
        raise ApiError(20001, "PageToken is not valid")
    async with call.listing() as lists:
        found = await rows.page(
            lists,
            conversation["id"],
            index,
            request.size + 1,
            down=(order == "desc") is not request.back,
        )
    tallies = await rows.tally(call.deps.pool, [row["id"] for row in found])
    return call.listed(
        "messages",
        found,
        lambda row: str(row["index"]),
        lambda row: render(call, conversation, row, tallies.get(row["id"])),
    )


async def fetch(call: Call) -> Response:
    conversation = await conversation_of(call)
    row = await message_of(call, conversation)
    tallies = await rows.tally(call.deps.pool, [row["id"]])
    return json_response(render(call, conversation, row, tallies.get(row["id"])))


async def update(call: Call) -> Response:
    """Change what is kept; what was sent was sent."""
    conversation = await conversation_of(call)
    before = await message_of(call, conversation)
    form = call.form
    values: dict[str, Any] = {}
    if author := text_of(form, "Author"):
        values["author"] = author
    if "Body" in form:
        values["body"] = _body(form.get("Body"))
    if (attributes := attributes_of(form)) is not None:
        values["attributes"] = attributes
    kept = call.deps.conversations
    async with call.deps.pool.acquire() as connection, connection.transaction():
        # Under its lock: else its text could be erased between the reading and the telling.
        call.found(await rows.locked(connection, before["id"]))
        await rows.update(connection, before["id"], values)
        row = await rows.one(connection, conversation["id"], before["sid"])
        assert row is not None, "it is locked"
        if is_told(call):
            await kept.events.record(
                connection,
                conversation,
                names.MESSAGE_UPDATED,
                names.of_message(conversation, row),
                messages=await rows.sources(connection, row["id"]),
            )
    kept.events.written()
    tallies = await rows.tally(call.deps.pool, [row["id"]])
    return json_response(render(call, conversation, row, tallies.get(row["id"])))


async def delete(call: Call) -> Response:
    conversation = await conversation_of(call)
    before = await message_of(call, conversation)
    kept = call.deps.conversations
    async with call.deps.pool.acquire() as connection, connection.transaction():
        await conversation_rows.locked(connection, conversation["id"])
        row = call.found(await rows.locked(connection, before["id"]))
        messages = await rows.sources(connection, row["id"])
        await rows.delete(connection, row)
        if is_told(call):
            await kept.events.record(
                connection,
                conversation,
                names.MESSAGE_REMOVED,
                names.of_message(conversation, row),
                messages=messages,
            )
    kept.events.written()
    return gone()


def _body(text: str | None) -> str:
    """The text of a message. Raises ApiError 20001, 21617."""
    if not text or not text.strip() or "\x00" in text:
        raise ApiError(20001, "Body must be a text")
    if body_units(text) > BODY_LIMIT:
        raise ApiError(21617, f"Body has at most {BODY_LIMIT} characters")
    return text


# Receipts -------------------------------------------------------------------------------------


def _render_receipt(
    call: Call,
    conversation: ConversationRow,
    message: rows.ConversationMessageRow,
    row: rows.ConversationReceiptRow,
) -> dict[str, Any]:
    path = f"/v1/Conversations/{conversation['sid']}/Messages/{message['sid']}/Receipts"
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "conversation_sid": conversation["sid"],
        "message_sid": message["sid"],
        "channel_message_sid": row["message_sid"],
        "participant_sid": row["participant"],
        "status": row["status"],
        "error_code": row["error_code"],
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": f"{call.origin}{path}/{row['sid']}",
    }


async def list_receipts(call: Call) -> Response:
    """What was heard of a message so far, one receipt a recipient."""
    conversation, request = await conversation_of(call), call.page
    message = await message_of(call, conversation)
    async with call.listing() as lists:
        found = await rows.receipts(
            lists, message["id"], request.key, request.size + 1, back=request.back
        )
    shown = partial(_render_receipt, call, conversation, message)
    return call.listed("delivery_receipts", found, lambda row: row["sid"], shown)


async def fetch_receipt(call: Call) -> Response:
    conversation = await conversation_of(call)
    message = await message_of(call, conversation)
    row = call.found(await rows.receipt(call.deps.pool, message["id"], path_sid(call, "DY")))
    return json_response(_render_receipt(call, conversation, message, row))
