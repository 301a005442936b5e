"""The ASGI application: every resource but the hot one's fast lane.

In front of Starlette's router a few lines find the product, make the request's path
`/<product>/<path>`, and remember the origin that the client used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.http import probes
from gateway.api.http.errors import ApiError, not_found
from gateway.api.http.logins import Logins
from gateway.api.http.origin import resolve
from gateway.api.messages import media
from gateway.api.opt_outs import deactivations
from gateway.api.reference import openapi
from gateway.api.resources import SINGLE_BODY_LIMIT, Call, Deps, unkept
from gateway.api.routes import RESOURCES, Resource
from gateway.api.services import short_links
from gateway.enrichment.media_links import CODE
from gateway.observe.outage_log import AWAY
from storage.database import BadRow, DatabaseUnavailable

log = logging.getLogger(__name__)

# Of the process itself: no product's.
PLAIN = frozenset({*probes.PATHS, "/openapi.json", "/docs"})
# All that a resource hears of, so that it is our answer which of them it has.
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
RETRY_AFTER_S = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """What the front needs of the configuration."""

    public_url: str | None
    base_domain: str | None
    trust_forwarded: bool


def build_app(deps: Deps, front: FrontSettings, own: probes.Probes) -> Front:
    """The application behind uvicorn."""

    async def deactivated(request: Request) -> Response:
        try:
            return await deactivations.file(request, deps)
        except ApiError as error:
            return error_response(error)
        except DatabaseUnavailable:
            return error_response(ApiError(20503, headers=RETRY_AFTER_S))

    async def linked(request: Request) -> Response:
        try:
            return await media.linked(request, deps)
        except ApiError as error:
            return error_response(error)
        except DatabaseUnavailable:
            return error_response(ApiError(20503, headers=RETRY_AFTER_S))

    async def shortened(request: Request) -> Response:
        try:
            return await short_links.follow(request, deps)
        except DatabaseUnavailable:
            return error_response(ApiError(20503, headers=RETRY_AFTER_S))

    routes = [
        *probes.routes(own, deps.directory),
        Route("/openapi.json", openapi.serve),
        Route("/docs", openapi.docs),
        Route(deactivations.FILES, deactivated),
        Route(media.LINKS, linked),
        Route(short_links.PATH, shortened),
        *(
            Route(resource.path, _endpoint(deps, resource), methods=METHODS)
            for resource in RESOURCES
        ),
    ]
    return Front(
        Starlette(
            routes=routes, exception_handlers={404: _no_route, 405: _no_method, 500: _broken}
        ),
        front,
        deps,
    )


class Front:
    """Finds the product, adds the headers that every API answer has
    (docs/spec/twilio-api.md#rate-limiting-and-response-headers)."""

    def __init__(self, app: ASGIApp, settings: FrontSettings, deps: Deps) -> None:
        # What is behind it, for requests whose product and origin are found already.
        self.inner = app
        self._app = app
        self._settings = settings
        self._deps = deps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path in PLAIN:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        place = resolve(host, path, self._settings.base_domain)
        response = None
        if place is None and CODE.fullmatch(path[1:]):
            scope = {**scope, "path": f"/links{path}", "tandem.path": path}
        elif place is None and (domain := short_links.domain_of(self._deps.directory, host)):
            scope = {
                **scope,
                "path": f"/short{path}",
                "raw_path": None,
                "tandem.path": path,
                short_links.DOMAIN: domain,
            }
        elif place is None:
            response = error_response(not_found(path))
        else:
            scheme = scope["scheme"]
            if self._settings.trust_forwarded:
                scheme = headers.get(b"x-forwarded-proto", scheme.encode()).decode("latin-1")
            origin = (self._settings.public_url or f"{scheme}://{host}").rstrip("/")
            scope = {
                **scope,
                "path": f"/{place.product}{place.path}",
                "raw_path": None,
                "root_path": "",
                "tandem.origin": origin + place.prefix,
                "tandem.path": place.path,
            }

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],  # type: ignore[misc]
                    *common_headers(
                        self._deps.random.getrandbits(128), time.perf_counter() - started
                    ),
                ]
            await send(message)

        if response is not None:
            await response(scope, receive, with_headers)  # type: ignore[arg-type]
            return
        await self._app(scope, receive, with_headers)  # type: ignore[arg-type]


