"""`/v1/Conversations/{CH}/Webhooks`: who else is told of one conversation
(docs/spec/twilio-api.md#conversations-v1)."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.conversations.shared import conversation_of, filters_of, method_of, path_sid
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import Form
from gateway.api.http.paging import in_memory
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from storage import conversations as rows
from storage.conversations import ConversationRow, ConversationWebhookRow

TARGETS: Final = ("webhook", "trigger")  # "studio" has nobody to take it
MOST_HOOKS: Final = 5  # of one conversation
MOST_TRIGGERS: Final = 50
TRIGGER_LIMIT: Final = 256


def render(
    call: Call, conversation: ConversationRow, row: ConversationWebhookRow
) -> dict[str, Any]:
    configuration: dict[str, Any] = {"url": row["url"], "method": row["method"]}
    if row["target"] == "trigger":
        configuration["triggers"] = row["triggers"]
    else:
        configuration["filters"] = row["filters"]
    if row["replay_after"] is not None:
        configuration["replay_after"] = row["replay_after"]
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "conversation_sid": conversation["sid"],
        "target": row["target"],
        "configuration": configuration,
        "date_created": iso8601(row["created_at"]),
        "date_updated": iso8601(row["updated_at"]),
        "url": f"{call.origin}/v1/Conversations/{conversation['sid']}/Webhooks/{row['sid']}",
    }


async def create(call: Call) -> Response:
    conversation = await conversation_of(call)
    target = call.form.get("Target")
    if target not in TARGETS:
        raise ApiError(20001, f"Target must be {' or '.join(TARGETS)}")
    values = {
        "sid": call.new_sid("WH"),
        "conversation_id": conversation["id"],
        "target": target,
        "method": "POST",
        "filters": [],
        "triggers": [],
        **_values(call.form),
    }
    if not values.get("url"):
        raise ApiError(20001, "Missing required parameter Configuration.Url in the post body")
    index = call.form.integer("Configuration.ReplayAfter", 0, 2**31 - 1, 20001)
    if index is not None:
        values["replay_after"] = index
    async with call.deps.pool.acquire() as connection, connection.transaction():
        if await rows.locked(connection, conversation["id"]) is None:
            raise ApiError(50350)
        if len(await rows.webhooks(connection, conversation["id"])) >= MOST_HOOKS:
            raise ApiError(20001, f"a conversation has at most {MOST_HOOKS} webhooks")
        await rows.insert_webhook(connection, values)
    row = await rows.webhook(call.deps.pool, conversation["id"], str(values["sid"]))
    if row is None:
        raise ApiError(50350)
    return json_response(render(call, conversation, row), 201)


async def list_(call: Call) -> Response:
    conversation, request = await conversation_of(call), call.page
    found = await rows.webhooks(call.deps.pool, conversation["id"])
    rest = in_memory(found, request, lambda row: row["sid"])
    return call.listed(
        "webhooks", rest, lambda row: row["sid"], partial(render, call, conversation)
    )


async def fetch(call: Call) -> Response:
    conversation = await conversation_of(call)
    return json_response(render(call, conversation, await _webhook(call, conversation)))


async def update(call: Call) -> Response:
    conversation = await conversation_of(call)
    row = await _webhook(call, conversation)
    await rows.update_webhook(call.deps.pool, row["id"], _values(call.form))
    return json_response(render(call, conversation, await _webhook(call, conversation)))


async def delete(call: Call) -> Response:
    conversation = await conversation_of(call)
    row = await _webhook(call, conversation)
    await rows.delete_webhook(call.deps.pool, row["id"])
    return gone()


async def _webhook(call: Call, conversation: ConversationRow) -> ConversationWebhookRow:
    return call.found(await rows.webhook(call.deps.pool, conversation["id"], path_sid(call, "WH")))


def _values(form: Form) -> dict[str, Any]:
    """The columns that the form sets."""
    values: dict[str, Any] = {}
    if url := form.url("Configuration.Url", 21402):
        values["url"] = url
    if (method := method_of(form, "Configuration.Method")) is not None:
        values["method"] = method
    if (filters := filters_of(form, "Configuration.Filters")) is not None:
        values["filters"] = filters
    if "Configuration.Triggers" in form:
        triggers = [text for text in form.all("Configuration.Triggers") if text]
        if len(triggers) > MOST_TRIGGERS or any(
            len(text) > TRIGGER_LIMIT or "\x00" in text for text in triggers
        ):
            raise ApiError(20001, f"at most {MOST_TRIGGERS} triggers of {TRIGGER_LIMIT} characters")
        values["triggers"] = triggers
    return values
