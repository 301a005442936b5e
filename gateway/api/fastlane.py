"""The fast lane: `POST …/Messages.json` answered without ASGI, tasks or middleware.

A subclass of uvicorn's own protocol (its `http=` setting takes a class), so connections,
keep-alive, TLS, limits and shutdown stay uvicorn's. Only a request that is surely the hot one
takes the lane; whatever is unusual about it (no length, `Expect`, an upgrade, a body too
large) goes the ordinary way, to the same functions. The same contract tests run on both.

What one connection may cost is bounded here too, before anybody has shown a password: the
size of a request's head, of what it says of its body, and the time in which it must arrive.
Uvicorn's httptools protocol bounds none of them. Credentials are looked at before more than 64 kB
of a body are taken, and what all connections together hold before that is bounded. A request that
comes in one piece, as nearly all do, sets no timer and is not counted.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from random import Random
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.acceptance.forecast import Outlook
from gateway.api.http.auth import Credential, acting_account, authenticate
from gateway.api.http.errors import ApiError
from gateway.api.http.forms import SendForm, check_form_type
from gateway.api.http.heads import CutHead, KnownHead, KnownRequests, cut_head, is_head
from gateway.api.http.limits import Gate
from gateway.api.http.logins import Logins
from gateway.api.http.render import iso8601_of
from gateway.api.http.unproven import Unproven
from gateway.api.messages import test_credentials
from gateway.api.messages.create_message import Creation
from gateway.api.resources import CLIENT, SINGLE_BODY_LIMIT
from gateway.directory.directory import Account

log = logging.getLogger(__name__)

HOT = re.compile(rb"^(?:/api)?/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})/Messages\.json$")
IDEMPOTENCY: Final = frozenset({b"idempotency-key", b"i-twilio-idempotency-token"})

URL_LIMIT: Final = 8 * 1024  # octets
MOST_HEADERS: Final = 100
HEAD_LIMIT: Final = 64 * 1024  # octets: the URL, and each header with its ": " and line end
WIRE_LIMIT: Final = 1024 * 1024  # octets of one request with its framing (chunks, trailers)
ARRIVAL_S: Final = 30.0  # a request must be there, from its first octet (or the connect) on
LINGER_S: Final = 1.0  # after a refusal: for the client to read it before the connection goes
TCP_INFO: Final = socket.TCP_INFO if sys.platform == "linux" else None
ESTABLISHED: Final = 1  # the first octet of that, on Linux
LAST_S: Final = 0.2  # when the server stops: for the request that a client was just sending


class ParseStage(IntEnum):
    """How far the request that is now arriving has come."""

    NONE = 0
    HEAD = 1
    BODY = 2


class RefusedRequest(Exception):
    """Raised in a callback of the parser, to stop it: `error` is the answer."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


class FastRequest:
    """One request in the fast lane; stands where uvicorn keeps its ASGI cycle.

    Uvicorn looks at `response_complete`, `disconnected`, `keep_alive` and `message_event` to
    order pipelined requests and to shut down.
    """

    __slots__ = (
        "account_id",
        "account_sid",
        "authorization",
        "body",
        "content_type",
        "disconnected",
        "keep_alive",
        "message_event",
        "response_complete",
        "started",
        "under_way",
    )

    def __init__(self, account_sid: str, keep_alive: bool) -> None:
        self.account_sid = account_sid
        self.account_id = 0  # once it counts among the account's requests
        self.under_way = 0  # requests of the account, with this one
        self.authorization: bytes | None = None
        self.content_type = b""
        self.body = b""
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NO_EVENT
        self.started = time.perf_counter()


class _NoEvent:
    """Nobody waits for a fast request."""

    def set(self) -> None:
        pass


_NO_EVENT = _NoEvent()


