"""`…/Messages/{MM}/Media`: the files of a message (docs/spec/twilio-api.md#media-sub-resource), and
their links (docs/spec/messaging-services.md#converter)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.api.http.errors import not_found
from gateway.api.http.render import API_VERSION, rfc2822_of
from gateway.api.http.resources import Call, Deps, gone, json_response
from gateway.api.messages.messages import date_range, id_of_path, row_of_path
from gateway.enrichment.media_links import CODE
from storage import media as media_rows

LINKS: Final = "/links/{code}"
# A browser must not take a file for what it is not said to be.
_AS_SAID: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}


async def list_(call: Call) -> Response:
    request, after = call.page, -1
    if request.token is not None:
        last = await media_rows.of_message(call.deps.pool, id_of_path(call))
        places = {row["sid"]: row["position"] for row in last}
        after = places.get(request.key or "", -1)
    await row_of_path(call)
    since, before = date_range(call, "DateCreated")
    rows = await media_rows.of_message(
        call.deps.pool,
        id_of_path(call),
        after=after,
        back=request.back,
        most=request.size + 1,
        since=since,
        before=before,
    )
    return call.listed("media_list", rows, lambda row: row["sid"], partial(_render, call))


async def fetch(call: Call) -> Response:
    sid = await _checked_sid(call)
    row = await media_rows.one(call.deps.pool, id_of_path(call), sid)
    return json_response(_render(call, call.found(row)))


async def delete(call: Call) -> Response:
    """The file is gone, and its link with it."""
    sid = await _checked_sid(call)
    if not await media_rows.delete(call.deps.pool, id_of_path(call), sid):
        raise call.missing()
    return gone()


async def content(call: Call) -> Response:
    """The path without `.json`: the file itself."""
    sid = await _checked_sid(call)
    return _file(*call.found(await media_rows.content(call.deps.pool, id_of_path(call), sid)))


async def linked(request: Request, deps: Deps) -> Response:
    """What a link leads to, without credentials. Raises ApiError 20404."""
    code = request.path_params["code"]
    now = datetime.fromtimestamp(deps.creation.clock.wall(), UTC)
    row = await media_rows.by_code(deps.pool, code, now) if CODE.fullmatch(code) else None
    if row is None:
        raise not_found(str(request.scope["tandem.path"]))
    return _file(*row)


def _file(content_type: str, data: bytes) -> Response:
    return Response(data, media_type=content_type, headers=_AS_SAID)


async def _checked_sid(call: Call) -> str:
    """The SID of the path, of a message of the account. Raises ApiError 20404."""
    await row_of_path(call)
    sid = call.request.path_params["media"]
    return str(sid[:2].upper() + sid[2:].lower())


def _render(call: Call, row: media_rows.MediaRow) -> dict[str, Any]:
    parent = call.request.path_params["sid"]
    base = f"/{API_VERSION}/Accounts/{call.account.sid}/Messages/{parent}/Media/{row['sid']}"
    created = rfc2822_of(row["created_at"])
    return {
        "sid": row["sid"],
        "account_sid": call.account.sid,
        "parent_sid": parent,
        "content_type": row["content_type"],
        "date_created": created,
        "date_updated": created,
        "uri": f"{base}.json",
    }
