"""`/v1/Alerts` of Monitor: what went wrong for an account, newest first
(docs/spec/twilio-api.md#monitor-alerts-and-the-debugger-webhook).

A parent account also sees what concerns the gateway itself: it is the operator's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from gateway.api.http.errors import MORE_INFO, ApiError, meaning
from gateway.api.http.render import API_VERSION, iso8601
from gateway.api.http.resources import Call, json_response
from gateway.api.http.values import read_time
from gateway.observe.alerts import Alert, Exchange
from gateway.webhooks.debugger import more_info
from storage import alerts as alert_rows
from storage.alerts import AlertRow

LEVELS = ("error", "warning", "notice", "debug")


def render(row: AlertRow, account_sid: str, origin: str, *, whole: bool) -> dict[str, Any]:
    """The resource; with the request and its answer where it is fetched by itself."""
    at = iso8601(row["at"])
    resource = {
        "sid": row["sid"],
        "account_sid": account_sid,
        "resource_sid": row["resource"],
        "service_sid": row["service"],
        "error_code": str(row["code"]),
        "log_level": row["level"],
        "alert_text": urlencode(more_info(_alert(row))),
        "more_info": f"{MORE_INFO}{row['code']}",
        "request_method": row["request_method"],
        "request_url": row["request_url"],
        "api_version": API_VERSION,
        "date_created": at,
        "date_generated": at,
        "date_updated": at,
        "url": f"{origin}/v1/Alerts/{row['sid']}",
    }
    if whole:
        resource |= {
            "request_variables": row["request_variables"],
            "request_headers": row["request_headers"],
            "response_headers": row["response_headers"],
            "response_body": row["response_body"],
        }
    return resource


def _alert(row: AlertRow) -> Alert:
    exchange = None
    if row["request_url"] is not None:
        exchange = Exchange(
            row["request_method"] or "", row["request_url"], status=row["response_status"] or 0
        )
    return Alert(
        row["sid"],
        row["at"].timestamp(),
        row["code"],
        row["level"],
        row["text"] or meaning(row["code"]),
        exchange=exchange,
    )


async def list_(call: Call) -> Response:
    request = call.page
    level = call.filter("LogLevel")
    if level is not None and level not in LEVELS:
        raise ApiError(20001, f"LogLevel must be one of {', '.join(LEVELS)}")
    async with call.listing() as lists:
        rows = await alert_rows.page(
            lists,
            call.account.id,
            most=request.size + 1,
            before=request.key,
            back=request.back,
            level=level,
            since=_moment(call, "StartDate"),
            until=_moment(call, "EndDate"),
            operator=call.is_operators and call.account.owner_id is None,
        )
    return call.listed(
        "alerts",
        rows,
        lambda row: row["sid"],
        lambda row: render(row, call.account.sid, call.origin, whole=False),
    )


async def fetch(call: Call) -> Response:
    sid = "NO" + call.request.path_params["sid"][2:].lower()
    row = await alert_rows.fetch(
        call.deps.pool,
        call.account.id,
        sid,
        operator=call.is_operators and call.account.owner_id is None,
    )
    return json_response(render(call.found(row), call.account.sid, call.origin, whole=True))


def _moment(call: Call, name: str) -> datetime | None:
    """An ISO time; UTC without a zone. A date alone as EndDate is its last moment."""
    text = call.filter(name)
    if text is None:
        return None
    at = read_time(text)
    if at is None:
        raise ApiError(20001, f"{name} is not a date")
    if len(text) <= 10 and name == "EndDate":
        at = at.replace(hour=23, minute=59, second=59, microsecond=999_999)
    elif name == "EndDate" and not at.microsecond:
        at = at.replace(microsecond=999_999)  # whole seconds are shown: that second counts
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
