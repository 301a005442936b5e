"""`comms` `/v1/Messages`: up to 10,000 recipients as one operation
(docs/spec/twilio-api.md#bulk-messaging-api).

Beyond it: a messaging service as the sender, `statusCallback`, a cancel of the whole operation, and
`messageSid`, by which each message is an ordinary one of the 2010 API.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, Final

import orjson
from starlette.responses import Response

from gateway.acceptance.committer import Also
from gateway.api.http.errors import ApiError, meaning
from gateway.api.http.values import read_whole
from gateway.api.idempotency import first_of, key_of, once
from gateway.api.messages.bulk import Recipient, accept, drafts_of, relayed
from gateway.api.messages.comms_ids import id_of, text_of
from gateway.api.resources import Call, json_response
from gateway.content.filling import TooLong
from gateway.content.liquid import LiquidError, LiquidTemplate
from gateway.messages.message import Status, created_at
from gateway.messages.rows import sid_of_row
from gateway.runtime.times import iso8601_ms
from storage import bulk as bulk_rows
from storage import messages as message_rows
from storage.database import Connection
from storage.idempotency import IdempotencyKey
from storage.ids import Id
from storage.messages import MessageRow

MESSAGE, OPERATION = "comms_message", "comms_operation"
OPERATION_KEY: Final = "operation "  # before a key: no single send can have such a one
MOST: Final = 10_000
MOST_PAGE, DEFAULT_PAGE = 1_000, 50
CANCEL_PAGE: Final = 500  # messages in one statement; what follows in memory holds up the loop
COUNTED: Final = (
    *("queued", "sent", "scheduled", "delivered", "read", "undelivered", "failed", "canceled"),
)
KEYS: Final = frozenset({"from", "to", "content", "schedule", "tags", "statusCallback"})
STATUSES: Final = {
    Status.ACCEPTED: "QUEUED",
    Status.SENDING: "QUEUED",
    Status.RECEIVED: "DELIVERED",
}


async def create(call: Call) -> Response:
    """202 once every recipient that can be one is stored."""
    request = call.json
    unknown = set(request) - KEYS
    if unknown:
        raise ApiError(20001, f"unknown field {min(unknown)}")
    key = key_of(call)
    if key is None:
        return await _made(call, request, None)
    digest = sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).digest()
    named = OPERATION_KEY + key
    given = IdempotencyKey(call.account.id, named, digest, call.deps.creation.next_id())
    return await once(
        partial(_first_answer, call, named, digest), partial(_made, call, request, given)
    )


async def _first_answer(call: Call, key: str, digest: bytes) -> Response | None:
    operation_id = await first_of(call, key, digest)
    return _accepted(call, operation_id, replayed=True) if operation_id is not None else None


async def _made(call: Call, request: dict[str, Any], key: IdempotencyKey | None) -> Response:
    """202 once it is stored."""
    shared = _shared(request)
    template = _template(request)
    constant = template is not None and template.constant
    recipients = _recipients(request, None if constant else template)
    if template is not None and constant:  # one text for all
        shared["Body"] = [_render(template, {})]
    elsewhere = await relayed(call, shared, recipients)
    if elsewhere is not None:
        return elsewhere
    batch = await drafts_of(call, shared, recipients)
    operation_id = key.message_id if key is not None else call.deps.creation.next_id()
    send_at = batch.drafts[0].message.send_at if batch.drafts else 0.0
    for draft in batch.drafts:
        draft.message.operation_id = operation_id

    async def store(connection: Connection) -> None:
        await bulk_rows.insert(
            connection,
            operation_id,
            call.account.id,
            send_at=datetime.fromtimestamp(send_at, UTC) if send_at else None,
            recipients=len(recipients),
            unaddressable=[
                {"address": refusal.to, "code": refusal.code, "message": refusal.message}
                for refusal in batch.refusals
            ],
            tags=request.get("tags"),
        )

    await accept(call, batch.drafts, Also(store, operation_id), key)
    return _accepted(call, operation_id)


def _accepted(call: Call, operation_id: Id, *, replayed: bool = False) -> Response:
    name = text_of(OPERATION, operation_id)
    location = f"{call.origin}/v1/Messages/Operations/{name}"
    response = json_response({"operationId": name, "operationLocation": location}, 202)
    response.headers.update({"operationId": name, "operationLocation": location})
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


# The request --------------------------------------------------------------------------------


def _shared(request: dict[str, Any]) -> dict[str, list[str]]:
    """The parameters of a send that all recipients share. Raises ApiError 20001."""
    sender = request.get("from")
    if not isinstance(sender, dict):
        raise ApiError(20001, "from must be an object")
    shared: dict[str, list[str]] = {}
    named = [
        name
        for name in ("address", "senderId", "senderPoolId", "messagingServiceSid")
        if sender.get(name)
    ]
    if len(named) != 1 or not isinstance(sender[named[0]], str):
        raise ApiError(
            20001, "from must have one of address, senderId, senderPoolId, messagingServiceSid"
        )
    if sender.get("channel", "SMS") not in ("SMS", "PHONE"):
        raise ApiError(63007, "this channel is not served")
    service = named[0] in ("senderPoolId", "messagingServiceSid")
    shared["MessagingServiceSid" if service else "From"] = [sender[named[0]]]
    content = request.get("content")
    if not isinstance(content, dict):
        raise ApiError(20001, "content must be an object")
    if content.get("media"):
        shared["MediaUrl"] = _texts(content["media"], "content.media")
    if content.get("contentId"):
        shared["ContentSid"] = _texts(content["contentId"], "content.contentId")
    if request.get("statusCallback"):
        shared["StatusCallback"] = _texts(request["statusCallback"], "statusCallback")
    if request.get("tags") is not None:
        shared["Tags"] = [orjson.dumps(request["tags"]).decode()]
    schedule = request.get("schedule")
    if schedule is not None:
        at = schedule.get("sendAt") if isinstance(schedule, dict) else None
        at = at[0] if isinstance(at, list) and len(at) == 1 else at
        if not isinstance(at, str):
            raise ApiError(20001, "schedule.sendAt must be a time")
        shared |= {"ScheduleType": ["fixed"], "SendAt": [at]}
    return shared


def _template(request: dict[str, Any]) -> LiquidTemplate | None:
    text = request["content"].get("text")
    if text is None:
        return None
    if not isinstance(text, str):
        raise ApiError(20001, "content.text must be a text")
    try:
        return LiquidTemplate(text)
    except LiquidError as error:
        raise ApiError(20001, f"content.text: {error}") from None


def _recipients(request: dict[str, Any], template: LiquidTemplate | None) -> list[Recipient]:
    """Whom it goes to. Raises ApiError 20001, 21617."""
    entries = request.get("to")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST:
        raise ApiError(20001, f"to must be an array of 1 to {MOST:,} recipients")
    if template is None:
        return [Recipient(_address(entry), None) for entry in entries]
    return [
        Recipient(_address(entry), partial(_render, template, entry.get("variables") or {}))
        for entry in entries
    ]


def _address(entry: Any) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
        raise ApiError(20001, "each of to must be an object with an address")
    if entry.get("channel", "PHONE") not in ("PHONE", "SMS"):
        raise ApiError(20001, "the channel of a recipient must be PHONE")
    if not isinstance(entry.get("variables") or {}, dict):
        raise ApiError(20001, "variables must be an object")
    return str(entry["address"])


def _render(template: LiquidTemplate, variables: dict[str, Any]) -> str:
    """The text of one recipient. Raises ApiError 21617."""
    try:
        return template.render(variables)
    except TooLong:
        raise ApiError(21617) from None


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(value, str) for value in values):
        raise ApiError(20001, f"{name} must be a text")
    return values


# Operations ---------------------------------------------------------------------------------


async def operation(call: Call) -> Response:
    return json_response(await _operation(call, await _operation_row(call)))


async def errors(call: Call) -> Response:
    """The recipients for whom no message was made."""
    row = await _operation_row(call)
    size = _page_size(call)
    start = read_whole(call.filter("pageToken") or "0", 0, MOST)
    if start is None:
        raise ApiError(20001, "pageToken is not valid")
    found = row["unaddressable"][start : start + size]
    following = str(start + size) if start + size < len(row["unaddressable"]) else None
    return json_response({"errors": found, "pagination": {"next": following, "self": str(start)}})


async def cancel(call: Call) -> Response:
    """Take back what has not left yet, page by page (an extension).

    An operation of which nothing could be taken back stays what it is.
    """
    row = await _operation_row(call)
    after: Id | None = None
    while True:
        ids = await bulk_rows.unended(
            call.deps.pool, row["id"], sent=Status.SENDING, after=after, most=CANCEL_PAGE
        )
        if ids and await call.deps.forwarded.cancel_many(call.account.id, ids):
            await bulk_rows.canceled(call.deps.pool, row["id"])
        if len(ids) < CANCEL_PAGE:
            return json_response(await _operation(call, await _operation_row(call)))
        after = ids[-1]


async def _operation_row(call: Call) -> bulk_rows.BulkOperationRow:
    id = id_of(OPERATION, call.request.path_params["operation"])
    return call.found(await bulk_rows.fetch(call.deps.pool, call.account.id, call.found(id)))


async def _operation(call: Call, row: bulk_rows.BulkOperationRow) -> dict[str, Any]:
    counts = await bulk_rows.counts(call.deps.pool, row["id"])
    by_name: dict[str, int] = {}
    for status, count in counts.items():
        name = _status(Status(status)).lower()
        by_name[name] = by_name.get(name, 0) + count
    attempts = sum(counts.values())
    ended = sum(count for status, count in counts.items() if Status(status).final)
    if row["canceled_at"] is not None and ended == attempts:
        state = "CANCELED"
    elif ended == attempts:
        state = "COMPLETED"
    else:
        state = "SCHEDULED" if by_name.get("scheduled", 0) == attempts - ended else "PROCESSING"
    return {
        "id": text_of(OPERATION, row["id"]),
        "status": state,
        "stats": {
            "total": row["recipients"],
            "recipients": row["recipients"],
            "attempts": attempts,
            "unaddressable": len(row["unaddressable"]),
            **{name: by_name.get(name, 0) for name in COUNTED},
        },
        "tags": row["tags"] or {},
        "createdAt": iso8601_ms(row["created_at"].timestamp()),
        "schedule": {"sendAt": iso8601_ms(row["send_at"].timestamp())} if row["send_at"] else None,
    }


# Messages -----------------------------------------------------------------------------------


async def list_(call: Call) -> Response:
    """Messages of bulk operations, newest first; `operationId` shows those of one."""
    wanted, token = call.filter("operationId"), call.filter("pageToken")
    operation_id = id_of(OPERATION, wanted) if wanted else None
    before = id_of(MESSAGE, token) if token else None
    if (wanted and operation_id is None) or (token and before is None):
        raise ApiError(20001, "operationId or pageToken is not valid")
    size = _page_size(call)
    async with call.listing() as lists:
        rows = await bulk_rows.page(
            lists, call.account.id, operation_id, before=before, most=size + 1
        )
    following = text_of(MESSAGE, rows[size - 1]["id"]) if len(rows) > size else None
    shown = [_message(row) for row in rows[:size]]
    return json_response({"messages": shown, "pagination": {"next": following, "self": token}})


async def fetch(call: Call) -> Response:
    return json_response(_message(await _message_row(call)))


async def receipts(call: Call) -> Response:
    """What happened to a message, in order."""
    return json_response({"receipts": list(_receipts(await _message_row(call)))})


async def _message_row(call: Call) -> MessageRow:
    id = id_of(MESSAGE, call.request.path_params["message"])
    return call.found(await message_rows.fetch(call.deps.pool, call.account.id, call.found(id)))


def _message(row: MessageRow) -> dict[str, Any]:
    code = row["error_code"]
    return {
        "id": text_of(MESSAGE, row["id"]),
        "messageSid": sid_of_row(row),
        "operationId": text_of(OPERATION, row["operation_id"]) if row["operation_id"] else None,
        "status": _status(Status(row["status"])),
        "from": {"address": row["sender"], "channel": "SMS"} if row["sender"] else None,
        "to": {"address": row["recipient"], "channel": "PHONE"},
        "content": {"text": row["submitted_body"] or row["body"]},
        "error": {"code": code, "message": meaning(code)} if code else None,
        "createdAt": iso8601_ms(created_at(row["id"])),
    }


def _receipts(row: MessageRow) -> Iterator[dict[str, Any]]:
    if row["send_at"] is not None:
        created = iso8601_ms(created_at(row["id"]))
        yield {"status": "SCHEDULED", "at": created, "errorCode": None}
    for status, at, code in (
        ("QUEUED", row["queued_at"], None),
        ("SENT", row["sent_at"], None),
        (_status(Status(row["status"])), row["done_at"], row["error_code"]),
    ):
        if at is not None:
            yield {"status": status, "at": iso8601_ms(at.timestamp()), "errorCode": code}


def _status(status: Status) -> str:
    return STATUSES.get(status, status.name)


def _page_size(call: Call) -> int:
    text = call.filter("pageSize") or str(DEFAULT_PAGE)
    size = read_whole(text, low=1)
    if size is None:
        raise ApiError(20001, "pageSize must be a whole number above 0")
    return min(size, MOST_PAGE)
