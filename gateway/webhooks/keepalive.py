"""The short way for status callbacks: posts over keep-alive connections of our own.

A status callback is the same request again and again, to the same few servers, and its answer is a
status. The whole of an HTTP client costs more than the message itself did, so a server that has
answered plainly once (no redirect, no challenge) is told by this way from then on. Whatever is not
plain about it, or goes wrong, is left to `gateway.webhooks.client`, which knows all of HTTP.

Names are resolved and addresses checked by the same guard, and the address that was checked is the
one connected to.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import httptools

from gateway.webhooks.guard import Guard, GuardedResolver, on_behalf_of
from gateway.webhooks.host_names import HostNames

log = logging.getLogger(__name__)

IDLE_S: Final = 20.0  # that a connection waits for its next post; servers close theirs later
TICK_S: Final = 0.25  # how exactly a time-out is kept
HEAD_LIMIT: Final = 64 * 1024  # octets of an answer's head; what has more is no plain server
BODY_KEPT: Final = 2_000  # octets of an answer that an alert may show
BODY_LIMIT: Final = 64 * 1024  # octets that are read over to use the connection again
MOST_IDLE: Final = 500  # connections that wait for their next post
MOST_PLAIN: Final = 10_000  # servers' paths that are known to be, or not to be


class Server(NamedTuple):
    """Where a URL leads: what a connection is kept by."""

    host: str
    port: int
    tls: bool


class SplitUrl(NamedTuple):
    """A URL taken apart for requests."""

    server: Server
    path: str  # without its query: what is plain or not
    head: bytes  # of a request, up to the first header that differs between two


class KeepAliveResponse(NamedTuple):
    """What came back."""

    status: int  # 0: nothing in time
    body: bytes = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    truncated: bool = False


TIMED_OUT: Final = KeepAliveResponse(0)


@lru_cache(maxsize=4096)
def place_of(url: str) -> SplitUrl | None:
    """None for a URL with credentials, overrides, or anything else that is not plain."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.fragment:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    text = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    if not text.isascii() or any(character <= " " for character in f"{target}{parts.netloc}"):
        return None
    tls = parts.scheme == "https"
    head = (
        f"{text}Accept: */*\r\nContent-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
    )
    server = Server(host, port or (443 if tls else 80), tls)
    return SplitUrl(server, parts.path or "/", head.encode("ascii"))


