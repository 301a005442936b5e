"""`/Accounts/{AC}/Messages`: create, fetch, list, update, delete, feedback
(docs/spec/twilio-api.md#message-resource)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from starlette.responses import Response

from gateway.acceptance.forecast import Outlook
from gateway.api.http.errors import ApiError
from gateway.api.http.paging import Tokens, cut
from gateway.api.http.render import API_VERSION, iso8601_of, message_row, rfc2822_of
from gateway.api.http.values import read_any_time
from gateway.api.idempotency import digest_of, first_answer, key_of, once
from gateway.api.resources import Call, gone, json_octets, json_response
from gateway.api.services.services import service_of
from gateway.channels.smpp import journal_view
from gateway.messages.message import Flag, Status
from gateway.messages.rows import sid_of_row
from gateway.routing.destination import parse_destination
from storage import config as config_rows
from storage import message_changes
from storage import messages as message_rows
from storage.ids import Id, id_from_hex
from storage.messages import MessageRow

RECEIPT_SLACK_S = 120.0  # a receipt may be told to the app for so long after a message ended
OUTCOMES = ("confirmed", "unconfirmed")


async def create(call: Call) -> Response:
    """The slow lane of the one hot endpoint; `fastlane` answers the same without ASGI."""
    key = key_of(call)
    if key is None:
        return await _accepted(call, None)
    return await once(partial(first_answer, call, key), partial(_accepted, call, key))


async def _accepted(call: Call, key: str | None) -> Response:
    """The 201, after the commit. Raises ApiError."""
    digest = digest_of(call.form) if key is not None else b""
    outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def done(body: bytes | None, error: ApiError | None, outlook: Outlook | None) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            response = json_octets(body or b"", 201)
            if outlook is not None:
                response.headers["X-Queue-Ahead"] = str(outlook.ahead)
                response.headers["X-Estimated-Send-At"] = iso8601_of(outlook.at)
            outcome.set_result(response)

    keyed = (key, digest) if key is not None else None
    call.deps.creation.submit(call.account, call.form, done, keyed, call.client)
    return await outcome


async def fetch(call: Call) -> Response:
    return json_response((await _shown(call, [await row_of_path(call)]))[0])


async def update(call: Call) -> Response:
    """Redact (`Body=`) or cancel (`Status=canceled`). Raises ApiError 30400, 20009, 30409."""
    id, form = id_of_path(call), call.form
    body, status = form.get("Body"), form.get("Status")
    if (body is None) == (status is None) or body or status not in (None, "canceled"):
        raise ApiError(30400)
    if status is not None:
        row = await call.deps.forwarded.cancel(call.account.id, id)
        too_early_or_late = ApiError(30409)
    else:
        row = await message_changes.redact(
            call.deps.pool, call.account.id, id, first_final=Status.DELIVERED
        )
        too_early_or_late = ApiError(20009)
    if row is None:
        await row_of_path(call)
        raise too_early_or_late
    if body is not None:
        await _erase_wire(call, row)
    return json_response((await _shown(call, [row]))[0])


async def delete(call: Call) -> Response:
    """With its feedback. Raises ApiError 20009 while the message is not final."""
    row = await row_of_path(call)
    if not await message_changes.delete(
        call.deps.pool, call.account.id, row["id"], first_final=Status.DELIVERED
    ):
        raise ApiError(20009)
    await _erase_wire(call, row)
    return gone()


async def _erase_wire(call: Call, row: MessageRow) -> None:
    """The text is gone from the journal of PDUs as well."""
    ended = row["done_at"] or datetime.fromtimestamp(call.deps.creation.clock.wall(), UTC)
    until = ended.timestamp() + RECEIPT_SLACK_S
    await journal_view.erase(call.deps.journal, row, sid_of_row(row), until)


async def feedback(call: Call) -> Response:
    """Whether the recipient did what the message was for
    (docs/spec/twilio-api.md#feedback-sub-resource)."""
    id = id_of_path(call)
    outcome = (call.form.get("Outcome") or "unconfirmed").lower()
    if outcome not in OUTCOMES:
        raise ApiError(20001, f"Outcome must be one of {', '.join(OUTCOMES)}")
    message = await row_of_path(call)
    if not message["flags"] & Flag.PROVIDE_FEEDBACK:
        raise ApiError(20001, "the message was not created with ProvideFeedback=true")
    row = await message_changes.tell_outcome(call.deps.pool, call.account.id, id, outcome)
    return json_response(_feedback(call, row))


async def fetch_feedback(call: Call) -> Response:
    """What was told of it; `unconfirmed` until then."""
    id = (await row_of_path(call))["id"]
    return json_response(_feedback(call, await message_changes.outcome(call.deps.pool, id)))


def _feedback(call: Call, row: message_changes.FeedbackRow | None) -> dict[str, Any]:
    sid = call.request.path_params["sid"]
    return {
        "account_sid": call.account.sid,
        "message_sid": sid,
        "outcome": row["outcome"] if row is not None else "unconfirmed",
        "date_created": rfc2822_of(row["created_at"]) if row is not None else None,
        "date_updated": rfc2822_of(row["updated_at"]) if row is not None else None,
        "uri": f"/{API_VERSION}/Accounts/{call.account.sid}/Messages/{sid}/Feedback.json",
    }


async def list_(call: Call) -> Response:
    page, tokens = await _page(call, None)
    return call.page_shown("messages", page, tokens)


async def list_of_service(call: Call) -> Response:
    """The messages of one service, with the same filters."""
    page, tokens = await _page(call, service_of(call).id)
    return call.page_shown("messages", page, tokens)


async def _page(call: Call, service_id: int | None) -> tuple[list[dict[str, Any]], Tokens]:
    request = call.page
    before = None
    if request.token is not None:
        before = id_of_sid(request.key or "")
        if before is None:
            raise ApiError(20001, "PageToken is not valid")
    sent_from, sent_before = date_range(call, "DateSent")
    async with call.listing() as lists:
        rows = await message_rows.page(
            lists,
            call.account.id,
            most=request.size + 1,
            before=before,
            back=request.back,
            service_id=service_id,
            recipient=_normal(call.filter("To")),
            sender=_normal(call.filter("From")),
            sent_from=sent_from,
            sent_before=sent_before,
        )
    page, tokens = cut(rows, request, sid_of_row)
    return await _shown(call, page), tokens


async def _shown(call: Call, rows: Sequence[MessageRow]) -> list[dict[str, Any]]:
    """The resources of these rows; they name their services, also those deleted long ago."""
    directory = call.deps.directory
    unknown = {
        row["service_id"]
        for row in rows
        if row["service_id"] is not None and directory.service_sid(row["service_id"]) is None
    }
    if unknown:
        directory.remember_services(
            await config_rows.former_services(call.deps.pool, list(unknown), len(unknown))
        )
    return [message_row(row, call.account.sid, directory) for row in rows]


def id_of_path(call: Call) -> Id:
    return call.found(id_of_sid(call.request.path_params["sid"]))


async def row_of_path(call: Call) -> MessageRow:
    """The account's message that the path names. Raises ApiError 20404."""
    return call.found(await message_rows.fetch(call.deps.pool, call.account.id, id_of_path(call)))


def id_of_sid(sid: str) -> Id | None:
    if len(sid) != 34 or sid[:2].upper() not in ("SM", "MM"):
        return None
    try:
        return id_from_hex(sid[2:])
    except ValueError:
        return None


def _normal(address: str | None) -> str | None:
    if address is None:
        return None
    number = parse_destination(address)
    return number.e164 if number is not None else address


def date_range(call: Call, field: str) -> tuple[datetime | None, datetime | None]:
    """`DateSent`, `DateSent<` and `DateSent>`, inclusive; a date alone is its whole day."""
    exact, until, since = (_moment(call.filter(name)) for name in (field, f"{field}<", f"{field}>"))
    low = since[0] if since else None
    high = until[1] if until else None
    if exact is not None:
        day = exact[0].replace(hour=0, minute=0, second=0, microsecond=0)
        low, high = day, day + timedelta(days=1)
    return low, high


def _moment(text: str | None) -> tuple[datetime, datetime] | None:
    """A date filter, read leniently (docs/spec/twilio-api.md#dates): its first moment, and the one
    after it."""
    if text is None:
        return None
    at = read_any_time(text)
    if at is None:
        raise ApiError(20001, f"{text[:40]} is not a date")
    whole_day = len(text) <= 10
    return at, at + (timedelta(days=1) if whole_day else timedelta(seconds=1))
