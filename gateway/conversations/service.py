"""Everything that keeps conversations, put together."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self

from gateway.acceptance.acceptor import Acceptor
from gateway.conversations.deliveries import Deliveries
from gateway.conversations.events import EventWriter
from gateway.conversations.inbound import InboundMessages
from gateway.conversations.outbound import ConversationSender
from gateway.conversations.post_webhooks import EventPoster
from gateway.conversations.pre_webhooks import PreEventWebhooks
from gateway.conversations.timers import keep_time
from gateway.messages.message import Message
from gateway.observe.wall import Wall
from gateway.stage_runtime import Runtime
from gateway.webhooks.client import WebhookClient
from storage.database import ConnectionPool


@dataclass(frozen=True, slots=True)
class Conversations:
    """What the API and the inbound stage use of it, and its own stages."""

    pool: ConnectionPool
    events: EventWriter
    pre_events: PreEventWebhooks
    outbound: ConversationSender
    arriving: InboundMessages
    deliveries: Deliveries
    event_poster: EventPoster
    wall: Wall

    @classmethod
    def of(
        cls,
        runtime: Runtime,
        client: WebhookClient,
        acceptor: Acceptor,
    ) -> Self:
        directory, pool, alerts = runtime.directory, runtime.pool, runtime.alerts
        wall = runtime.walls.of("conversations")
        events = EventWriter(directory)
        pre_events = PreEventWebhooks(client, directory, events, alerts)
        outbound = ConversationSender(runtime, acceptor, events)
        event_poster = EventPoster(client, directory, pool, alerts, wall)
        events.written = event_poster.wake
        return cls(
            pool,
            events,
            pre_events,
            outbound,
            InboundMessages(directory, pool, events, outbound, pre_events),
            Deliveries(pool, events, wall),
            event_poster,
            wall,
        )

    async def take(self, message: Message, create: bool) -> bool:
        """See `InboundMessages.take`."""
        return await self.arriving.take(message, create)

    def stages(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        yield "conversation events", self.event_poster.run()
        yield "conversation receipts", self.deliveries.run()
        yield "conversation timers", keep_time(self.pool, self.events, self.wall)
