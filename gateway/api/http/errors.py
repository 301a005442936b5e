"""Answers that say no: Twilio's error JSON (docs/spec/twilio-api.md#errors)."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import orjson

from gateway import data
from gateway.routing.hidden import naming_hidden

REPEATED: Final = 20409  # an idempotency key that was used before
RETRY_AFTER_S: Final = {"Retry-After": "1"}
MORE_INFO = "https://www.twilio.com/docs/errors/"

# Codes of the HTTP surface itself, and of `POST Messages`, that the packaged table lacks.
MEANINGS = {
    20001: "a parameter is missing or invalid",
    20004: "this method is not allowed here",
    20005: "the account is not active",
    20403: "this action is not allowed",
    20409: "the request conflicts with the resource's state",
    20008: "test credentials can't be used for this resource",
    20009: "the message is not in a final state",
    20422: "a parameter has the wrong type or value",
    30029: "ContentRetention must be retain or discard",
    30030: "AddressRetention must be retain or obfuscate",
    30106: "the service has no link-shortening domain",
    30124: "ShortenUrls needs a messaging service",
    30400: "give either Body, empty, or Status=canceled",
    20413: "the request is too large",
    20415: "the body must be application/x-www-form-urlencoded",
    20500: "an internal error occurred",
    20503: "the service is unavailable, nothing was stored; try again",
    21265: "To may not be a short code",
    21266: "To and From may not be the same",
    21402: "the URL is invalid",
    21403: "the method must be GET or POST",
    21406: "a fallback URL needs its primary URL",
    21421: "the phone number is invalid",
    21422: "the phone number is not available",
    21627: "MaxPrice must be a positive number",
    21420: "the application was not found in this account",
    21452: "no phone number is available in that area",
    21475: "Status must be active, suspended or closed",
    21477: "the status of a parent account can't be changed",
    21479: "a closed account stays closed",
    21480: "the account has as many subaccounts as it may",
    21657: "this sender ID is not supported for that destination",
    21659: "From is not a number or sender ID of this account",
    21660: "From belongs to another account",
    21661: "From cannot send SMS",
    30122: "the fallback URL is invalid",
    50350: "the conversation was not found",
    50353: "a conversation has this unique name",
    50373: "the messaging service was not found",
    50375: "the inactive timer is shorter than a minute",
    50376: "the closed timer is shorter than ten minutes",
    50377: "the conversation is closed",
    50378: "State must be active, inactive or closed",
    50407: "the address is not valid",
    50408: "the proxy address is not valid",
    50409: "the address and the proxy address are the same",
    50413: "the proxy address is not a number of this account",
    50416: "the pair of addresses is in another conversation",
    50432: "the participant was not found",
    50433: "the participant is in the conversation",
    # Alerts of our own, about the gateway itself.
    99001: "messages wait that could go",
    99002: "messages that waited go again",
    99003: "the database may lose what it has confirmed",
    99004: "messages are held after a restore from a backup",
    99005: "a service has several toll-free numbers",
    99006: "a carrier's receipts spell ids in another way",
    99007: "a carrier refuses our credentials",
    99008: "a unit of work was set aside",
    99009: "many logins were refused",
    99010: "messages waited in no gateway's memory",
    99011: "an inbound message was kept: its number is unclear, or another carrier's",
    99012: "a repeated delivery was dropped",
    99013: "a receipt that can't be read was kept",
    30020: "the message could not be handled, and was set aside",
    90007: "ValidityPeriod must be between 1 and 36000 seconds",
}
STATUSES = {
    20003: 401,
    20004: 405,
    20005: 403,
    20403: 403,
    20404: 404,
    20409: 409,
    20008: 403,
    20009: 409,
    20413: 413,
    20422: 422,
    20415: 415,
    20429: 429,
    50350: 404,
    50353: 409,
    50373: 404,
    50416: 409,
    50432: 404,
    50433: 409,
    20500: 500,
    20503: 503,
}


@cache
def _table() -> dict[int, tuple[str, int]]:
    """code → (meaning, HTTP status); the packaged table, then what it lacks."""
    known = {
        int(row["code"]): (row["meaning"], int(row["http"] or 400))
        for row in data.rows("error_codes.csv")
    }
    for code, meaning in MEANINGS.items():
        known.setdefault(code, (meaning, STATUSES.get(code, 400)))
    return known


def meaning(code: int) -> str:
    """A short description of a code, as in `error_message`."""
    return _table().get(code, ("unknown error", 400))[0]


class ApiError(Exception):
    """An answer to the client. `code` is Twilio's; `status` the HTTP status."""

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        text, usual_status = _table().get(code, ("unknown error", 400))
        self.code = code
        self.message = message or text
        self.status = status or usual_status
        self.headers = headers or {}
        if self.status == 401:
            self.headers.setdefault("WWW-Authenticate", 'Basic realm="Tandem API"')
        super().__init__(f"{code}: {self.message}")

    def body(self) -> bytes:
        content: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "more_info": f"{MORE_INFO}{self.code}",
            "status": self.status,
        }
        return orjson.dumps(content)


def not_found(path: str) -> ApiError:
    return ApiError(20404, f"The requested resource {path} was not found")


def unreadable(code: int, text: str, message: str = "") -> ApiError:
    """The answer to an address that can't be read: it names what in it can't be seen."""
    return ApiError(code, naming_hidden(message or meaning(code), text))