def common_headers(request_bits: int, duration_s: float) -> list[tuple[bytes, bytes]]:
    return [
        (b"twilio-request-id", b"RQ%032x" % request_bits),
        (b"twilio-request-duration", b"%.3f" % duration_s),
    ]


def error_response(error: ApiError) -> Response:
    return Response(
        error.body(),
        status_code=error.status,
        headers=error.headers,
        media_type="application/json",
    )


async def _no_route(request: Request, error: Exception) -> Response:
    return error_response(not_found(request.scope.get("tandem.path", request.url.path)))


async def _no_method(request: Request, error: Exception) -> Response:
    allowed = error.headers if isinstance(error, HTTPException) else None
    return error_response(ApiError(20004, headers=dict(allowed or {})))


async def _broken(request: Request, error: Exception) -> Response:
    return error_response(ApiError(20500))


def _endpoint(deps: Deps, resource: Resource) -> Callable[[Request], Awaitable[Response]]:
    handlers = resource.handlers
    allowed = {"Allow": ", ".join([*handlers, *(["HEAD"] if "GET" in handlers else [])])}

    async def endpoint(request: Request) -> Response:
        account_id, under_way, bulk_of = 0, 0, 0

        def large() -> None:
            nonlocal bulk_of
            sender = Call(request, deps, b"").account.id
            deps.gate.enter_bulk(sender)
            bulk_of = sender

        try:
            body = await _read(request, resource.body_limit, large)
            call = Call(request, deps, body)
            under_way = deps.gate.enter(call.account.id)
            account_id = call.account.id
            handler = handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                raise ApiError(20004, headers=dict(allowed))
            if call.credential.test:
                if resource.tested is None or request.method != "POST":
                    raise ApiError(20008)
                handler = resource.tested
            response = await handler(call)
        except ApiError as error:
            if error.code == 20003 and not account_id:
                await _slow_down(request, deps.logins)
            response = error_response(error)
        except BadRow as error:  # a NUL in a text, a number beyond its column
            log.info("%s %s: %s", request.method, request.url.path, error)
            response = error_response(ApiError(20001, unkept(call)))
        except ClientDisconnect:
            response = Response(status_code=499)
        except DatabaseUnavailable as error:
            log.warning(
                "%s %s: the database: %r", request.method, request.url.path, error, extra=AWAY
            )
            response = error_response(
                ApiError(20503, "the database can't be reached; try again", headers=RETRY_AFTER_S)
            )
        finally:
            if account_id:
                deps.gate.leave(account_id)
            if bulk_of:
                deps.gate.leave_bulk(bulk_of)
        if under_way:
            response.headers["Twilio-Concurrent-Requests"] = str(under_way)
        return response

    return endpoint


async def _slow_down(request: Request, logins: Logins) -> None:
    """Count a login that failed; wait where its address has many."""
    wait_s = logins.wait_s(
        request.headers.get("authorization", "").encode("latin-1", "replace"),
        request.client.host if request.client else "",
        request.headers.get("x-forwarded-for", "").encode("latin-1", "replace"),
    )
    if wait_s:
        await logins.wait(wait_s)


async def _read(request: Request, limit: int, large: Callable[[], None]) -> bytes:
    """The whole body, up to the limit; `large` is called before one above 64 kB is read on.

    Raises ApiError 20413 (HTTP 413) above the limit.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        before, size = size, size + len(chunk)
        if size > limit:
            raise ApiError(20413)
        if size > SINGLE_BODY_LIMIT >= before:
            large()
        chunks.append(chunk)
    return b"".join(chunks)
