"""`/healthz`, `/readyz` and `/metrics`: the process as its operator's machines see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.api.http.auth import authenticate
from gateway.api.http.errors import ApiError
from gateway.directory.directory import Directory

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Readiness:
    """What `/readyz` says."""

    # Whether messages are accepted.
    ready: bool
    # Whether at least one carrier takes them now.
    sends: bool
    reasons: tuple[str, ...] = ()
    database: bool = True
    carriers: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        healthy = self.ready and self.sends and not self.reasons
        return {
            "status": "ready" if healthy else "degraded" if self.ready else "not ready",
            "reasons": self.reasons,
            "database": "up" if self.database else "away",
            "carriers": self.carriers,
        }


@dataclass(frozen=True, slots=True)
class Probes:
    """What the process says of itself."""

    readiness: Callable[[], Awaitable[Readiness]]
    loop_lag: Callable[[], float]
    # Metrics in a form that the `Accept` header takes, and the name of that form.
    exposition: Callable[[str], Awaitable[tuple[bytes, str]]]
    # Lets in who has no account's credentials; None: nobody.
    token: str | None


def routes(probes: Probes, directory: Directory | None) -> list[Route]:
    """The three; with a directory, `/metrics` asks who is there."""

    async def healthz(request: Request) -> Response:
        # That it is answered says that the loop runs: a stage that fails ends the process.
        return JSONResponse({"status": "ok", "loop_lag_s": round(probes.loop_lag(), 3)})

    async def readyz(request: Request) -> Response:
        """200 while messages are accepted; with `?require=sending`, while they also leave."""
        now = await probes.readiness()
        wanted = now.ready and (now.sends or request.query_params.get("require") != "sending")
        return JSONResponse(now.body, status_code=200 if wanted else 503)

    async def metrics(request: Request) -> Response:
        try:
            if directory is not None:
                _check_reader(request, directory, probes.token)
        except ApiError as error:
            return PlainTextResponse(
                f"{error.message}\n", status_code=error.status, headers=error.headers
            )
        content, kind = await probes.exposition(request.headers.get("accept", ""))
        return Response(content, headers={"Content-Type": kind})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


def _check_reader(request: Request, directory: Directory, token: str | None) -> None:
    """Metrics name senders and say how much is sent: for the operator. Raises ApiError.

    No exception for loopback: behind a proxy on the same machine everybody comes from there.
    """
    given = request.headers.get("authorization", "").encode()
    if token is not None and given[:7].lower() == b"bearer ":
        if compare_digest(given[7:].strip(), token.encode()):
            return
        raise ApiError(20003)
    credential = authenticate(directory, given or None)
    if credential.test or not credential.manages or credential.account.owner_id is not None:
        raise ApiError(20403, "metrics are the operator's: a parent account's token or Main key")
