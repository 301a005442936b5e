"""`…/Webhooks/Replay.json`: call an app's webhooks once more (an extension).

For an app that was down, or that lost what it was told: by message, or by time, and of the status
callbacks by the beginning of their URL. What is called is what was called before, in its order,
with the same idempotency tokens, signed anew.
"""

from __future__ import annotations

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.values import read_time
from gateway.api.messages.messages import id_of_sid
from gateway.api.resources import Call, json_response
from gateway.messages.message import WEBHOOK_OWED, Direction
from storage import message_changes
from storage.ids import Id, id_at, id_from_bytes, moment_of

MOST = 10_000  # messages in one request
LAST = id_from_bytes(b"\xff" * 16)


async def create(call: Call) -> Response:
    """202 with how many messages; more than fit are left, and `next_since` says from when on."""
    form = call.form
    sid, url = form.get("MessageSid"), form.get("Url") or None
    if sid:
        id = id_of_sid(sid)
        if id is None:
            raise ApiError(20404, f"The requested resource {sid[:64]} was not found")
        low, high = id, id
    else:
        since, until = _moment(call, "Since"), _moment(call, "Until")
        if since is None:
            raise ApiError(20001, "give MessageSid, or Since and perhaps Until and Url")
        low, high = id_at(since), id_at(until) if until is not None else LAST
    pool, account_id = call.deps.pool, call.account.id
    outbound = await message_changes.owe_callbacks_again(
        pool, account_id, low, high, inbound=Direction.INBOUND, url=url, most=MOST
    )
    inbound = []
    if url is None:
        inbound = await message_changes.owe_webhook_again(
            pool, account_id, low, high, inbound=Direction.INBOUND, owed=WEBHOOK_OWED, most=MOST
        )
    if sid and not outbound and not inbound:
        raise ApiError(20404, f"{sid[:64]} has no webhook to replay")
    for row in (*outbound, *inbound):
        call.deps.replay(row)
    ends: list[Id] = [rows[-1]["id"] for rows in (outbound, inbound) if len(rows) == MOST]
    return json_response(
        {
            "status_callbacks": len(outbound),
            "inbound_webhooks": len(inbound),
            "next_since": _time_of(min(ends, key=lambda id: id.bytes)) if ends else None,
        },
        202,
    )


def _moment(call: Call, name: str) -> float | None:
    text = call.form.get(name)
    if not text:
        return None
    at = read_time(text)
    if at is None:
        raise ApiError(20001, f"{name} must be an ISO 8601 time")
    return at.timestamp()


def _time_of(id: Id) -> str:
    """The millisecond of an id's message, at which a next request may begin."""
    return moment_of(id).isoformat(timespec="milliseconds")
