"""What goes out to apps' servers: names, connections and clients, and the stages that use them."""

from __future__ import annotations

import contextlib
from functools import partial

from gateway.conversations.service import Conversations
from gateway.enrichment.enricher import Enricher
from gateway.enrichment.media_fetch import Fetcher
from gateway.enrichment.number_lookup import NumberLookup
from gateway.inbound.handlers import Converse, Handlers
from gateway.inbound.replies import Replies
from gateway.inbound.webhook_call import Runner
from gateway.observe.journal import Journal
from gateway.pipeline.assembly import Pipeline
from gateway.settings import Settings
from gateway.webhooks.callbacks import Callbacks
from gateway.webhooks.clicks import Clicks
from gateway.webhooks.client import MessageCall, WebhookClient
from gateway.webhooks.connections import Connections
from gateway.webhooks.cookies import Cookies
from gateway.webhooks.debugger import Debugger
from gateway.webhooks.guard import Guard
from gateway.webhooks.host_names import HostNames
from storage import messages as message_rows

# for the webhooks of conversations (docs/spec/twilio-api.md#conversations-v1)
CONVERSATION_WAIT_S = 5.0


class Outward:
    """Builds what calls apps' servers; each kind has connections of its own, so that nothing that
    holds one waits for another of the same.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._runtime = pipeline.runtime
        self._stack = stack
        self._names = HostNames(settings.webhooks.nameservers)
        stack.push_async_callback(self._names.close)
        webhooks, media = settings.webhooks, settings.media
        limits = webhooks.connections, webhooks.connections_per_account
        self._guard = Guard(
            allow_private=webhooks.allow_private, allow_networks=webhooks.allow_networks
        )
        self.connections = {
            "callbacks": Connections(*limits),
            "inbound": Connections(*limits),
            "conversations": Connections(*limits),
            "media": Connections(media.connections, media.connections_per_account),
        }

    async def client(self, kind: str) -> WebhookClient:
        """A client with the configured patience; its calls are kept for Explain."""
        client = WebhookClient(
            self._guard,
            self._names,
            self.connections[kind],
            timeout_s=self._settings.webhooks.timeout_s,
        )
        if self._runtime.journal.on:
            client.called = partial(_note_call, self._runtime.journal)
        return await self._stack.enter_async_context(client)

    def callbacks(self, client: WebhookClient) -> Callbacks:
        pipeline, webhooks = self._pipeline, self._settings.webhooks
        callbacks = Callbacks(
            self._runtime,
            client,
            self.connections["callbacks"],
            per_host=webhooks.connections_per_host,
            retry_for_s=webhooks.retry_for_s,
            event_parameters=webhooks.event_parameters,
            acknowledged=pipeline.writer.mark,
            sweep=pipeline.sweep_callbacks,
            exists=partial(message_rows.exists, self._runtime.pool),
            carrier_parameters=pipeline.ways.callback_tlvs,
        )
        pipeline.after_commit.owe_callbacks = callbacks.owe
        return callbacks

    def debugger(self, client: WebhookClient) -> Debugger:
        runtime, connections = self._runtime, self.connections["callbacks"]
        debugger = Debugger(client, runtime.directory, runtime.clock, runtime.random, connections)
        runtime.alerts.written = debugger.tell
        return debugger

    def clicks(self, client: WebhookClient) -> Clicks:
        return Clicks(self._runtime, client, self.connections["callbacks"])

    async def conversations(self) -> Conversations:
        pipeline, patience = self._pipeline, self._settings.webhooks.timeout_s
        client = await self._stack.enter_async_context(
            WebhookClient(
                self._guard,
                self._names,
                self.connections["conversations"],
                timeout_s=min(patience, CONVERSATION_WAIT_S),
                counts=True,
            )
        )
        conversations = Conversations.of(self._runtime, client, pipeline.acceptor)
        pipeline.after_commit.in_conversation = conversations.deliveries.heard
        return conversations

    def handlers(self, client: WebhookClient, conversation: Converse) -> Handlers:
        """The stage after inbound messages are stored."""
        runtime = self._runtime
        replies = Replies(runtime, self._pipeline.router, self._pipeline.acceptor)
        runner = Runner(client, runtime.directory, Cookies(runtime.clock), runtime.alerts)
        return Handlers(
            runtime,
            runner,
            replies,
            self.connections["inbound"],
            per_host=self._settings.webhooks.connections_per_host,
            retry_for_s=self._settings.webhooks.retry_for_s,
            conversation=conversation,
        )

    async def enricher(self, port: int) -> Enricher:
        """The stage before routing, for what needs something from outside; `port`: the API's."""
        pipeline, settings = self._pipeline, self._settings
        fetcher = await self._stack.enter_async_context(
            Fetcher(self._guard, self._names, timeout_s=settings.media.timeout_s)
        )
        lookup = self._number_lookup()
        if lookup is not None:
            pipeline.router.awaited.lookup = await self._stack.enter_async_context(lookup)
        enricher = Enricher(
            self._runtime,
            fetcher,
            pipeline.assigner,
            pipeline.lifecycle,
            self.connections["media"],
            link_base=self._link_base(port),
            pause_s=settings.media.pause_s,
            lookup=lookup,
        )
        pipeline.assigner.gather = enricher.hold
        return enricher

    def _link_base(self, port: int) -> str:
        """What links to media begin with."""
        settings = self._settings
        if settings.media.link_base is not None:
            return settings.media.link_base
        return (settings.public_url or f"http://{settings.host}:{port}").rstrip("/") + "/"

    def _number_lookup(self) -> NumberLookup | None:
        """The operator's own, where there is one."""
        given = self._settings.lookup
        if given.url is None:
            return None
        return NumberLookup(
            given.url,
            self._runtime.clock,
            self._runtime.alerts,
            timeout_s=given.timeout_s,
            most=given.most_kept,
            keep_s=given.keep_s,
        )


def _note_call(journal: Journal, call: MessageCall) -> None:
    """A webhook was called about a message: keep that for Explain."""
    answer = call.answer
    journal.call(
        {
            "sid": call.message_sid,
            "method": call.method,
            "url": call.url,
            "told": call.told,
            "http_status": answer.status or None,
            "error_code": answer.error_code or None,
            "reason": answer.reason or None,
            "took_s": round(call.took_s, 3),
        }
    )
