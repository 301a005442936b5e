"""Signed status callbacks over a few keep-alive connections of our own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

from bench.floor.message import Message
from gateway.messages.message import Status
from gateway.webhooks.signature import sign

CONNECTIONS: Final = 64


class Callbacks:
    """Posts what committed messages owe, in order per message, each at most once at a time."""

    def __init__(self, url: str, auth_token: str) -> None:
        self._url = url
        self._auth_token = auth_token
        self._waiting: deque[Message] = deque()
        self._under_way: set[Message] = set()
        self._all: list[_Connection] = []
        self._idle: list[_Connection] = []
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
            "User-Agent: floor\r\nX-Twilio-Signature: "
        )
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
        status, at = ("sent", message.sent_at)
        if message.callbacks_done:
            status, at = ("delivered", message.done_at)
        pairs = [
            ("ApiVersion", "2010-04-01"),
            ("AccountSid", "AC" + "0" * 32),
            ("MessageSid", message.sid),
            ("SmsSid", message.sid),
            ("MessageStatus", status),
            ("SmsStatus", status),
            ("To", message.recipient),
            ("From", message.sender),
            ("EventNumber", str(message.callbacks_done + 1)),
            ("EventTimestamp", formatdate(at)),
        ]
        body = urlencode(pairs)
        signature = sign(self._auth_token, self._url, pairs)
        request = (
            f"{self._head}{signature}\r\n"
            f"I-Twilio-Idempotency-Token: {message.sid}-{message.callbacks_done}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        connection.post(request.encode(), message)

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
