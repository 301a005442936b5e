"""One keep-alive connection: a request, its answer, the next. No tasks, no futures."""

from __future__ import annotations

import asyncio
import re
from typing import Final, Protocol, cast

ANSWER_LIMIT: Final = 1024 * 1024  # octets of one answer
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CLOSES: Final = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class Owner(Protocol):
    """Who is told what a connection brings."""

    def answered(self, connection: HttpConnection, status: int, body: bytes) -> None:
        """The answer to its request is there; it may send the next."""

    def lost(self, connection: HttpConnection) -> None:
        """The connection is gone; `busy` says whether a request was under way."""


class HttpConnection(asyncio.Protocol):
    """Carries one request at a time."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self.busy = False
        # The owner's notes on the request that is under way.
        self.number = 0  # of its first message
        self.messages = 0
        self.intended = 0.0  # when it was to be sent
        self.sent_at = 0.0
        self.closing = False  # the gateway has said that it takes no more on this one

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self.busy = True
        self._transport.write(request)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        end = data.find(b"\r\n\r\n")
        found = _LENGTH.search(data, 0, end + 2) if end >= 0 else None
        if found is None:
            if end >= 0 or len(data) > ANSWER_LIMIT:
                self.abort()  # no answer that we can read
            self._rest = data
            return
        body_at = end + 4
        whole = body_at + int(found[1])
        if len(data) < whole and whole <= ANSWER_LIMIT:
            self._rest = data
            return
        if len(data) != whole or not self.busy or not data[9:12].isdigit():
            self.abort()  # it answers what nobody asked
            return
        self.busy = False
        self.closing = _CLOSES.search(data, 0, end + 2) is not None
        if self.closing:
            self.abort()
        self._owner.answered(self, int(data[9:12]), data[body_at:])

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.lost(self)
