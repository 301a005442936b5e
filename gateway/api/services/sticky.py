"""`/v1/Services/{MG}/StickySenders`: which sender each recipient of a service is used to.

An extension: at Twilio it takes a support ticket to see or move one
(docs/spec/messaging-services.md#sticky-sender).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from gateway.api.http.errors import ApiError
from gateway.api.http.render import iso8601
from gateway.api.http.resources import Call, gone, json_response
from gateway.api.services.services import service_of
from gateway.directory.directory import SenderRecord, Service
from gateway.routing.destination import parse_destination
from gateway.routing.question import Channel
from storage import sticky as sticky_rows

PORTION: Final = 10_000  # mappings in one transaction


def render(call: Call, service: Service, row: sticky_rows.StickyRow) -> dict[str, Any]:
    record = call.deps.directory.senders_by_id.get(row["sender_id"])
    path = f"/v1/Services/{service.sid}/StickySenders/{row['recipient']}"
    return {
        "account_sid": call.account.sid,
        "service_sid": service.sid,
        "to": row["recipient"],
        "channel": Channel(row["channel"]).name.lower(),
        "sender_sid": record.sid if record is not None else None,
        "sender": record.sender.address if record is not None else None,
        "date_created": iso8601(row["created_at"]),
        "date_last_used": iso8601(row["last_used"]),
        "url": call.origin + path,
    }


async def list_(call: Call) -> Response:
    """By recipient; `SenderSid` shows those of one sender."""
    service, request = service_of(call), call.page
    wanted = call.filter("SenderSid")
    sender_id = _member(call, service, wanted).sender.id if wanted else None
    async with call.listing() as lists:
        rows = await sticky_rows.page(
            lists,
            service.id,
            Channel.SMS,
            after=request.key or "",
            back=request.back,
            sender_id=sender_id,
            most=request.size + 1,
        )
    return call.listed(
        "sticky_senders", rows, lambda row: row["recipient"], partial(render, call, service)
    )


async def fetch(call: Call) -> Response:
    service = service_of(call)
    return json_response(render(call, service, await _row(call, service)))


async def move(call: Call) -> Response:
    """Map a recipient to `SenderSid`, whether it was mapped before or not."""
    service, recipient = service_of(call), _recipient(call)
    sender = _given(call, service, "SenderSid").sender
    async with call.deps.pool.acquire() as connection, connection.transaction():
        before = await sticky_rows.move(connection, service.id, Channel.SMS, recipient, sender.id)
    loads = call.deps.creation.router.loads
    loads.mapped(sender.id)
    if before is not None:
        loads.mapped(before, -1)
    return json_response(render(call, service, await _row(call, service)))


async def reset(call: Call) -> Response:
    """The next message to the recipient chooses a sender as if it were the first."""
    service = service_of(call)
    before = await sticky_rows.reset(call.deps.pool, service.id, Channel.SMS, _recipient(call))
    call.deps.creation.router.loads.mapped(call.found(before), -1)
    return gone()


async def move_all(call: Call) -> Response:
    """All recipients of `FromSenderSid` go to `ToSenderSid`, or choose anew without one.

    In portions, each committed by itself: a number may have millions. Safe to repeat.
    """
    service = service_of(call)
    source = _given(call, service, "FromSenderSid").sender
    target = _given(call, service, "ToSenderSid").sender if call.form.get("ToSenderSid") else None
    if target is source:
        raise ApiError(20001, "ToSenderSid is FromSenderSid")
    loads, moved = call.deps.creation.router.loads, 0
    while True:
        count = await sticky_rows.move_many(
            call.deps.pool,
            service.id,
            Channel.SMS,
            source.id,
            target.id if target is not None else None,
            PORTION,
        )
        moved += count
        loads.mapped(source.id, -count)
        if target is not None:
            loads.mapped(target.id, count)
        if count < PORTION:
            return json_response({"moved": moved})


def _recipient(call: Call) -> str:
    return call.found(parse_destination(call.request.path_params["recipient"])).e164


async def _row(call: Call, service: Service) -> sticky_rows.StickyRow:
    return call.found(
        await sticky_rows.one(call.deps.pool, service.id, Channel.SMS, _recipient(call))
    )


def _given(call: Call, service: Service, parameter: str) -> SenderRecord:
    sid = call.form.get(parameter)
    if not sid:
        raise ApiError(20001, f"Missing required parameter {parameter} in the post body")
    return _member(call, service, sid)


def _member(call: Call, service: Service, sid: str) -> SenderRecord:
    record = call.deps.directory.senders.get(sid[:2].upper() + sid[2:].lower())
    if record is None or record.service_id != service.id:
        raise ApiError(21711, status=404)
    return record
