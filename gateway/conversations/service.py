"""Everything that keeps conversations, put together."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from gateway.acceptance.acceptor import Acceptor
from gateway.conversations.deliveries import Deliveries
from gateway.conversations.events import EventWriter
from gateway.conversations.inbound import InboundMessages
from gateway.conversations.outbound import ConversationSender
from gateway.conversations.post_webhooks import EventPoster
from gateway.conversations.pre_webhooks import PreEventWebhooks
from gateway.conversations.timers import keep_time
from gateway.directory.directory import Directory
from gateway.messages.message import Message
from gateway.observe.alerts import Alerts
from gateway.observe.wall import Wall
from gateway.runtime.clock import Clock
from gateway.webhooks.client import WebhookClient
from storage.database import ConnectionPool
from storage.ids import Id


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
        client: WebhookClient,
        directory: Directory,
        acceptor: Acceptor,
        pool: ConnectionPool,
        next_id: Callable[[], Id],
        clock: Clock,
        random: Random,
        alerts: Alerts,
        wall: Wall,
    ) -> Self:
        events = EventWriter(directory)
        pre_events = PreEventWebhooks(client, directory, events, alerts)
        outbound = ConversationSender(
            directory, acceptor, pool, events, next_id, clock, random, alerts
        )
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