class KeepAliveClient:
    """Connections to servers that are known to be plain."""

    def __init__(self, guard: Guard, names: HostNames, user_agent: str) -> None:
        self._guard = guard
        self._resolver = GuardedResolver(guard, names)
        self._agent = f"User-Agent: {user_agent}\r\nContent-Length: ".encode("ascii")
        self._plain: set[tuple[Server, str]] = set()
        # Where the short way once failed after the request had been sent: never again.
        self._odd: set[tuple[Server, str]] = set()
        self._idle: dict[Server, list[_Connection]] = {}
        self._resting: dict[_Connection, Server] = {}  # the same, longest idle first
        self._open: set[_Connection] = set()
        self._tls: ssl.SSLContext | None = None
        self._ticking: asyncio.TimerHandle | None = None

    def plain(self, place: SplitUrl) -> None:
        """The server has answered as the plainest servers do."""
        key = (place.server, place.path)
        if key not in self._odd and len(self._plain) < MOST_PLAIN:
            self._plain.add(key)

    def knows(self, place: SplitUrl) -> bool:
        return (place.server, place.path) in self._plain

    def _never_again(self, place: SplitUrl) -> None:
        key = (place.server, place.path)
        self._plain.discard(key)
        if len(self._odd) < MOST_PLAIN:
            self._odd.add(key)

    async def post(
        self, place: SplitUrl, account_id: int, headers: bytes, body: bytes, timeout_s: float
    ) -> KeepAliveResponse | None:
        """The reply; None when it must go the other way (and may have been received)."""
        server = place.server
        idle = self._idle.get(server)
        try:
            if idle:
                connection = idle.pop()
                del self._resting[connection]
            else:
                with on_behalf_of(account_id):
                    connection = await self._connect(server, timeout_s)
        except (OSError, TimeoutError, ValueError):  # the other way finds out what it is
            return None
        loop = asyncio.get_running_loop()
        request = b"%b%b%b%d\r\n\r\n%b" % (place.head, headers, self._agent, len(body), body)
        used_before = connection.idle_since > 0
        reply = await connection.post(request, loop.time() + timeout_s)
        if reply is None:
            # A connection that was used before may have been closed just then, unread. Else the
            # request was received, and is told twice: once, not every time.
            if connection.heard or not used_before:
                self._never_again(place)
            return None
        if reply.status == 401 or 300 <= reply.status < 400:
            self._never_again(place)
            connection.close()
            return None
        if connection.usable:
            connection.idle_since = loop.time()
            self._idle.setdefault(server, []).append(connection)
            self._resting[connection] = server
            if len(self._resting) > MOST_IDLE:
                oldest, its_server = next(iter(self._resting.items()))
                self._lost(its_server, oldest)
                oldest.close()
        return reply

    async def close(self) -> None:
        for connection in list(self._open):
            connection.close()
        if self._ticking is not None:
            self._ticking.cancel()

    async def _connect(self, server: Server, timeout_s: float) -> _Connection:
        self._guard.check_host(server.host)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            found = await self._resolver.resolve(server.host, server.port)
            context = self._context() if server.tls else None
            _, connection = await loop.create_connection(
                lambda: _Connection(lambda connection: self._lost(server, connection)),
                found[0]["host"],
                server.port,
                ssl=context,
                server_hostname=server.host if server.tls else None,
            )
        self._open.add(connection)
        if self._ticking is None:
            self._ticking = loop.call_later(TICK_S, self._tick)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _lost(self, server: Server, connection: _Connection) -> None:
        self._open.discard(connection)
        self._resting.pop(connection, None)
        idle = self._idle.get(server)
        if idle is not None and connection in idle:
            idle.remove(connection)
        if not idle:
            self._idle.pop(server, None)

    def _tick(self) -> None:
        """One timer for all: what is too late, and what has been idle for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            connection.look(now)
        self._ticking = loop.call_later(TICK_S, self._tick) if self._open else None


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, lost: Callable[[_Connection], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[KeepAliveResponse | None] | None = None
        self._deadline = 0.0
        self.idle_since = 0.0
        self.usable = True
        self.heard = False  # anything, since the last request
        self._until_closed = False  # the answer's body ends with the connection
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._head_octets = 0
        self._body = b""
        self._body_octets = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._until_closed and exc is None:
            self._reply()
        self._finish(None)
        self._lost(self)

    def eof_received(self) -> None:
        self.usable = False
        if self._until_closed:
            self._reply()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def look(self, now: float) -> None:
        """Give up what is too late; close what nobody has used."""
        if self._waiter is not None:
            if now >= self._deadline:
                self._finish(TIMED_OUT)
                self.close()
        elif now - self.idle_since >= IDLE_S and self.idle_since:
            self.close()

    def post(self, request: bytes, deadline: float) -> asyncio.Future[KeepAliveResponse | None]:
        assert self._transport is not None
        waiter: asyncio.Future[KeepAliveResponse | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiter = waiter
        self._deadline = deadline
        self._headers = []
        self._head_octets = self._body_octets = 0
        self._body = b""
        self.heard = self._until_closed = False
        if not self.usable:
            self._finish(None)
        else:
            self._transport.write(request)
        return waiter

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nobody has asked for that
            self.close()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    # Callbacks of the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_octets += len(name) + len(value)
        if self._head_octets > HEAD_LIMIT:
            raise ValueError("the head is too large")
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            names = {name.lower() for name, _ in self._headers}
            self._until_closed = not names & {"content-length", "transfer-encoding"}

    def on_body(self, body: bytes) -> None:
        self._body_octets += len(body)
        if len(self._body) < BODY_KEPT:
            self._body += body[: BODY_KEPT - len(self._body)]
        if self._body_octets > BODY_LIMIT:
            self._reply()
            self.close()

    def on_message_complete(self) -> None:
        self._until_closed = False
        if self._parser.get_status_code() < 200:  # 100 Continue, 103 Early Hints: more is to come
            self._headers = []
            return
        if not self._parser.should_keep_alive():
            self.usable = False
        self._reply()
        if not self.usable:
            self.close()

    def _reply(self) -> None:
        status = self._parser.get_status_code()
        if 200 <= status < 300:  # nobody looks at more
            self._finish(KeepAliveResponse(status))
            return
        kind = next((value for name, value in self._headers if name.lower() == "content-type"), "")
        truncated = self._body_octets > BODY_LIMIT
        self._finish(KeepAliveResponse(status, self._body, kind, tuple(self._headers), truncated))

    def _finish(self, reply: KeepAliveResponse | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)
