"""One gateway process, put together: database, pipeline, webhooks, HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from random import Random

from gateway.api.http.limits import Gate
from gateway.api.http.logins import Logins
from gateway.api.http.probes import Probes
from gateway.backlog.backup_hold import remind_of_held
from gateway.cluster.session_lock import GatewayLock, WorkerIdentity, new_run
from gateway.conversations.service import Conversations
from gateway.enrichment.enricher import Enricher
from gateway.inbound.effects import InboundEffects
from gateway.inbound.handlers import Handlers
from gateway.inbound.receive import InboundStage
from gateway.inbound.replays import Replays
from gateway.monitoring.all_workers import AllWorkers
from gateway.monitoring.listener import ProbeListener
from gateway.monitoring.metrics import Stages
from gateway.monitoring.queue_watch import Watch
from gateway.observe.alerts import Alerts
from gateway.outward import Outward
from gateway.pipeline.assembly import Pipeline
from gateway.pipeline.running import start, stop
from gateway.runtime.clock import Clock, SystemClock
from gateway.runtime.random_source import Chance
from gateway.server import ApiServer, listen
from gateway.settings import Settings
from gateway.startup import (
    close_pool,
    ensure_account,
    own_database,
    prepare_database,
    runtime_of,
    take_lock,
    warn_of,
)
from gateway.webhooks.callbacks import Callbacks
from gateway.webhooks.clicks import Clicks
from storage.database import Database
from storage.embedded import EmbeddedPostgres
from storage.safety import Unsafe

log = logging.getLogger(__name__)

# A stop takes ten seconds at most (docs/reliability.md): so long for the carriers' answers.
DRAIN_S = 4.0
OPENS_S = 2.0  # for the connection that accepts: the database was there a moment ago


class Gateway:
    """Start, run until `stop` is set, and leave nothing half done."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        place: WorkerIdentity | None = None,
    ) -> None:
        """`place`: as one of several workers; None: as the whole gateway."""
        self.settings = settings
        self._place = place
        self.stop = asyncio.Event()
        self.started = asyncio.Event()
        self._clock = clock or SystemClock()
        self._random = random or Chance()
        self.pipeline: Pipeline | None = None
        self.callbacks: Callbacks | None = None
        self.inbound: InboundStage | None = None
        self.handlers: Handlers | None = None
        self.gate = Gate(
            settings.limits.concurrent,
            settings.limits.requests_per_second,
            self._clock.monotonic,
        )
        self.server: ApiServer | None = None
        self.watch: Watch | None = None
        self.probe_listener: ProbeListener | None = None
        self.port = settings.port

    async def run(self) -> None:
        """The whole life of the process. Raises what made it impossible to go on."""
        async with contextlib.AsyncExitStack() as stack:
            url, embedded = await own_database(self.settings, stack)
            run = new_run()
            gateway_lock = await take_lock(
                url, run, self._place, self.settings.allow_unsafe, self.stop
            )
            stack.callback(gateway_lock.close)
            if self.stop.is_set():
                return
            database = Database(url, run, ours=gateway_lock.confirmed)
            listener = listen(
                self.settings.host, self.settings.port, shared=self._place is not None
            )
            stack.callback(listener.close)
            self.port = listener.getsockname()[1]
            pipeline = self.pipeline = await self._pipeline(database, stack)
            outward = Outward(self.settings, pipeline, stack)
            teller = await outward.client("callbacks")
            callbacks = self.callbacks = outward.callbacks(teller)
            enricher = await outward.enricher(self.port)
            conversations = await outward.conversations()
            handlers = self.handlers = outward.handlers(
                await outward.client("inbound"), conversations.take
            )
            inbound = self.inbound = self._inbound(pipeline, handlers)
            self._watch_lock(pipeline, gateway_lock, embedded)
            await start(pipeline)
            # Now that our numbers are known: parts that a former run left are read by them.
            pipeline.stages.start("inbound", inbound.run())
            pipeline.stages.start("handlers", handlers.run())
            pipeline.stages.start("gathering", enricher.run())
            for name, stage in conversations.stages():
                pipeline.stages.start(name, stage)
            stack.push_async_callback(stop, pipeline, DRAIN_S)
            posting = asyncio.create_task(callbacks.run(), name="callbacks")
            stack.push_async_callback(_cancel, posting)
            pipeline.stages.start("debugger", outward.debugger(teller).run())
            clicks = outward.clicks(teller)
            pipeline.stages.start("clicks", clicks.run())
            self.server = ApiServer(self.settings, pipeline, self.gate, self._logins)
            probes = await self._observed(pipeline, outward, enricher, stack)
            with contextlib.suppress(TimeoutError):  # without it, every send is a 503
                async with asyncio.timeout(OPENS_S):
                    await pipeline.acceptor.connected()
            if (links := pipeline.runtime.peers.links) is not None:
                pipeline.stages.start("links", links.run())
            await self._serve(pipeline, conversations, clicks, probes, posting, listener)

    async def _pipeline(self, database: Database, stack: contextlib.AsyncExitStack) -> Pipeline:
        unsafe = await prepare_database(database, self.settings.allow_unsafe)
        pool = await database.open_pool()
        stack.push_async_callback(close_pool, pool)
        await ensure_account(pool, self.settings, self._random)
        runtime = runtime_of(self.settings, database, pool, self._clock, self._random, self._place)
        pipeline = Pipeline(self.settings, runtime)
        if runtime.ownership.share.slot == 0:
            self._warn_of(unsafe, runtime.alerts)
            await remind_of_held(pool, runtime.alerts)
        self._logins = Logins(
            runtime.alerts,
            self._clock.monotonic,
            trust_forwarded=self.settings.trust_forwarded,
            stop=self.stop,
        )
        return pipeline

    def _warn_of(self, unsafe: Sequence[Unsafe], alerts: Alerts) -> None:
        warn_of(unsafe, alerts)

    def _inbound(self, pipeline: Pipeline, handlers: Handlers) -> InboundStage:
        ways = pipeline.ways
        runtime, router = pipeline.runtime, pipeline.router
        effects = InboundEffects(runtime, router, ways.network_opt_out, pipeline.send_stored)
        inbound = InboundStage(runtime, ways.profile_of, handlers.handle, effects)
        pipeline.events.inbound = inbound
        return inbound

    def _watch_lock(
        self, pipeline: Pipeline, gateway_lock: GatewayLock, embedded: EmbeddedPostgres | None
    ) -> None:
        gateway_lock.changed = lambda held: pipeline.suspend(not held)
        pipeline.allow_while(gateway_lock.confirmed)
        pipeline.stages.start("tenure", gateway_lock.run())
        if embedded is not None:
            pipeline.stages.start("postgres", embedded.keep(self.stop))

    async def _observed(
        self,
        pipeline: Pipeline,
        outward: Outward,
        enricher: Enricher,
        stack: contextlib.AsyncExitStack,
    ) -> Probes:
        """What stands still is noticed, and the process says how it is."""
        assert self.callbacks is not None
        assert self.handlers is not None
        assert self.inbound is not None
        assert self.server is not None
        watch = self.watch = Watch(pipeline, enricher, self.settings.watchdog, self._clock)
        pipeline.stages.start("watchdog", watch.run())
        stages = Stages(
            pipeline,
            self.callbacks,
            self.handlers,
            self.inbound,
            enricher,
            watch,
            self.gate,
            self._logins,
            outward.connections,
            self.server.caches,
        )
        probes = AllWorkers(stages, self.settings.metrics, self.stop).probes()
        metrics = self.settings.metrics
        if metrics.port is not None:
            listener = self.probe_listener = ProbeListener(probes)
            await listener.start(metrics.host, metrics.port, shared=self._place is not None)
            stack.push_async_callback(listener.stop)
        return probes

    async def _serve(
        self,
        pipeline: Pipeline,
        conversations: Conversations,
        clicks: Clicks,
        probes: Probes,
        posting: asyncio.Task[None],
        listener: socket.socket,
    ) -> None:
        """Until `stop` is set, or a stage fails."""
        server = self.server
        assert server is not None
        assert self.callbacks is not None
        assert self.handlers is not None
        replays = Replays(pipeline.runtime, self.callbacks, self.handlers)
        app = server.app(conversations, clicks, probes, replays.again)
        failing = asyncio.create_task(pipeline.stages.failed(), name="pipeline watch")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        try:
            async with server.serving(app, listener, shared=self._place is not None) as serving:
                log.info(
                    "listening on http://%s:%d",
                    self.settings.host,
                    self.port,
                    extra={"event": "listening", "port": self.port},
                )
                self.started.set()
                done, _ = await asyncio.wait(
                    (serving, failing, stopping, posting), return_when=asyncio.FIRST_COMPLETED
                )
            for task in done - {stopping}:
                task.result()
        finally:
            for task in (failing, stopping):
                task.cancel()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
