"""The API on its sockets: what a request needs, uvicorn, and the listeners of `*.twilio.com`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import uvicorn

from gateway.acceptance.forecast import Forecast
from gateway.api.app import FrontSettings, build_app
from gateway.api.fastlane import fast_lane
from gateway.api.forwarded import ForwardedRequests
from gateway.api.http.errors import ApiError
from gateway.api.http.heads import KnownRequests
from gateway.api.http.limits import Gate, Quota, Turnstile
from gateway.api.http.logins import Logins
from gateway.api.http.probes import Probes
from gateway.api.messages.create_message import Creation, ScheduleRules
from gateway.api.resources import Deps
from gateway.api.routes import body_limit
from gateway.content import shortening
from gateway.conversations.service import Conversations
from gateway.enrichment.media_links import new_code
from gateway.pipeline.assembly import Pipeline
from gateway.proxy.authority import Authority, AuthorityError
from gateway.proxy.listeners import Listeners
from gateway.runtime.second_sight import SecondSight
from gateway.settings import ConfigurationError, Settings
from gateway.webhooks.clicks import Clicks
from storage.lists import Lists
from storage.messages import MessageRow

log = logging.getLogger(__name__)

LISTS_IN_ALL = 5  # read at once, of eight connections of the pool
# requests of an account with consents or contacts
# (docs/spec/messaging-services.md#bulk-consent-and-contacts)
BULK_PER_MINUTE = 100
# A stop takes ten seconds at most (docs/reliability.md): so long for requests under way.
HTTP_DRAIN_S = 2.0


class _Server(uvicorn.Server):
    """Uvicorn without signal handling: the process has one owner of its signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    """Answers requests until it is told to end."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        gate: Gate,
        logins: Logins,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._gate = gate
        self._logins = logins
        runtime = self._runtime = pipeline.runtime
        self.listeners: Listeners | None = None
        self._forwarded = ForwardedRequests(runtime, pipeline.canceler)
        self.known = KnownRequests(on=settings.caches)
        self.creation = Creation(
            directory=runtime.directory,
            acceptor=pipeline.acceptor,
            router=pipeline.router,
            next_id=runtime.next_id,
            clock=runtime.clock,
            legacy_21606=settings.legacy_21606,
            new_code=partial(new_code, runtime.random, shortening.LENGTH),
            forwarded=self._forwarded,
            shapes=SecondSight(on=settings.caches),
            forecast=Forecast(runtime.directory, pipeline.router),
            schedule=ScheduleRules(
                least_s=settings.scheduling.least_s,
                most_s=settings.scheduling.most_s,
                most_held=settings.scheduling.most_held,
                held=lambda account_id: pipeline.scheduler.held[account_id],
            ),
        )

    @property
    def caches(self) -> dict[str, SecondSight[Any, Any]]:
        """What is kept of requests, by what that is."""
        return {
            "heads": self.known.heads,
            "credentials": self.known.credentials,
            "shapes": self.creation.shapes,
        }

    def app(
        self,
        conversations: Conversations,
        clicks: Clicks,
        probes: Probes,
        replay: Callable[[MessageRow], None],
    ) -> Any:
        """The ASGI application; `replay` makes a row owe its webhooks once more."""
        settings, pipeline, forwarded = self._settings, self._pipeline, self._forwarded
        deps = Deps(
            directory=pipeline.runtime.directory,
            pool=pipeline.runtime.pool,
            creation=self.creation,
            random=self._runtime.random,
            refresh=pipeline.configuration.spread,
            default_carrier_id=self._default_carrier_id,
            connectors=pipeline.connectors,
            receipts=pipeline.receipts,
            journal=pipeline.runtime.journal,
            replay=forwarded.replay,
            conversations=conversations,
            alerts=pipeline.runtime.alerts,
            clicks=clicks,
            limits=settings.limits,
            lists=Lists(pipeline.runtime.pool, settings.limits.list_s),
            turnstile=Turnstile(settings.limits.lists, settings.limits.lists_waiting, LISTS_IN_ALL),
            pool_limit=settings.pool_limit,
            subaccount_limit=settings.subaccount_limit,
            gate=self._gate,
            logins=self._logins,
            bulk_quota=Quota(BULK_PER_MINUTE, 60.0, self._runtime.clock.monotonic),
            forwarded=forwarded,
        )
        front = FrontSettings(
            public_url=settings.public_url,
            base_domain=settings.base_domain,
            trust_forwarded=settings.trust_forwarded,
        )
        app = build_app(deps, front, probes)
        forwarded.serve(self.creation, app.inner, replay)
        return app

    @contextlib.asynccontextmanager
    async def serving(
        self, app: Any, listener: socket.socket, *, shared: bool
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Serve on `listener`, and for `*.twilio.com` where that is configured; at the end requests
        under way are answered.
        """
        server = _Server(
            uvicorn.Config(
                app,
                http=fast_lane(
                    self.creation,
                    self._runtime.random,
                    self._gate,
                    self._logins,
                    partial(body_limit, base_domain=self._settings.base_domain),
                    self.known,
                ),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=int(HTTP_DRAIN_S),
            )
        )
        listeners = await self._stand_in(server, shared)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        yield task
        if (links := self._runtime.peers.links) is not None:
            links.end()
        if listeners is not None:
            await listeners.stop()
        server.should_exit = True
        await task

    async def _stand_in(self, server: _Server, shared: bool) -> Listeners | None:
        """Open the listeners that answer for `*.twilio.com`, where configured."""
        proxy = self._settings.proxy
        if proxy.port is None and proxy.tls_port is None:
            return None
        try:
            authority = Authority(self._settings.proxy_folder)
            context = await asyncio.to_thread(authority.server_context)
        except AuthorityError as error:
            raise ConfigurationError(str(error)) from error
        config = server.config
        config.load()
        protocol: Any = config.http_protocol_class
        listeners = self.listeners = Listeners(
            lambda: protocol(config=config, server_state=server.server_state, app_state={}),
            authority,
            context,
        )
        try:
            await listeners.start(
                (proxy.host, proxy.tls_port) if proxy.tls_port is not None else None,
                (proxy.host, proxy.port) if proxy.port is not None else None,
                shared=shared,
            )
        except OSError as error:
            raise ConfigurationError(f"the proxy can't listen: {error}") from error
        log.info(
            "standing in for *.twilio.com: TLS on port %d, proxy on port %s",
            listeners.tls_port,
            listeners.proxy_port or "none",
        )
        return listeners

    def _default_carrier_id(self) -> int:
        """The first of the configuration file; without one there, the oldest."""
        known = self._pipeline.runtime.directory.carriers
        for name in (*(carrier.name for carrier in self._settings.carriers), *known):
            if name in known:
                return known[name].id
        raise ApiError(20001, "there is no carrier: add one to tandem.toml")


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """The API's socket; `shared` with the other workers, between which the kernel deals."""
    try:
        listener = socket.create_server((host, port), backlog=2048, reuse_port=shared)
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host}:{port}: {error.strerror or error} (set TANDEM_PORT to another)"
        ) from None
    # Accepted connections inherit it; an event loop sets it itself only where it made the socket.
    # Without it an answer of two writes waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
