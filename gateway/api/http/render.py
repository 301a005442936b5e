"""Resources as JSON: dates, SIDs and the Message resource (docs/spec/twilio-api.md#dates,
docs/spec/twilio-api.md#message-representation)."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import orjson

from gateway.api.http.errors import meaning
from gateway.directory.directory import Directory
from gateway.messages.message import Direction, Message, Status, billed_segments, created_at
from gateway.messages.rows import sid_of_row
from storage.messages import MessageRow

API_VERSION = "2010-04-01"
_VERSION = API_VERSION.encode()
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_last_rendered: tuple[int, str] = (-1, "")
_last_iso: tuple[int, str] = (-1, "")


def rfc2822(seconds: float) -> str:
    """`Fri, 24 May 2019 17:44:46 +0000`, whatever the locale."""
    global _last_rendered
    whole = int(seconds)
    if _last_rendered[0] == whole:
        return _last_rendered[1]
    at = time.gmtime(whole)
    text = (
        f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year:04d}"
        f" {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
    )
    _last_rendered = (whole, text)
    return text


def rfc2822_of(at: datetime | None) -> str | None:
    return rfc2822(at.timestamp()) if at is not None else None


def iso8601_of(seconds: float) -> str:
    """The same for seconds since 1970; the last answer is kept, as messages come in bursts."""
    global _last_iso
    whole = int(seconds)
    if _last_iso[0] != whole:
        _last_iso = (whole, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(whole)))
    return _last_iso[1]


def iso8601(at: datetime) -> str:
    """`2015-07-30T20:12:31Z`: seconds, no fraction
    (docs/spec/twilio-api.md#sdk-behaviours-the-server-must-respect)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at.timestamp()))


def _message_uris(account_sid: str, sid: str) -> tuple[str, dict[str, str]]:
    base = f"/{API_VERSION}/Accounts/{account_sid}/Messages/{sid}"
    return f"{base}.json", {"media": f"{base}/Media.json"}


# A Message resource as it begins, in the order of `message_row`. Written out, since each send is
# answered with one: what is no text of somebody's needs no JSON writer.
_CREATED = (
    b'{"body":%b,"num_segments":"%d","direction":"%b","from":%b,"date_updated":"%b","price":null,'
    b'"error_message":null,"uri":"%b.json","account_sid":"%b","num_media":"%b","to":%b,'
    b'"date_created":"%b","status":"%b","sid":"%b","date_sent":null,"messaging_service_sid":%b,'
    b'"error_code":null,"price_unit":"USD","api_version":"' + API_VERSION.encode() + b'",'
    b'"subresource_uris":{"media":"%b/Media.json"},"tags":%b}'
)


def created_message(
    message: Message, account_sid: str, service_sid: str | None, body: str | None = None
) -> bytes:
    """The body of the 201, JSON: the initial state, whatever happened since
    (docs/spec/messaging-services.md#order-of-work-for-one-outbound-message).

    Through a service no sender is known yet: `from` is null and `num_segments` "0". `body` where
    another text is shown than is sent.
    """
    sid, account = message.sid.encode(), account_sid.encode()
    uri = b"/%b/Accounts/%b/Messages/%b" % (_VERSION, account, sid)
    date = rfc2822(message.created_at).encode("ascii")
    through_service = message.service_id is not None
    extras = message.extras
    return _CREATED % (
        orjson.dumps(message.submitted_body if body is None else body),
        0 if through_service else message.billed_segments,
        message.direction.shown.encode(),
        b"null" if through_service else orjson.dumps(message.sender_address),
        date,
        uri,
        account,
        _num_media(extras).encode(),
        orjson.dumps(message.recipient),
        date,
        _first_status(message),
        sid,
        b'"%b"' % service_sid.encode() if service_sid is not None else b"null",
        uri,
        orjson.dumps(extras.get("tags")) if extras else b"null",
    )


def _num_media(extras: dict[str, Any] | None) -> str:
    return str(len(extras.get("media_urls", ()))) if extras else "0"


def _price(row: MessageRow, status: Status) -> str | None:
    """Negative, with five places; null until the carrier has the message, and where it failed."""
    if row["price"] is None or row["sent_at"] is None or status is Status.FAILED:
        return None
    return f"{-row['price']:.5f}"


def _shown(status: Status, service_id: int | None) -> str:
    """With a plain From a message is `queued` from the start, even while its media are fetched."""
    if status is Status.ACCEPTED and service_id is None:
        return Status.QUEUED.shown
    return status.shown


def _first_status(message: Message) -> bytes:
    if message.service_id is None:
        return b"queued"
    return b"scheduled" if message.send_at else b"accepted"


def message_row(row: MessageRow, account_sid: str, directory: Directory) -> dict[str, Any]:
    """A Message resource from its row."""
    sid = sid_of_row(row)
    uri, subresources = _message_uris(account_sid, sid)
    subresources["feedback"] = uri.removesuffix(".json") + "/Feedback.json"
    status = Status(row["status"])
    code = row["error_code"]
    created = created_at(row["id"])
    steps = (row["queued_at"], row["sent_at"], row["done_at"])
    updated = max([created, *(at.timestamp() for at in steps if at)])
    unrouted = status in (Status.ACCEPTED, Status.SCHEDULED)
    return {
        "body": row["submitted_body"] if unrouted and row["submitted_body"] else row["body"],
        "num_segments": str(billed_segments(row["segments"], row["flags"])),
        "direction": Direction(row["direction"]).shown,
        "from": row["sender"],
        "date_updated": rfc2822(updated),
        "price": _price(row, status),
        "error_message": meaning(code) if code else None,
        "uri": uri,
        "account_sid": account_sid,
        "num_media": _num_media(row["extras"]),
        "to": row["recipient"],
        "date_created": rfc2822(created),
        "status": _shown(status, row["service_id"]),
        "sid": sid,
        "date_sent": rfc2822_of(row["sent_at"]),
        "messaging_service_sid": directory.service_sid(row["service_id"]),
        "error_code": code,
        "price_unit": "USD",
        "api_version": API_VERSION,
        "subresource_uris": subresources,
        "tags": row["extras"].get("tags") if row["extras"] else None,
    }
