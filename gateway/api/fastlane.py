"""The fast lane: `POST …/Messages.json` answered without ASGI, tasks or middleware.

A subclass of uvicorn's own protocol (its `http=` setting takes a class), so connections,
keep-alive, TLS, limits and shutdown stay uvicorn's. Only a request that is surely the hot one
takes the lane; whatever is unusual about it (no length, `Expect`, an upgrade, a body too
large) goes the ordinary way, to the same functions. The same contract tests run on both.
"""

from __future__ import annotations

import logging
import re
import time
from random import Random
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.api.auth import acting_account
from gateway.api.create_message import Creation
from gateway.api.errors import ApiError
from gateway.api.forms import check_form_type, parse_form
from gateway.api.resources import SINGLE_BODY_LIMIT

log = logging.getLogger(__name__)

HOT = re.compile(rb"^(?:/api)?/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})/Messages\.json$")


class FastRequest:
    """One request in the fast lane; stands where uvicorn keeps its ASGI cycle.

    Uvicorn looks at `response_complete`, `disconnected`, `keep_alive` and `message_event` to
    order pipelined requests and to shut down.
    """

    __slots__ = (
        "account_sid",
        "authorization",
        "body",
        "content_type",
        "disconnected",
        "keep_alive",
        "message_event",
        "response_complete",
        "started",
    )

    def __init__(self, account_sid: str, keep_alive: bool) -> None:
        self.account_sid = account_sid
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


def fast_lane(creation: Creation, random: Random) -> type[HttpToolsProtocol]:
    """The protocol class for uvicorn, tied to this process's pipeline."""

    class FastLane(HttpToolsProtocol):
        _fast: FastRequest | None = None

        def on_headers_complete(self) -> None:
            self._fast = None
            request = self._fast_request()
            if request is None:
                super().on_headers_complete()
                return
            self._fast = request
            self.cycle = request  # type: ignore[assignment]

        def on_body(self, body: bytes) -> None:
            if self._fast is None:
                super().on_body(body)
            else:
                self._fast.body += body

        def on_message_complete(self) -> None:
            request = self._fast
            if request is None:
                super().on_message_complete()
                return
            self._fast = None
            # The next request on this connection waits for our answer.
            self.flow.pause_reading()
            self._serve(request)

        def _fast_request(self) -> FastRequest | None:
            """This request, if it is the hot one in its ordinary form."""
            if self.parser.get_method() != b"POST":
                return None
            path, _, _ = self.url.partition(b"?")
            match = HOT.match(path)
            if match is None or self.expect_100_continue or self.parser.should_upgrade():
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
            if not 0 <= length <= SINGLE_BODY_LIMIT:
                return None
            return request

        def _serve(self, request: FastRequest) -> None:
            def answer(body: dict[str, Any] | None, error: ApiError | None) -> None:
                if error is not None:
                    self._respond_error(request, error)
                else:
                    self._respond(request, 201, orjson.dumps(body))

            try:
                account = acting_account(
                    creation.directory, request.authorization, request.account_sid
                )
                check_form_type(request.content_type)
                creation.submit(account, parse_form(request.body), answer)
            except ApiError as error:
                self._respond_error(request, error)
            except Exception:
                log.exception("POST Messages")
                self._respond_error(request, ApiError(20500))

        def _respond_error(self, request: FastRequest, error: ApiError) -> None:
            extra = "".join(f"{name}: {value}\r\n" for name, value in error.headers.items())
            self._respond(request, error.status, error.body(), extra.encode())

        def _respond(
            self, request: FastRequest, status: int, body: bytes, extra: bytes = b""
        ) -> None:
            if request.disconnected or self.transport.is_closing():
                return
            duration = time.perf_counter() - request.started
            connection = b"" if request.keep_alive else b"connection: close\r\n"
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\n"
                b"twilio-request-id: RQ%032x\r\ntwilio-request-duration: %.3f\r\n%s%s\r\n%s"
                % (
                    STATUS_LINE[status],
                    len(body),
                    random.getrandbits(128),
                    duration,
                    extra,
                    connection,
                    body,
                )
            )
            request.response_complete = True
            if not request.keep_alive:
                self.transport.close()
            self.on_response_complete()

    return FastLane
