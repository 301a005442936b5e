"""One gateway process, put together: database, pipeline, webhooks, HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

import uvicorn

from gateway.acceptance.forecast import Forecast
from gateway.api.app import FrontSettings, build_app
from gateway.api.http.errors import ApiError
from gateway.api.http.fastlane import fast_lane
from gateway.api.http.forwarding import Elsewhere, Nowhere
from gateway.api.http.limits import Gate, Quota, Turnstile
from gateway.api.http.logins import Logins
from gateway.api.http.probes import Probes, Readiness
from gateway.api.http.resources import Deps
from gateway.api.messages.create_message import Creation, ScheduleRules
from gateway.api.operator.carriers import statuses
from gateway.api.routes import body_limit
from gateway.backlog.restore import remind_of_held
from gateway.cluster.session_lock import GatewayLock, WorkerIdentity, keys_of, new_run
from gateway.cluster.share import ALONE
from gateway.content import shortening
from gateway.conversations.service import Conversations
from gateway.enrichment.enricher import Enricher
from gateway.enrichment.media_fetch import Fetcher
from gateway.enrichment.media_links import new_code
from gateway.enrichment.number_lookup import CarrierLookup
from gateway.inbound.effects import InboundEffects
from gateway.inbound.handlers import Converse, Handlers
from gateway.inbound.keywords import OptOuts
from gateway.inbound.receive import InboundStage
from gateway.inbound.replies import Replies
from gateway.inbound.webhook_call import Runner
from gateway.messages.message import Direction
from gateway.messages.rows import from_row
from gateway.monitoring.listener import ProbeListener
from gateway.monitoring.merge import merged
from gateway.monitoring.metrics import Exposition, Stages
from gateway.monitoring.queue_watch import Watch
from gateway.monitoring.readiness import readiness, stuck, together
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.opt_out.scope import network_could
from gateway.pipeline.assembly import Pipeline
from gateway.proxy.authority import Authority, AuthorityError
from gateway.proxy.listeners import Listeners
from gateway.relay import Relay
from gateway.runtime.clock import Clock, SystemClock
from gateway.runtime.random_source import Chance
from gateway.settings import ConfigurationError, Settings
from gateway.webhooks.callbacks import Callbacks
from gateway.webhooks.clicks import Clicks
from gateway.webhooks.client import WebhookClient, WebhookRequest, WebhookResponse
from gateway.webhooks.connections import Connections
from gateway.webhooks.cookies import Cookies
from gateway.webhooks.debugger import Debugger
from gateway.webhooks.guard import Guard
from gateway.webhooks.host_names import HostNames
from gateway.webhooks.signature import signed_url
from storage import config as config_rows
from storage import messages as message_rows
from storage.database import (
    ConnectionPool,
    Database,
    DatabaseRefused,
    DatabaseUnavailable,
    Row,
    TooFewRights,
)
from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.lists import Lists
from storage.migrate import migrate
from storage.safety import LOSES, Danger, Unsafe, dangers

log = logging.getLogger(__name__)

LISTS_IN_ALL = 5  # read at once, of eight connections of the pool
# requests of an account with consents or contacts
# (docs/spec/messaging-services.md#bulk-consent-and-contacts)
BULK_PER_MINUTE = 100
# for the webhooks of conversations (docs/spec/twilio-api.md#conversations-v1)
CONVERSATION_WAIT_S = 5.0
UNSAFE_DATABASE = 99003  # an alert of ours
# A stop takes ten seconds at most (docs/reliability.md): so long for requests under way, then for
# the carriers' answers, then for connections of the database that are busy.
HTTP_DRAIN_S = 2.0
DRAIN_S = 4.0
POOL_CLOSES_S = 1.0
OPENS_S = 2.0  # for the connection that accepts: the database was there a moment ago


class _Server(uvicorn.Server):
    """Uvicorn without signal handling: the process has one owner of its signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        self._share = place.share if place is not None else ALONE
        self._relay: Relay | None = None
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
        self._failing: Logins | None = None
        self.listeners: Listeners | None = None
        self.watch: Watch | None = None
        self.probe_listener: ProbeListener | None = None
        self.port = settings.port

    async def run(self) -> None:
        """The whole life of the process. Raises what made it impossible to go on."""
        async with contextlib.AsyncExitStack() as stack:
            url = self.settings.database_url
            embedded = None
            if url is None:
                embedded = EmbeddedPostgres(self.settings.data_dir / "postgres")
                try:
                    url = await embedded.start()
                except EmbeddedPostgresError as error:
                    raise ConfigurationError(str(error)) from error
                stack.push_async_callback(embedded.stop)
            run = new_run()
            gateway_lock = await self._gateway_lock(url, run, stack)
            if self.stop.is_set():
                return
            database = Database(url, run, ours=gateway_lock.confirmed)
            listener = _listen(
                self.settings.host, self.settings.port, shared=self._place is not None
            )
            stack.callback(listener.close)
            self.port = listener.getsockname()[1]
            unsafe = await _prepare_database(database, self.settings.allow_unsafe)
            pool = await database.open_pool()
            stack.push_async_callback(_close, pool)
            await self._ensure_account(pool)
            pipeline = self.pipeline = Pipeline(
                self.settings, database, pool, self._clock, self._random, self._share
            )
            run_id = f"{self._random.getrandbits(32):08x}"
            if self._place is not None:
                relay = self._relay = Relay(self._place.folder, self._share, pipeline, run_id)
                pipeline.handover.others = relay
            if self._share.slot == 0:
                self._warn_of(unsafe, pipeline.alerts)
                await remind_of_held(pool, pipeline.alerts)
            outward = self._connections()
            names = HostNames(self.settings.webhooks.nameservers)
            stack.push_async_callback(names.close)
            client = await stack.enter_async_context(
                self._webhook_client(pipeline, names, outward["callbacks"])
            )
            asking = await stack.enter_async_context(
                self._webhook_client(pipeline, names, outward["inbound"])
            )
            callbacks = self.callbacks = Callbacks(
                client,
                pipeline.directory,
                self._clock,
                self._random,
                pipeline.alerts,
                pipeline.walls.of("callbacks"),
                outward["callbacks"],
                per_host=self.settings.webhooks.connections_per_host,
                retry_for_s=self.settings.webhooks.retry_for_s,
                event_parameters=self.settings.webhooks.event_parameters,
                acknowledged=pipeline.writer.mark,
                sweep=pipeline.sweep_callbacks,
                exists=partial(message_rows.exists, pool),
                carrier_parameters=pipeline.ways.callback_tlvs,
            )
            pipeline.after_commit.owe_callbacks = callbacks.owe
            fetcher = await stack.enter_async_context(self._fetcher(names))
            lookup = self._lookup(pipeline)
            if lookup is not None:
                await stack.enter_async_context(lookup)
                pipeline.router.lookup = lookup
            gathering = self._gathering(pipeline, fetcher, lookup, outward["media"])
            pipeline.assigner.gather = gathering.hold
            patient = await stack.enter_async_context(
                self._webhook_client(None, names, outward["conversations"], CONVERSATION_WAIT_S)
            )
            conversations = self._conversations(pipeline, patient)
            handlers = self.handlers = self._handlers(
                pipeline, asking, outward["inbound"], conversations.take
            )
            inbound = self.inbound = InboundStage(
                database,
                pipeline.directory,
                pipeline.next_id,
                pipeline.ways.profile_of,
                pipeline.alerts,
                self._clock,
                handle=handlers.handle,
                effects=self._effects(pipeline),
                run_id=run_id,
                wall=pipeline.walls.of("inbound"),
            )
            pipeline.events.inbound = inbound
            gateway_lock.changed = lambda held: pipeline.suspend(not held)
            pipeline.allow_while(gateway_lock.confirmed)
            pipeline.stages.start("tenure", gateway_lock.run())
            if embedded is not None:
                pipeline.stages.start("postgres", embedded.keep(self.stop))
            pipeline.stages.start("inbound", inbound.run())
            await pipeline.start()
            pipeline.stages.start("handlers", handlers.run())
            pipeline.stages.start("gathering", gathering.run())
            for name, stage in conversations.stages():
                pipeline.stages.start(name, stage)
            stack.push_async_callback(pipeline.stop, DRAIN_S)
            posting = asyncio.create_task(callbacks.run(), name="callbacks")
            stack.push_async_callback(_cancel, posting)
            debugger = Debugger(
                client, pipeline.directory, self._clock, self._random, outward["callbacks"]
            )
            pipeline.alerts.written = debugger.tell
            pipeline.stages.start("debugger", debugger.run())
            clicks = Clicks(
                client,
                pipeline.directory,
                self._clock,
                self._random,
                pipeline.alerts,
                outward["callbacks"],
            )
            pipeline.stages.start("clicks", clicks.run())
            watch = self.watch = Watch(pipeline, gathering, self.settings.watchdog, self._clock)
            pipeline.stages.start("watchdog", watch.run())
            probes = self._probes(
                Stages(
                    pipeline,
                    callbacks,
                    handlers,
                    inbound,
                    gathering,
                    watch,
                    self.gate,
                    self._logins(pipeline),
                    outward,
                )
            )
            if self.settings.metrics.port is not None:
                stack.push_async_callback(await self._listen_for_probes(probes))
            with contextlib.suppress(TimeoutError):  # without it, every send is a 503
                async with asyncio.timeout(OPENS_S):
                    await pipeline.acceptor.connected()
            if self._relay is not None:
                pipeline.stages.start("links", self._relay.links.run())
            await self._serve(pipeline, gathering, conversations, clicks, probes, posting, listener)

    async def _serve(
        self,
        pipeline: Pipeline,
        gathering: Enricher,
        conversations: Conversations,
        clicks: Clicks,
        probes: Probes,
        posting: asyncio.Task[None],
        listener: socket.socket,
    ) -> None:
        relay = self._relay
        logins = self._logins(pipeline)
        elsewhere: Elsewhere = relay if relay is not None else Nowhere()
        creation = Creation(
            directory=pipeline.directory,
            acceptor=pipeline.acceptor,
            router=pipeline.router,
            next_id=pipeline.next_id,
            clock=self._clock,
            legacy_21606=self.settings.legacy_21606,
            new_code=partial(new_code, self._random, shortening.LENGTH),
            elsewhere=elsewhere,
            forecast=Forecast(pipeline.directory, pipeline.router),
            schedule=ScheduleRules(
                least_s=self.settings.scheduling.least_s,
                most_s=self.settings.scheduling.most_s,
                most_held=self.settings.scheduling.most_held,
                held=lambda account_id: pipeline.scheduler.held[account_id],
            ),
        )
        deps = Deps(
            directory=pipeline.directory,
            pool=pipeline.pool,
            creation=creation,
            random=self._random,
            refresh=relay.refresh if relay is not None else pipeline.configuration.read,
            default_carrier_id=self._default_carrier_id,
            connectors=pipeline.connectors,
            receipts=pipeline.receipts,
            journal=pipeline.journal,
            replay=relay.replay if relay is not None else self._replay,
            conversations=conversations,
            alerts=pipeline.alerts,
            clicks=clicks,
            limits=self.settings.limits,
            lists=Lists(pipeline.pool, self.settings.limits.list_s),
            turnstile=Turnstile(
                self.settings.limits.lists, self.settings.limits.lists_waiting, LISTS_IN_ALL
            ),
            pool_limit=self.settings.pool_limit,
            subaccount_limit=self.settings.subaccount_limit,
            gate=self.gate,
            logins=logins,
            bulk_quota=Quota(BULK_PER_MINUTE, 60.0, self._clock.monotonic),
            cancel=relay.cancel if relay is not None else pipeline.canceler.cancel,
            cancel_many=(relay or pipeline.canceler).cancel_many,
            elsewhere=elsewhere,
        )
        front = FrontSettings(
            public_url=self.settings.public_url,
            base_domain=self.settings.base_domain,
            trust_forwarded=self.settings.trust_forwarded,
        )
        app = build_app(deps, front, probes)
        if relay is not None:
            assert self.watch is not None
            still = partial(stuck, self.watch)
            relay.serve(creation, app.inner, self._replay, self._exposition, self._carriers, still)
        server = _Server(
            uvicorn.Config(
                app,
                http=fast_lane(
                    creation,
                    self._random,
                    self.gate,
                    logins,
                    partial(body_limit, base_domain=front.base_domain),
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
        listeners = await self._stand_in(server)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        failing = asyncio.create_task(pipeline.stages.failed(), name="pipeline watch")
        stopping = asyncio.create_task(self.stop.wait(), name="stop")
        log.info(
            "listening on http://%s:%d",
            self.settings.host,
            self.port,
            extra={"event": "listening", "port": self.port},
        )
        self.started.set()
        try:
            done, _ = await asyncio.wait(
                (serving, failing, stopping, posting), return_when=asyncio.FIRST_COMPLETED
            )
            if relay is not None:
                relay.links.end()
            if listeners is not None:
                await listeners.stop()
            server.should_exit = True
            await serving
            for task in done - {stopping}:
                task.result()
        finally:
            for task in (failing, stopping):
                task.cancel()

    def _probes(self, stages: Stages) -> Probes:
        """What the process says of itself."""
        settings = self.settings.metrics
        self._exposition = Exposition(stages, self._clock, settings.most_senders).render
        return Probes(
            readiness=partial(self._readiness, stages),
            loop_lag=lambda: stages.watch.loop_lag,
            exposition=self._all_metrics,
            token=settings.token.get_secret_value() if settings.token is not None else None,
        )

    async def _readiness(self, stages: Stages) -> Readiness:
        """Of this process, with the binds of all workers, and what is stuck at any."""
        own = readiness(stages.pipeline, stages.watch, stopping=self.stop.is_set())
        if self._relay is None:
            return own
        names = {
            carrier.sid: carrier.name for carrier in stages.pipeline.directory.carriers.values()
        }
        carriers, elsewhere = await asyncio.gather(self._relay.carriers(), self._relay.stuck())
        return together(own, carriers, names, elsewhere)

    async def _all_metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics of this process, or of all workers."""
        text, kind = self._exposition(accept)
        if self._relay is None:
            return text, kind
        others = await self._relay.metrics(accept)
        return merged([(self._share.slot, text), *others]), kind

    def _carriers(self) -> dict[str, dict[str, Any]]:
        """How the carriers are in this worker, by SID."""
        assert self.pipeline is not None
        known = self.pipeline.directory.carriers.values()
        return statuses(known, self.pipeline.connectors, self.pipeline.receipts)

    async def _listen_for_probes(self, probes: Probes) -> Callable[[], Awaitable[None]]:
        """Open the listener of the operator's machines; what closes it."""
        settings = self.settings.metrics
        listener = self.probe_listener = ProbeListener(probes)
        try:
            shared = self._place is not None
            await listener.start(settings.host, settings.port or 0, shared=shared)
        except OSError as error:
            raise ConfigurationError(f"metrics.port: can't listen: {error}") from error
        return listener.stop

    async def _stand_in(self, server: _Server) -> Listeners | None:
        """Open the listeners that answer for `*.twilio.com`, where configured."""
        proxy = self.settings.proxy
        if proxy.port is None and proxy.tls_port is None:
            return None
        try:
            authority = Authority(self.settings.proxy_folder)
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
                shared=self._place is not None,
            )
        except OSError as error:
            raise ConfigurationError(f"the proxy can't listen: {error}") from error
        log.info(
            "standing in for *.twilio.com: TLS on port %d, proxy on port %s",
            listeners.tls_port,
            listeners.proxy_port or "none",
        )
        return listeners

    def _warn_of(self, unsafe: Sequence[Unsafe], alerts: Alerts) -> None:
        """The operator accepted these by name: nobody else may come to believe in a 201."""
        for risk in unsafe:
            alerts.alert(UNSAFE_DATABASE, risk.text, subject=risk.danger)

    def _replay(self, row: Row) -> None:
        """A row owes its webhooks once more: call them."""
        assert self.pipeline is not None
        assert self.callbacks is not None
        assert self.handlers is not None
        if row["direction"] == Direction.INBOUND:
            self.handlers.again(from_row(row))
            return
        live = self.pipeline.receipts.live
        message = live.get(row["id"])
        if message is None:
            message = live[row["id"]] = from_row(row)
        message.callbacks_done = 0
        self.callbacks.owe(message)

    def _effects(self, pipeline: Pipeline) -> InboundEffects:
        """What inbound messages change of their writers' standing."""
        opt_outs = OptOuts(
            pipeline.directory,
            pipeline.router,
            pipeline.next_id,
            self._clock,
            lambda record: network_could(record) and pipeline.ways.network_opt_out(record),
        )
        return InboundEffects(
            pipeline.directory, opt_outs, pipeline.router.loads, pipeline.send_stored
        )

    def _conversations(self, pipeline: Pipeline, client: WebhookClient) -> Conversations:
        conversations = Conversations.of(
            client,
            pipeline.directory,
            pipeline.acceptor,
            pipeline.pool,
            pipeline.next_id,
            self._clock,
            self._random,
            pipeline.alerts,
            pipeline.walls.of("conversations"),
        )
        pipeline.after_commit.in_conversation = conversations.deliveries.heard
        return conversations

    def _handlers(
        self,
        pipeline: Pipeline,
        client: WebhookClient,
        connections: Connections,
        conversation: Converse,
    ) -> Handlers:
        """The stage after inbound messages are stored."""
        replies = Replies(
            pipeline.directory,
            pipeline.router,
            pipeline.acceptor,
            pipeline.next_id,
            self._clock,
            pipeline.alerts,
        )
        runner = Runner(client, pipeline.directory, Cookies(self._clock), pipeline.alerts)
        return Handlers(
            runner,
            replies,
            pipeline.directory,
            pipeline.pool,
            self._clock,
            self._random,
            pipeline.alerts,
            pipeline.walls.of("handlers"),
            connections,
            per_host=self.settings.webhooks.connections_per_host,
            retry_for_s=self.settings.webhooks.retry_for_s,
            conversation=conversation,
            ours=lambda row: pipeline.ownership.mine(row["service_id"], row["sender_id"]),
        )

    def _guard(self) -> Guard:
        webhooks = self.settings.webhooks
        return Guard(allow_private=webhooks.allow_private, allow_networks=webhooks.allow_networks)

    def _logins(self, pipeline: Pipeline) -> Logins:
        """The failing logins of this process."""
        if self._failing is None:
            self._failing = Logins(
                pipeline.alerts,
                self._clock.monotonic,
                trust_forwarded=self.settings.trust_forwarded,
                stop=self.stop,
            )
        return self._failing

    def _connections(self) -> dict[str, Connections]:
        """The connections to apps' servers, by what they are for.

        They are apart, so that nothing that holds one waits for another of the same.
        """
        webhooks, media = self.settings.webhooks, self.settings.media
        limits = webhooks.connections, webhooks.connections_per_account
        return {
            "callbacks": Connections(*limits),
            "inbound": Connections(*limits),
            "conversations": Connections(*limits),
            "media": Connections(media.connections, media.connections_per_account),
        }

    def _webhook_client(
        self,
        noted: Pipeline | None,
        names: HostNames,
        connections: Connections,
        most_s: float | None = None,
    ) -> WebhookClient:
        """A client with the configured patience, or one for conversations with at most so much."""
        patience = self.settings.webhooks.timeout_s
        client = WebhookClient(
            self._guard(),
            names,
            connections,
            timeout_s=min(patience, most_s or patience),
            counts=most_s is not None,
        )
        if noted is not None and noted.journal.on:
            client.called = partial(_note_call, noted.journal)
        return client

    def _fetcher(self, names: HostNames) -> Fetcher:
        return Fetcher(self._guard(), names, timeout_s=self.settings.media.timeout_s)

    def _lookup(self, pipeline: Pipeline) -> CarrierLookup | None:
        """The operator's carrier lookup, where there is one."""
        given = self.settings.lookup
        if given.url is None:
            return None
        return CarrierLookup(
            given.url,
            self._clock,
            pipeline.alerts,
            timeout_s=given.timeout_s,
            most=given.most_kept,
            keep_s=given.keep_s,
        )

    def _gathering(
        self,
        pipeline: Pipeline,
        fetcher: Fetcher,
        lookup: CarrierLookup | None,
        connections: Connections,
    ) -> Enricher:
        """The stage before routing, for what needs something from outside."""
        return Enricher(
            fetcher,
            pipeline.pool,
            pipeline.router,
            pipeline.assigner,
            pipeline.lifecycle,
            pipeline.alerts,
            self._clock,
            self._random,
            self._link_base,
            pipeline.walls.of("gathering"),
            connections,
            pause_s=self.settings.media.pause_s,
            lookup=lookup,
        )

    def _link_base(self) -> str:
        """What links to media begin with."""
        if self.settings.media.link_base is not None:
            return self.settings.media.link_base
        origin = self.settings.public_url or f"http://{self.settings.host}:{self.port}"
        return origin.rstrip("/") + "/"

    def _default_carrier_id(self) -> int:
        """The first of the configuration file; without one there, the oldest."""
        known = self.pipeline.directory.carriers if self.pipeline is not None else {}
        for name in (*(carrier.name for carrier in self.settings.carriers), *known):
            if name in known:
                return known[name].id
        raise ApiError(20001, "there is no carrier: add one to tandem.toml")

    async def _gateway_lock(
        self, url: str, run: int, stack: contextlib.AsyncExitStack
    ) -> GatewayLock:
        """The right to work with the database, once it is ours, or `stop` is set.

        Raises ConfigurationError where the database can't be asked.
        """
        shared = "two_gateways" in self.settings.allow_unsafe
        if shared:
            log.warning("several gateways may work with this database: %s", LOSES["two_gateways"])
        gateway_lock = GatewayLock(url, run, keys_of(self._place), shared=shared)
        stack.callback(gateway_lock.close)
        try:
            await gateway_lock.wait_unless(self.stop)
        except TooFewRights as error:
            raise ConfigurationError(f"the database can't be prepared: {_reason(error)}") from error
        except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
            raise ConfigurationError(f"the database can't be reached: {_reason(error)}") from error
        return gateway_lock

    async def _ensure_account(self, pool: ConnectionPool) -> None:
        """The first account of a new database; its credentials go to the data folder."""
        wanted = self.settings.account
        known = await config_rows.account_sids(pool)
        if wanted.sid in known or (wanted.sid is None and known):
            return
        sid = wanted.sid or f"AC{self._random.getrandbits(128):032x}"
        token = wanted.auth_token or f"{self._random.getrandbits(128):032x}"
        async with config_rows.change(pool) as connection:
            await config_rows.insert_account(
                connection, sid=sid, owner_id=None, friendly_name="Main", auth_token=token
            )
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        file = self.settings.data_dir / "account.json"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            json.dump({"account_sid": sid, "auth_token": token}, out)
        log.info("made the first account %s; its token is in %s", sid, file)


def _note_call(
    journal: Journal, hook: WebhookRequest, answer: WebhookResponse, took_s: float
) -> None:
    """A webhook was called about a message: keep that for Explain."""
    sid = dict(hook.parameters).get("MessageSid")
    if sid is not None:
        journal.call(
            {
                "sid": sid,
                "method": hook.method,
                "url": signed_url(hook.url),
                "told": dict(hook.parameters).get("MessageStatus") or "inbound",
                "http_status": answer.status or None,
                "error_code": answer.error_code or None,
                "reason": answer.reason or None,
                "took_s": round(took_s, 3),
            }
        )


async def _prepare_database(database: Database, allowed: Collection[Danger]) -> list[Unsafe]:
    """Migrate, and make sure that what is committed there is kept.

    Answers what is unsafe and allowed. Raises ConfigurationError for what is not.
    """
    try:
        connection = await database.open("start")
    except (*DatabaseUnavailable, *DatabaseRefused, ValueError) as error:
        raise ConfigurationError(f"the database can't be reached: {_reason(error)}") from error
    try:
        unsafe = await dangers(connection)
        refused = [risk for risk in unsafe if risk.danger not in allowed]
        if refused:
            raise ConfigurationError(_unsafe(refused))
        await migrate(connection)
    except (*DatabaseUnavailable, *DatabaseRefused) as error:
        raise ConfigurationError(f"the database can't be prepared: {_reason(error)}") from error
    finally:
        await connection.close()
    return unsafe


def _unsafe(refused: Sequence[Unsafe]) -> str:
    names = ", ".join(f'"{risk.danger}"' for risk in refused)
    return "\n".join(
        (
            "the database does not keep what it confirms, so no 201 could be trusted:",
            *(f"  {risk.text}" for risk in refused),
            f"set it right, or accept the loss by name: allow_unsafe = [{names}]",
        )
    )


def _reason(error: Exception) -> str:
    return (
        f"{error} (database_url, or TANDEM_DATABASE_URL, says which)" if str(error) else "timeout"
    )


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
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


async def _close(pool: ConnectionPool) -> None:
    """A connection whose server does not answer keeps nobody."""
    try:
        async with asyncio.timeout(POOL_CLOSES_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