def fast_lane(
    creation: Creation,
    random: Random,
    gate: Gate,
    logins: Logins,
    body_limit: Callable[[str, str], int],
    known: KnownRequests,
) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn, tied to this process's pipeline.

    `body_limit`: most octets of a request's body, by its Host and path.
    """
    unproven = Unproven(time.monotonic)

    class FastLane(HttpToolsProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._fast: FastRequest | None = None
            self._stage = ParseStage.NONE
            self._head_octets = 0  # as parsed
            self._wire_octets = 0  # of an unfinished request, as received
            self._wire_limit = WIRE_LIMIT
            self._body_octets = 0  # as parsed, in the ordinary way
            self._proven = False
            self._upgrade = False
            self._refusal: RefusedRequest | None = None
            self._refused = False
            self._deadline: asyncio.TimerHandle | None = None
            self._ending = False
            # By heads: the last request, that whose body is still to come, and how much of it.
            self._taken: FastRequest | None = None
            self._awaited: FastRequest | None = None
            self._awaited_octets = 0
            self._early = b""  # what came before its turn
            self._answered_at = 0.0
            # To be known from now on: the head, and what came behind it at once.
            self._cut: CutHead | None = None
            self._cut_head = self._cut_rest = b""
            self._begun = False  # a message, since what was cut came

        # The connection ------------------------------------------------------------------

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._deadline = self.loop.call_later(ARRIVAL_S, self._too_late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            unproven.release(self)
            super().connection_lost(exc)

        def cut(self) -> None:
            """Others need the room that this request takes, which has been arriving for long."""
            self.transport.abort()

        def shutdown(self) -> None:
            """The server stops: what is under way is answered, and one request more.

            A client that sends just now has not seen yet that we close, and could not tell
            whether its message was taken. So an idle connection stays a moment longer.
            """
            self._ending = True
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.keep_alive = False
            else:
                self.loop.call_later(LAST_S, self._end_idle)

        def _end_idle(self) -> None:
            answered = self.cycle is None or self.cycle.response_complete
            if answered and self._stage is ParseStage.NONE and not self.transport.is_closing():
                self.transport.close()

        def data_received(self, data: bytes) -> None:
            if self._refused:  # nobody reads it any more
                self._wire_octets += len(data)
                if self._wire_octets > WIRE_LIMIT:
                    self.transport.abort()
                return
            if self._awaited is not None:
                self._more(self._awaited, data)
                return
            if self._stage is ParseStage.NONE and self._by_head(data):
                return
            self._unset_keepalive_if_required()
            stage_before = self._stage
            try:
                self._feed(data)
            except httptools.HttpParserError as error:
                self._refuse_in_time(self._refusal_of(error))
                return
            if stage_before is not ParseStage.NONE and self._stage is not ParseStage.NONE:
                self._wire_octets += len(data)
                if self._stage is ParseStage.HEAD and self._wire_octets > HEAD_LIMIT:
                    self._refuse(_head_too_large())
                    return
                if self._wire_octets > self._wire_limit:
                    self._refuse(ApiError(20413))
                    return
            if self._stage is not ParseStage.NONE and not self._proven:
                if not unproven.hold(self, len(data)):
                    self._refuse(_no_room())
                    return
            elif stage_before is not ParseStage.NONE:
                unproven.release(self)
            if self._stage is not ParseStage.NONE or self._idle:
                if self._deadline is None:
                    self._deadline = self.loop.call_later(ARRIVAL_S, self._too_late)
            elif self._deadline is not None:
                self._disarm()

        # By heads that came before -------------------------------------------------------

        def _by_head(self, data: bytes) -> bool:
            """Take a request whose head is known; False: the parser has to look at it."""
            if self._taken is not None and not self._taken.response_complete:
                self._early += data  # the next request on this connection waits for our answer
                self.flow.pause_reading()
                return True
            if self.cycle is not None and not self.cycle.response_complete:
                return False
            self._cut = cut = cut_head(data)
            if cut is None or cut.length > SINGLE_BODY_LIMIT:
                self._cut = None
                return False
            head = known.heads.get(cut.key, 0)
            if head is None:
                self._cut_head, self._cut_rest = data[: cut.end], data[cut.end :]
                self._begun = False
                return False
            self._cut = None
            keep_alive = head.keep_alive and not self._ending
            request = FastRequest(head.account_sid, keep_alive)
            request.authorization = head.authorization
            request.content_type = head.content_type
            self.headers = head.headers
            self.cycle = self._taken = request  # type: ignore[assignment]
            self._awaited_octets = cut.length
            self._more(request, data[cut.end :])
            return True

        def _more(self, request: FastRequest, data: bytes) -> None:
            """More of the body of a request that is known by its head, up to all of it."""
            body = request.body = request.body + data if request.body else data
            if len(body) < self._awaited_octets:
                self._awaited, self._stage = request, ParseStage.BODY
                if not unproven.hold(self, len(data)):
                    self._refuse(_no_room())
                elif self._deadline is None:
                    self._deadline = self.loop.call_later(ARRIVAL_S, self._too_late)
                return
            if len(body) > self._awaited_octets:
                self._early = body[self._awaited_octets :]
                request.body = body[: self._awaited_octets]
                self.flow.pause_reading()
            if self._awaited is not None:
                self._awaited, self._stage = None, ParseStage.NONE
                unproven.release(self)
            if self._deadline is not None:
                self._disarm()
            self._serve(request)

        def on_response_complete(self) -> None:
            self._answered_at = self.loop.time()
            super().on_response_complete()

        def _answered(self) -> None:
            """The same for a request that was taken by its head."""
            self._answered_at = self.loop.time()
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                return
            if self.timeout_keep_alive_task is None:
                self._keep_alive_for(self.timeout_keep_alive)
            if self._early:
                self.loop.call_soon(self._go_on)

        def eof_received(self) -> bool:  # type: ignore[override]
            """The client sends no more: it still gets the answer to what it has sent."""
            taken = self._taken
            if taken is None or taken.response_complete or self._awaited is not None:
                return False
            taken.keep_alive = False
            return self.scheme == "http"  # TLS ends in both directions at once

        def _go_on(self) -> None:
            """The request before is answered: what came early has its turn."""
            data, self._early = self._early, b""
            if not self.transport.is_closing():
                self.flow.resume_reading()
                self.data_received(data)

        def _keep_alive_for(self, seconds: float) -> None:
            self.timeout_keep_alive_task = self.loop.call_later(
                seconds, self.timeout_keep_alive_handler
            )

        def timeout_keep_alive_handler(self) -> None:
            """Close what was idle for so long: one timer, which is not set anew by each answer."""
            self.timeout_keep_alive_task = None
            if self.transport.is_closing():
                return
            busy = self.cycle is not None and not self.cycle.response_complete
            left = self._answered_at + self.timeout_keep_alive - self.loop.time()
            if busy or self._stage is not ParseStage.NONE:
                self._keep_alive_for(self.timeout_keep_alive)
            elif left > 0:
                self._keep_alive_for(left)
            else:
                super().timeout_keep_alive_handler()

        def gone(self) -> bool:
            """Whether nobody waits for our answer any more.

            While a request is under way nothing is read, so a client that hung up is not heard of:
            the system knows.
            """
            return self.transport.is_closing() or _has_left(self.transport)

        def _feed(self, data: bytes) -> None:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An upgrade that we don't do is to be ignored (RFC 9110 §7.8), but the parser
                # has skipped the body: it reads the same request again, without the offer.
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
                self._upgrade = False
                self._feed(head + data[upgrade.args[0] :])

        def _head_without_upgrade(self) -> bytes:
            version = self.parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
            for name, value in self.headers:
                if name == b"connection":
                    tokens = [token.strip() for token in value.split(b",")]
                    value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
                if name != b"upgrade" and (value or name != b"connection"):
                    lines.append(name + b": " + value)
            return b"\r\n".join([*lines, b"", b""])

        @property
        def _idle(self) -> bool:
            """Whether neither a request is under way nor uvicorn's keep-alive clock runs."""
            if self.timeout_keep_alive_task is not None:
                return False
            return self.cycle is None or self.cycle.response_complete

        def _too_late(self) -> None:
            self._deadline = None
            if self.flow.read_paused and not self._refused:
                # It is we who do not read on, until an earlier request is answered.
                self._deadline = self.loop.call_later(ARRIVAL_S, self._too_late)
            else:
                self.transport.abort()

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        # Refusals ------------------------------------------------------------------------

        def _refusal_of(self, error: httptools.HttpParserError) -> ApiError:
            if self._refusal is not None:
                return self._refusal.error
            if self.parser.get_method() == b"CONNECT":
                return ApiError(20004)  # its target is no path, which the parser refuses first
            return ApiError(20001, "this is not a valid HTTP request")

        def _stop(self, error: ApiError) -> RefusedRequest:
            """To be raised: the parser forgets what a callback raised, so it is kept here."""
            self._refusal = RefusedRequest(error)
            return self._refusal

        def _refuse_in_time(self, error: ApiError) -> None:
            """Refuse, later where this address has shown many wrong credentials."""
            wait_s = self._wait_s(error) if error.status == 401 else 0.0
            if not wait_s:
                self._refuse(error)
                return
            self._refused = True
            self._disarm()
            unproven.release(self)
            self.flow.pause_reading()
            self.loop.call_later(wait_s, self._refuse, error)

        def _wait_s(self, error: ApiError) -> float:
            """How long the answer to wrong credentials waits."""
            if error.code != 20003:
                return 0.0
            headers = dict(self.headers)
            peer = self.client[0] if self.client else ""
            forwarded = headers.get(b"x-forwarded-for")
            return logins.wait_s(headers.get(b"authorization"), peer, forwarded)

        def _refuse(self, error: ApiError) -> None:
            """Answer with an error, read no further, and close once the client could see it.

            A client that sent requests ahead must not take this for the answer to an earlier
            one: what is owed is answered, and then the connection closes without a word.
            """
            self._refused = True
            self._disarm()
            unproven.release(self)
            if self.transport.is_closing():
                return
            cycle = self.cycle
            owed = len(self.pipeline)
            if (
                cycle is not None
                and not cycle.response_complete
                and self._stage is not ParseStage.BODY
            ):
                owed += 1
            if owed:
                cycle.keep_alive = False
                self._deadline = self.loop.call_later(ARRIVAL_S, self._too_late)
                return
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # of this request: there will be no more of it
                cycle.message_event.set()
            if self._stage is not ParseStage.BODY or not cycle.response_complete:
                self._write(error.status, error.body(), 0.0, _lines(error.headers), close=True)
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.flow.resume_reading()
            self._deadline = self.loop.call_later(LINGER_S, self._too_late)

        # Callbacks of the parser ---------------------------------------------------------

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._begun:  # what was cut may not be of this one
                self._cut = None
            self._begun = True
            self._stage = ParseStage.HEAD
            self._head_octets = self._wire_octets = self._body_octets = 0
            self._wire_limit = WIRE_LIMIT
            self._proven = False

        def on_url(self, url: bytes) -> None:
            self.url += url
            self._head_octets += len(url)
            if len(self.url) > URL_LIMIT:
                raise self._stop(
                    ApiError(20413, f"the URL is longer than {URL_LIMIT} octets", status=414)
                )

        def on_header(self, name: bytes, value: bytes) -> None:
            # As uvicorn's, which is not called: this is the hottest of all callbacks.
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
            self._head_octets += len(name) + len(value) + 4
            if self._head_octets > HEAD_LIMIT or len(self.headers) > MOST_HEADERS:
                raise self._stop(_head_too_large())

        def on_headers_complete(self) -> None:
            self._fast = None
            if self.parser.get_method() == b"CONNECT":
                raise self._stop(ApiError(20004))
            self._upgrade = self.parser.should_upgrade()
            if self._upgrade:
                return
            self._check_head()
            request = self._fast_request()
            if request is None:
                self._check_length()
                super().on_headers_complete()
                self.scope[CLIENT] = self  # type: ignore[literal-required]
            else:
                self._fast = request
                self.cycle = request  # type: ignore[assignment]
            if self._ending:
                self.cycle.keep_alive = False
            self._stage = ParseStage.BODY

        def _check_head(self) -> None:
            """Refuse a head that a proxy before us may read in another way (RFC 9112 §3.2, §6.1).

            Raises Refusal.
            """
            hosts = authorizations = 0
            for name, value in self.headers:
                if name == b"host":
                    hosts += 1
                elif name == b"authorization":
                    authorizations += 1
                elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                    raise self._stop(
                        ApiError(20001, "Transfer-Encoding must be chunked alone", status=501)
                    )
            if authorizations > 1:
                raise self._stop(ApiError(20001, "there is more than one Authorization"))
            if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
                raise self._stop(ApiError(20001, "there must be one Host"))

        def _check_length(self) -> None:
            """Learn how large the body may be, where it is large or nobody says how large it is.

            Raises Refusal.
            """
            length: int | None = 0
            for name, value in self.headers:
                if name == b"content-length":
                    length = int(value)
                elif name == b"transfer-encoding":
                    length = None
                    break
            if length is not None and length <= SINGLE_BODY_LIMIT:
                return
            host = next((value for name, value in self.headers if name == b"host"), b"")
            path = unquote(httptools.parse_url(self.url).path.decode("ascii"))
            limit = body_limit(host.decode("latin-1"), path)
            if limit > SINGLE_BODY_LIMIT:
                self._wire_limit = WIRE_LIMIT + limit
            if length is not None:
                if length > limit:
                    raise self._stop(ApiError(20413))
                self._prove()

        def _prove(self) -> None:
            """Look at the credentials before more of the body is taken. Raises Refusal."""
            given = next((value for name, value in self.headers if name == b"authorization"), None)
            try:
                credential = authenticate(creation.directory, given)
                acting_account(creation.directory, credential, None)
            except ApiError as error:
                raise self._stop(error) from None
            self._proven = True

        def on_body(self, body: bytes) -> None:
            if self._fast is None:
                self._body_octets += len(body)
                if self._body_octets > SINGLE_BODY_LIMIT and not self._proven:
                    self._prove()
                super().on_body(body)
            else:
                self._fast.body += body

        def on_message_complete(self) -> None:
            if self._upgrade:
                return
            self._stage = ParseStage.NONE
            request = self._fast
            if request is None:
                super().on_message_complete()
                return
            self._fast = None
            # The next request on this connection waits for our answer.
            self.flow.pause_reading()
            self._serve(request)

        # The fast lane itself ------------------------------------------------------------

        def _fast_request(self) -> FastRequest | None:
            """This request, if it is the hot one in its ordinary form."""
            if self.parser.get_method() != b"POST":
                return None
            path, _, _ = self.url.partition(b"?")
            match = HOT.match(path)
            if match is None or self.expect_100_continue:
                return None
            if self.limit_concurrency is not None:
                return None  # the ordinary way counts requests
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy or self.config.root_path:
                return None
            keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            request = FastRequest(match[1].decode(), keep_alive)
            length = -1
            for name, value in self.headers:
                if name == b"authorization":
                    request.authorization = value
                elif name == b"content-type":
                    request.content_type = value
                elif name == b"content-length":
                    length = int(value)
                elif name in IDEMPOTENCY:
                    return None  # it asks the database before
            if not 0 <= length <= SINGLE_BODY_LIMIT:
                return None
            return request

        def _serve(self, request: FastRequest) -> None:
            def answer(body: bytes | None, error: ApiError | None, outlook: Outlook | None) -> None:
                if error is not None:
                    self._respond_error(request, error)
                else:
                    self._respond(request, 201, body or b"", _outlook_lines(outlook))

            try:
                credential, account = self._proof(request)
                request.under_way = gate.enter(account.id)
                request.account_id = account.id
                check_form_type(request.content_type)
                form = SendForm(request.body)
                if credential.test:
                    body = test_credentials.message(account, form, creation.next_id)
                    answer(body, None, None)
                else:
                    creation.submit(account, form, answer, client=self)
            except ApiError as error:
                if wait_s := self._wait_s(error):
                    self.loop.call_later(wait_s, self._respond_error, request, error)
                else:
                    self._respond_error(request, error)
            except Exception:
                log.exception("POST Messages")
                self._respond_error(request, ApiError(20500))

        def _proof(self, request: FastRequest) -> tuple[Credential, Account]:
            """Whose request it is, and for which account. Raises ApiError 20003, 20005."""
            directory = creation.directory
            key = (request.authorization or b"", request.account_sid)
            proof = known.credentials.get(key, directory.epoch)
            if proof is None:
                credential = authenticate(directory, request.authorization)
                account = acting_account(directory, credential, request.account_sid)
                proof = credential, account
                known.credentials.offer(account.id, key, len(key[0]), directory.epoch, proof)
            cut, self._cut = self._cut, None
            if (
                cut is not None
                and len(request.body) == cut.length
                and request.body.startswith(self._cut_rest)
                and known.heads.wants(cut.key, len(cut.key))
                and is_head(self._cut_head, self.url, self.headers)
            ):
                head = KnownHead(
                    request.account_sid,
                    request.authorization,
                    request.content_type,
                    request.keep_alive,
                    self.headers,
                )
                known.heads.keep(proof[1].id, cut.key, 0, head)
            return proof

        def _respond_error(self, request: FastRequest, error: ApiError) -> None:
            self._respond(request, error.status, error.body(), _lines(error.headers))

        def _respond(
            self, request: FastRequest, status: int, body: bytes, extra: bytes = b""
        ) -> None:
            if request.account_id:
                gate.leave(request.account_id)
                extra += b"twilio-concurrent-requests: %d\r\n" % request.under_way
            if request.disconnected or self.transport.is_closing():
                return
            duration = time.perf_counter() - request.started
            self._write(status, body, duration, extra, close=not request.keep_alive)
            request.response_complete = True
            if not request.keep_alive:
                self.transport.close()
            if request is self._taken:
                self._answered()
            else:
                self.on_response_complete()

        def _write(
            self, status: int, body: bytes, duration_s: float, extra: bytes, *, close: bool
        ) -> None:
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\n"
                b"twilio-request-id: RQ%032x\r\ntwilio-request-duration: %.3f\r\n%s%s\r\n%s"
                % (
                    STATUS_LINE[status],
                    len(body),
                    random.getrandbits(128),
                    duration_s,
                    extra,
                    b"connection: close\r\n" if close else b"",
                    body,
                )
            )

    return FastLane


def _has_left(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end has closed the connection, where the system tells."""
    own = transport.get_extra_info("socket")
    if own is None or TCP_INFO is None:
        return False
    try:
        state: int = own.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0]
    except OSError:
        return False
    return state != ESTABLISHED


def _no_room() -> ApiError:
    return ApiError(20503, "too much is arriving at once; try again", headers={"Retry-After": "1"})


def _head_too_large() -> ApiError:
    return ApiError(
        20413,
        f"the request has more than {MOST_HEADERS} headers, or {HEAD_LIMIT} octets of them",
        status=431,
    )


def _outlook_lines(outlook: Outlook | None) -> bytes:
    """The same headers as the slow lane's, written at once: every 201 has them."""
    if outlook is None:
        return b""
    return b"x-queue-ahead: %d\r\nx-estimated-send-at: %b\r\n" % (
        outlook.ahead,
        iso8601_of(outlook.at).encode(),
    )


def _lines(headers: dict[str, str]) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode()
