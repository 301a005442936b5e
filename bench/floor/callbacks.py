"""Signed status callbacks over a few keep-alive connections of our own."""

from __future__ import annotations

import asyncio
import hmac
from binascii import b2a_base64
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, cast
from urllib.parse import quote_from_bytes, urlencode, urlsplit

from bench.floor.message import Message, date_of
from gateway.messages.message import Status
from gateway.webhooks.signature import string_to_sign

CONNECTIONS: Final = 64
# What is a message's own: its SID, its recipient, and when it happened.
SID, TO, AT = "OWNSID", "OWNTO", "OWNAT"


class Frame(NamedTuple):
    """A callback but for what is a message's own; `%b` where that stands."""

    body: bytes  # SID, SID, recipient, time
    signed: bytes  # the URL, then time, SID, SID, recipient


class Callbacks:
    """Posts what committed messages owe, in order per message, each at most once at a time."""

    def __init__(self, url: str, auth_token: str) -> None:
        """Every message's callback is at the origin of this URL."""
        self._auth_token = auth_token.encode()
        self._waiting: deque[Message] = deque()
        self._under_way: set[Message] = set()
        self._all: list[_Connection] = []
        self._idle: list[_Connection] = []
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._origin = len(f"{parts.scheme}://{parts.netloc}")
        self._request = (
            f"POST %b HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
            "User-Agent: floor\r\nX-Twilio-Signature: %b\r\n"
            "I-Twilio-Idempotency-Token: %b-%d\r\nContent-Length: %d\r\n\r\n%b"
        ).encode()
        self.acknowledged: Callable[[Message], None] = lambda message: None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, connection = await loop.create_connection(
                lambda: _Connection(self._done), *self._address
            )
            self._all.append(connection)
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def owe(self, message: Message) -> None:
        """The message was committed: post its next callback, if it owes one
        and none is under way."""
        if message not in self._under_way and message.callbacks_done < _owed(message):
            self._under_way.add(message)
            if self._idle:
                self._post(self._idle.pop(), message)
            else:
                self._waiting.append(message)

    def _post(self, connection: _Connection, message: Message) -> None:
        callback, sid, to = message.callback, message.sid, message.recipient
        assert callback is not None
        done = message.callbacks_done
        frame = frame_of(message.sender, done)
        second = int(message.done_at if done else message.sent_at)
        body = frame.body % (sid, sid, to.replace(b"+", b"%2B"), _quoted_date(second))
        signed = frame.signed % (callback, date_of(second), sid, sid, to)
        signature = b2a_base64(hmac.digest(self._auth_token, signed, "sha1"), newline=False)
        path = callback[self._origin :]
        connection.post(self._request % (path, signature, sid, done, len(body), body), message)

    def _done(self, connection: _Connection, message: Message) -> None:
        message.callbacks_done += 1
        self._under_way.discard(message)
        self.acknowledged(message)
        if self._waiting:
            self._post(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)


def _owed(message: Message) -> int:
    return int(message.committed >= Status.SENT) + int(message.committed is Status.DELIVERED)


@lru_cache(maxsize=16)
def frame_of(sender: bytes, done: int) -> Frame:
    """The callback of a message from this sender that was told of so many."""
    status = ("sent", "delivered")[done]
    pairs = [
        ("ApiVersion", "2010-04-01"),
        ("AccountSid", "AC" + "0" * 32),
        ("MessageSid", SID),
        ("SmsSid", SID),
        ("MessageStatus", status),
        ("SmsStatus", status),
        ("To", TO),
        ("From", sender.decode()),
        ("EventNumber", str(done + 1)),
        ("EventTimestamp", AT),
    ]
    return Frame(
        _with_holes(urlencode(pairs), (SID, SID, TO, AT)),
        b"%b" + _with_holes(string_to_sign("", pairs), (AT, SID, SID, TO)),
    )


def _with_holes(text: str, marks: Sequence[str]) -> bytes:
    """`%b` for these marks, which stand in the text in this order."""
    text = text.replace("%", "%%")
    pieces = []
    for mark in marks:
        before, found, text = text.partition(mark)
        assert found
        pieces.append(before)
    return "%b".join((*pieces, text)).encode()


@lru_cache(maxsize=4)
def _quoted_date(second: int) -> bytes:
    return quote_from_bytes(date_of(second)).encode()


class _Connection(asyncio.Protocol):
    """Knows its receiver: each answer is a 2xx without a body, in one piece."""

    def __init__(self, done: Callable[[_Connection, Message], None]) -> None:
        self._done = done
        self._message: Message | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def post(self, request: bytes, message: Message) -> None:
        assert self._transport is not None
        self._message = message
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 2"), data
        assert data.endswith(b"\r\n\r\n"), data
        message, self._message = self._message, None
        assert message is not None
        self._done(self, message)
