"""The simulator's control endpoint: read the ledger, send messages in, change the weather.

GET  /ledger[?destination=]   one JSON object per line for each submit_sm
GET  /counters                running totals, binds, queues
GET  /mo                      subscribers' messages, and when each was answered
POST /mo                      {"from", "to", "text"[, "mode"][, "carrier"]}
POST /scenario                {"carrier": name, …}: keys of a [[carrier]] table, now
POST /disconnect              {["carrier"][, "bind"][, "how"]}: reset, close, unbind, …

It has no credentials, so it must not be a browser's to use: a page from elsewhere that knows the
port sends its own `Origin`, or (when its name was made to mean this machine) its own `Host`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from smpp.smsc.scenario import ScenarioError, changed

if TYPE_CHECKING:
    from smpp.smsc.connection import SmscConnection
    from smpp.smsc.server import Smsc

_BODY_LIMIT = 256 * 1024
_LONGEST_S = 86_400.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOW = ("reset", "close", "unbind", "half_open", "stall")


class _Bad(Exception):
    """A request that cannot be served; the text says why."""


class Control:
    """The HTTP side of a simulator, in the same event loop."""

    def __init__(self, smsc: Smsc) -> None:
        self._smsc = smsc
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.app = Starlette(
            routes=[
                Route("/ledger", self._ledger),
                Route("/mo", self._inbound),
                Route("/counters", self._counters),
                Route("/mo", self._mo, methods=["POST"]),
                Route("/scenario", self._scenario, methods=["POST"]),
                Route("/disconnect", self._disconnect, methods=["POST"]),
            ],
            exception_handlers={
                _Bad: _bad,
                ScenarioError: _bad,
                404: _refused,
                405: _refused,
                500: _broken,
            },
        )

    async def start(self, host: str, port: int) -> int:
        """Listen, return the port.

        uvicorn's protocol without its server: that one takes over the process's
        signals, and the simulator lives inside other programs.
        """
        app = _OwnHostOnly(self.app, host)
        config = Config(app, lifespan="off", access_log=False, log_config=None, ws="none")
        config.load()
        state = self._state
        self._server = await asyncio.get_running_loop().create_server(
            lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), host, port
        )
        sock: socket.socket = self._server.sockets[0]
        bound_port: int = sock.getsockname()[1]
        return bound_port

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=1.0)
        await self._server.wait_closed()

    # Requests -------------------------------------------------------------------

    async def _ledger(self, request: Request) -> Response:
        lines = self._smsc.ledger.lines(request.query_params.get("destination", ""))

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := b"".join(islice(lines, 200)):
                yield chunk
                await asyncio.sleep(0)  # SMPP goes on between two chunks

        return StreamingResponse(chunks(), media_type="application/x-ndjson")

    async def _inbound(self, request: Request) -> Response:
        return JSONResponse([entry.rendered() for entry in self._smsc.ledger.inbound])

    async def _counters(self, request: Request) -> Response:
        smsc = self._smsc
        return JSONResponse(
            {
                **asdict(smsc.counters),
                "carriers": {
                    carrier.scenario.name: {
                        "binds": [bind.name for bind in carrier.connections],
                        "waiting": carrier.waiting,
                        "port": smsc.ports[carrier.scenario.name],
                    }
                    for carrier in smsc.carriers
                },
            }
        )

    async def _mo(self, request: Request) -> Response:
        body = await _json(request)
        carrier = self._carrier(body)
        try:
            parts, binds = carrier.mobile_originated(
                _text(body, "from"),
                _text(body, "to"),
                _text(body, "text"),
                body.get("mode", "udh8"),
            )
        except (ValueError, TypeError) as error:
            raise _Bad(str(error)) from error
        return JSONResponse({"parts": parts, "binds": binds, "waiting": carrier.waiting})

    async def _scenario(self, request: Request) -> Response:
        body = await _json(request)
        carriers = [self._carrier(body)] if body.get("carrier") else self._smsc.carriers
        change = {key: value for key, value in body.items() if key != "carrier"}
        try:
            after = [changed(carrier.scenario, change) for carrier in carriers]
        except (TypeError, OverflowError) as error:
            raise _Bad(str(error)) from error
        for carrier, scenario in zip(carriers, after, strict=True):
            carrier.configure(scenario)
        return JSONResponse({"carriers": [carrier.scenario.name for carrier in carriers]})

    async def _disconnect(self, request: Request) -> Response:
        body = await _json(request)
        how = body.get("how", "reset")
        if how not in _HOW:
            raise _Bad(f"how is one of {', '.join(_HOW)}")
        seconds = body.get("seconds", 1.0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
            raise _Bad('"seconds" is no number of seconds')
        carriers = [self._carrier(body)] if body.get("carrier") else self._smsc.carriers
        wanted = body.get("bind")
        hit = [
            bind
            for carrier in carriers
            for bind in list(carrier.connections)
            if wanted is None or bind.name == wanted
        ]
        for bind in hit:
            _end(bind, how, min(float(seconds), _LONGEST_S))
        return JSONResponse({"binds": len(hit)})

    def _carrier(self, body: dict[str, Any]) -> Any:
        try:
            return self._smsc.carrier(str(body.get("carrier", "")))
        except KeyError as error:
            raise _Bad(f"no carrier {error}") from error


def _end(bind: SmscConnection, how: str, seconds: float) -> None:
    if how == "reset":
        bind.disconnect()
    elif how == "close":
        bind.close()
    elif how == "unbind":
        bind.unbind()
    elif how == "half_open":
        bind.go_deaf()
    else:
        bind.stall(seconds)


async def _json(request: Request) -> dict[str, Any]:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BODY_LIMIT:
            raise _Bad(f"body over {_BODY_LIMIT} octets")
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Bad(f"body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise _Bad("body is no JSON object")
    return body


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise _Bad(f'"{key}" is missing, or no string')
    return value


async def _bad(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return JSONResponse({"error": f"{request.method} {request.url.path}"}, status_code=status)


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": type(error).__name__}, status_code=500)


class _OwnHostOnly:
    """Refuses what was written for another host, and what a page of another origin asks for."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._hosts = _LOOPBACK | {host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            origin = request.headers.get("origin")
            hosts = [request.headers.get("host", "")]
            if origin is not None:
                hosts.append(urlsplit(origin).netloc)
            if any(_name_of(host) not in self._hosts for host in hosts):
                refusal = JSONResponse({"error": "not for this host"}, status_code=403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name_of(host: str) -> str:
    """Without the port."""
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdigit() else host).lower()
