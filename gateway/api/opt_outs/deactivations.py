"""`/v1/Deactivations`: numbers that changed hands, a file per day
(docs/spec/twilio-api.md#other-v1-endpoints).

The operator imports what carriers report. A request is answered with a link to the file that is
valid for two minutes and needs no credentials, because whoever follows a redirect sends none.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.api.http.errors import ApiError, not_found, unreadable
from gateway.api.http.values import read_day, read_whole
from gateway.api.resources import Call, Deps, json_response
from gateway.directory.directory import Account
from gateway.routing.destination import parse_destination
from storage import deactivations

KEPT_DAYS: Final = 30
LINK_LIFE_S: Final = 120
PAGE: Final = 10_000
MOST_AT_ONCE: Final = 100_000  # numbers of one request
PORTION: Final = 1_000  # numbers that are read without a pause
FILES: Final = "/messaging/v1/Deactivations/Files/{day}"


async def fetch(call: Call) -> Response:
    """307 to the file of `Date`. Raises ApiError 30113, 30114, 30115."""
    day = _day(call.filter("Date"))
    now = call.deps.creation.clock.wall()
    today = datetime.fromtimestamp(now, UTC).date()
    if day < today - timedelta(days=KEPT_DAYS):
        raise ApiError(30113)
    if not await deactivations.known(call.deps.pool, day):
        raise ApiError(30114)
    expires = str(int(now) + LINK_LIFE_S)
    query = {
        "AccountSid": call.account.sid,
        "Expires": expires,
        "Signature": _signature(call.account, day, expires),
    }
    url = f"{call.origin}/v1/Deactivations/Files/{day.isoformat()}?{urlencode(query)}"
    response = json_response({"redirect_to": url}, 307)
    response.headers["Location"] = url
    return response


async def file(request: Request, deps: Deps) -> Response:
    """The numbers of a day, one a line. Raises ApiError 20404 for a link that is wrong or old."""
    query = request.query_params
    account = deps.directory.accounts.get(query.get("AccountSid", ""))
    expires = query.get("Expires", "")
    missing = not_found(str(request.scope["tandem.path"]))
    until = read_whole(expires)
    if account is None or until is None:
        raise missing
    day = _day(request.path_params["day"])
    given = query.get("Signature", "").encode()
    if not hmac.compare_digest(_signature(account, day, expires).encode(), given):
        raise missing
    if until < deps.creation.clock.wall():
        raise missing

    async def lines() -> AsyncIterator[str]:
        after = ""
        while numbers := await deactivations.page(deps.pool, day, after=after, most=PAGE):
            after = numbers[-1]
            yield "\n".join(numbers) + "\n"

    return StreamingResponse(lines(), media_type="text/plain")


async def add(call: Call) -> Response:
    """`{"date": "2026-11-24", "numbers": ["+1…"]}`: a part of a day's list (the operator's)."""
    call.operator_only("deactivations are imported by the operator")
    given = call.json
    numbers = given.get("numbers")
    if set(given) != {"date", "numbers"} or not isinstance(numbers, list):
        raise ApiError(20001, "the body must have `date` and `numbers`, a list")
    if len(numbers) > MOST_AT_ONCE:
        raise ApiError(20001, f"at most {MOST_AT_ONCE} numbers at once")
    day = _day(given["date"])
    read: list[str] = []
    for count, text in enumerate(numbers):
        if count % PORTION == 0:
            await asyncio.sleep(0)  # others have their turn
        number = parse_destination(str(text))
        if number is None:
            raise unreadable(21421, str(text), f"{str(text)[:40]} is no phone number")
        read.append(number.e164)
    async with call.deps.pool.acquire() as connection, connection.transaction():
        await deactivations.add(connection, day, read)
    return json_response({"date": day.isoformat(), "added": len(read)}, 201)


def _day(text: object) -> date:
    day = read_day(str(text))
    if day is None:
        raise ApiError(30115)
    return day


def _signature(account: Account, day: date, expires: str) -> str:
    text = f"deactivations {account.sid} {day.isoformat()} {expires}"
    return hmac.new(account.auth_token.encode(), text.encode(), sha256).hexdigest()
