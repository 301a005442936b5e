"""The requests, each rendered ahead but for its recipients: one join of octets per request."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

import orjson

MOST_BULK: Final = 10_000  # recipients of one request (docs/bulk.md)
DIGITS: Final = 8  # of a recipient, behind the prefix
RECIPIENTS: Final = 10**DIGITS


class Sends(Protocol):
    """What the generator sends, and how it knows that it was taken."""

    # Messages in one request.
    bulk: int

    def render(self, first: int, messages: int) -> bytes:
        """The whole request for these messages, by number."""

    def accepted(self, status: int) -> bool:
        """Whether this HTTP status says that the messages were taken."""


@dataclass(frozen=True, slots=True)
class Recipients:
    """A number of its own for every message: the prefix, and eight digits."""

    prefix: str = "4479"
    start: int = 0

    def digits(self, number: int) -> str:
        """Without the +, as a PDU has it."""
        return f"{self.prefix}{(self.start + number) % RECIPIENTS:08d}"


@dataclass(frozen=True, slots=True)
class LoadMessage:
    """What all messages of a run share."""

    body: str
    sender: str | None = None
    service_sid: str | None = None
    status_callback: str | None = None


def post(url: str, content_type: str, authorization: str) -> bytes:
    """The head of a POST, up to and with `content-length: `."""
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: "
    ).encode()


def basic(account_sid: str, auth_token: str) -> str:
    return "Basic " + b64encode(f"{account_sid}:{auth_token}".encode()).decode()


def fields_of(message: LoadMessage) -> dict[str, str]:
    """The form of a send, but for its To."""
    given = {
        "Body": message.body,
        "MessagingServiceSid": message.service_sid,
        "From": message.sender,
        "StatusCallback": message.status_callback,
    }
    return {name: value for name, value in given.items() if value is not None}


def head_of(base_url: str, account_sid: str, token: str) -> bytes:
    """The head of a send, up to its length."""
    return post(
        f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json",
        "application/x-www-form-urlencoded",
        basic(account_sid, token),
    )


class SingleSends:
    """`POST …/Messages.json`, as an SDK makes it."""

    bulk = 1

    def __init__(
        self,
        base_url: str,
        account_sid: str,
        token: str,
        message: LoadMessage,
        recipients: Recipients,
    ) -> None:
        fixed = urlencode(fields_of(message))
        to = f"&To={quote('+')}{recipients.prefix}"
        length = len(fixed) + len(to) + DIGITS
        self._fixed = (
            head_of(base_url, account_sid, token) + f"{length}\r\n\r\n{fixed}{to}".encode()
        )
        self._start = recipients.start

    def render(self, first: int, messages: int) -> bytes:
        return b"%b%08d" % (self._fixed, (self._start + first) % RECIPIENTS)

    def accepted(self, status: int) -> bool:
        return status == 201


class BulkSends:
    """`POST /comms/v1/Messages`: the operation, whose 202 follows the commit of all of it."""

    def __init__(
        self,
        base_url: str,
        account_sid: str,
        token: str,
        message: LoadMessage,
        recipients: Recipients,
        bulk: int,
    ) -> None:
        self.bulk = bulk
        sender = (
            {"messagingServiceSid": message.service_sid}
            if message.service_sid is not None
            else {"address": message.sender}
        )
        shared: dict[str, object] = {"from": sender, "content": {"text": message.body}}
        if message.status_callback is not None:
            shared["statusCallback"] = message.status_callback
        self._head = post(
            f"{base_url}/comms/v1/Messages", "application/json", basic(account_sid, token)
        )
        self._before = orjson.dumps(shared).removesuffix(b"}") + b',"to":['
        self._entry = b'{"address":"+%b%%08d","channel":"PHONE"}' % recipients.prefix.encode()
        self._start = recipients.start

    def render(self, first: int, messages: int) -> bytes:
        start = self._start + first
        entries = b",".join(
            [self._entry % (number % RECIPIENTS) for number in range(start, start + messages)]
        )
        length = len(self._before) + len(entries) + 2
        return b"%b%d\r\n\r\n%b%b]}" % (self._head, length, self._before, entries)

    def accepted(self, status: int) -> bool:
        return status == 202
