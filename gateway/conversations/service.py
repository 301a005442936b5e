"""Everything that keeps conversations, put together."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Self

from gateway.acceptance.acceptor import Acceptor
from gateway.conversations.deliveries import Deliveries
from gateway.conversations.events import Events
from gateway.conversations.inbound import Arriving
from gateway.conversations.outbound import Posting
from gateway.conversations.post_webhooks import Telling
from gateway.conversations.pre_webhooks import Asking
from gateway.conversations.timers import keep_time
from gateway.directory.directory import Directory
from gateway.messages.message import Message
from gateway.observe.alerts import Alerts
from gateway.observe.wall import Wall
from gateway.runtime.clock import Clock
from gateway.webhooks.client import WebhookClient
from storage.database import Pool
from storage.ids import Id


@dataclass(frozen=True, slots=True)
class Conversations:
    """What the API and the inbound stage use of it, and its own stages."""

    pool: Pool
    events: Events
    asking: Asking
    posting: Posting
    arriving: Arriving
    deliveries: Deliveries
    telling: Telling
    wall: Wall

    @classmethod
    def of(
        cls,
        client: WebhookClient,
        directory: Directory,
        acceptor: Acceptor,
        pool: Pool,
        next_id: Callable[[], Id],
        clock: Clock,
        random: Random,
        alerts: Alerts,
        wall: Wall,
    ) -> Self:
        events = Events(directory)
        asking = Asking(client, directory, events, alerts)
        posting = Posting(directory, acceptor, pool, events, next_id, clock, random, alerts)
        telling = Telling(client, directory, pool, alerts, wall)
        events.written = telling.wake
        return cls(
            pool,
            events,
            asking,
            posting,
            Arriving(directory, pool, events, posting, asking),
            Deliveries(pool, events, wall),
            telling,
            wall,
        )

    async def take(self, message: Message, create: bool) -> bool:
        """See `Arriving.take`."""
        return await self.arriving.take(message, create)

    def stages(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        yield "conversation events", self.telling.run()
        yield "conversation receipts", self.deliveries.run()
        yield "conversation timers", keep_time(self.pool, self.events, self.wall)
