"""Handlers of inbound messages: the app's webhook, and the replies it leads to.

A message arrives here after its commit, with `handling` saying what is owed. That is cleared in
the transaction that stores the replies it led to, or by itself where there are none; until then
a restart finds it. So everything happens at least once, and replies once for each answer that an
app gave. Hosts have lanes of their own: an app that is down delays no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from gateway.acceptance.committer import Also
from gateway.directory.directory import SenderRecord, Service
from gateway.inbound.geography import cities
from gateway.inbound.owed_webhook import (
    InboundMode,
    WebhookTarget,
    destination_of,
    inbound_mode,
)
from gateway.inbound.replies import Replies
from gateway.inbound.webhook_call import Runner
from gateway.messages.message import Message
from gateway.messages.rows import from_row, moment
from gateway.observe.outage_log import AWAY
from gateway.stage_runtime import Runtime
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import HostQueues
from storage import alerts as alert_rows
from storage import inbound as inbound_rows
from storage.database import Connection, DatabaseUnavailable
from storage.ids import BELOW_ALL, Id
from storage.messages import MessageRow

log = logging.getLogger(__name__)

PAGE: Final = 5_000
RETRY_S: Final = 0.5
MACHINE: Final = 30039
HERE: Final = AppServer(0, "")  # the lane of what needs no app

Converse = Callable[[Message, bool], Awaitable[bool]]


class Handlers:
    """Does what inbound messages owe."""

    def __init__(
        self,
        runtime: Runtime,
        runner: Runner,
        replies: Replies,
        connections: Connections,
        *,
        per_host: int,
        retry_for_s: float,
        conversation: Converse,
    ) -> None:
        """`conversation` takes a message into its conversation, made if the service wants that
        (the flag), and says whether it belongs there; it may be called again for one that it has.
        """
        self._ownership = runtime.ownership
        self._runner = runner
        self._replies = replies
        self._directory = runtime.directory
        self._pool = runtime.pool
        self._clock = runtime.clock
        self._alerts = runtime.alerts
        self._wall = runtime.walls.of("handlers")
        self._retry_for_s = retry_for_s
        self._conversation = conversation
        self._host_queues: HostQueues[Message] = HostQueues(
            "inbound",
            runtime.clock,
            runtime.random,
            connections,
            per_host=per_host,
            work=self._work,
            spilled=self._spilled,
            sweep=self._sweep,
            broke=self._broke,
            owed=True,  # by a former run
        )
        self._called: dict[Id, float] = {}  # of those held: when their webhook was called first
        self._held: set[Id] = set()  # in memory, from here to the commit that ends it
        self._again: dict[Id, Message] = {}  # of those held: what is asked for once more
        self._ended: set[Id] | None = None  # ended since a sweep began to read
        self._after = BELOW_ALL
        self._finished: list[Message] = []
        self._wake = asyncio.Event()
        self.handled = 0
        self.given_up = 0

    async def run(self) -> None:
        """Until cancelled. Takes up first what a former run left."""
        await asyncio.to_thread(cities)  # read once, off the loop
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._host_queues.run(), name="inbound lanes")
            tasks.create_task(self._clear(), name="inbound clearing")

    def handle(self, message: Message) -> None:
        """`message` is committed: do what it owes, unless that is being done."""
        if message.handling and message.id not in self._held:
            self._held.add(message.id)
            self._host_queues.line_up(self._lane_of(message), message)

    def again(self, message: Message) -> None:
        """The row of `message` owes its webhook once more, even if that is just being called."""
        if message.id in self._held:
            self._again[message.id] = message
        else:
            self.handle(message)

    @property
    def waiting(self) -> int:
        return self._host_queues.waiting

    # Work -----------------------------------------------------------------------------------

    async def _work(self, message: Message) -> None:
        if not await inbound_rows.is_owed(self._pool, message.id):
            self._end(message)
            return
        record, service = self._place(message)
        if record is None or self._is_machine(message):
            self._finish(message)
            return
        create = inbound_mode(record, service) is InboundMode.AUTOCREATE
        if await self._conversation(message, create) or create:
            self._finish(message)
            return
        target = destination_of(record, service)
        if target is None:
            self._finish(message)
            return
        await self._tell(message, target)

    async def _tell(self, message: Message, target: WebhookTarget) -> None:
        self._called.setdefault(message.id, self._clock.wall())
        run = await self._runner.run(message, target, again=self._host_queues.tried(message) > 0)
        if run.failure is not None and not run.taken and not run.hopeless:
            if not self._too_old(message):
                self._host_queues.retry(AppServer(message.account_id, _host(target.url)), message)
                return
            self.given_up += 1
            ended = f"in {self._retry_for_s:.0f} s; given up"
            self._alerts.alert(
                run.failure.code,
                f"not taken by {run.failure.url} {ended}",
                level="error",
                resource=message.sid,
                account_id=message.account_id,
                messages=(message.id,),
                subject=f"{message.sid} given up",
                log_text=f"{message.sid} was not taken {ended}",
                logged_as=_host(target.url),
            )
        drafts, alerted = self._replies.drafts(message, run.replies)

        async def mark(connection: Connection) -> None:
            if message.id not in self._again:
                await inbound_rows.clear(connection, [self._done(message)])
            if run.alerted or alerted:
                replies = [draft.message.id for draft in drafts]
                await alert_rows.link_replies(connection, message.id, replies)

        if drafts and await self._replies.store(message, drafts, Also(mark)):
            self._end(message)
            return
        self._finish(message)

    def _too_old(self, message: Message) -> bool:
        return self._clock.wall() - message.created_at > self._retry_for_s

    def _broke(self, message: Message, why: str) -> None:
        """What nobody foresaw is tried again as long as an app that does not answer, no longer."""
        self._wall.tell(why, message)
        if self._too_old(message):
            self.given_up += 1
            self._finish(message)
        else:
            self._host_queues.retry(HERE, message)

    def _is_machine(self, message: Message) -> bool:
        """Written by one of the account's own numbers: its webhook could go on for ever
        (docs/spec/messaging-services.md#reassembly)."""
        writer = self._directory.senders_by_address.get(message.sender_address or "")
        if writer is None or writer.account_id != message.account_id:
            return False
        self._alerts.alert(
            MACHINE,
            "written by a number of the account itself; its webhook was suppressed",
            resource=message.sid,
            account_id=message.account_id,
            logged_as=message.recipient,
        )
        return True

    def _place(self, message: Message) -> tuple[SenderRecord | None, Service | None]:
        """The number that was written to, if it is still there, and its service of that time."""
        record = self._directory.senders_by_id.get(message.sender_id)
        return record, self._directory.services_by_id.get(message.service_id or 0)

    def _lane_of(self, message: Message) -> AppServer:
        record, service = self._place(message)
        if record is None:
            return HERE
        target = destination_of(record, service)
        if target is None:
            return HERE
        return AppServer(message.account_id, _host(target.url))

    # Ends -----------------------------------------------------------------------------------

    def _finish(self, message: Message) -> None:
        """Nothing is owed any more; its row says so soon."""
        self._finished.append(message)
        self._wake.set()

    def _called_at(self, message: Message) -> datetime | None:
        """When its webhook was called first; None where it has none."""
        at = self._called.get(message.id)
        return moment(at) if at is not None else None

    def _done(self, message: Message) -> tuple[Id, int, datetime | None]:
        return message.id, message.handling, self._called_at(message)

    def _end(self, message: Message) -> None:
        """The message's row says that nothing is owed."""
        self.handled += 1
        self._called.pop(message.id, None)
        self._held.discard(message.id)
        if self._ended is not None:
            self._ended.add(message.id)
        self._host_queues.over(message)
        if (again := self._again.pop(message.id, None)) is not None:
            self.handle(again)

    def _spilled(self, message: Message) -> None:
        self._called.pop(message.id, None)
        self._held.discard(message.id)
        self._again.pop(message.id, None)  # its row says so, and is read again

    async def _clear(self) -> None:
        """Mark rows of which nothing is owed, in batches of whatever has gathered."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._finished = self._finished, []
            try:
                done = [self._done(message) for message in batch if message.id not in self._again]
                if done:
                    await inbound_rows.clear(self._pool, done)
            except DatabaseUnavailable as error:
                log.warning("database: %s; handled messages are marked later", error, extra=AWAY)
                self._finished[:0] = batch
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            else:
                for message in batch:
                    self._end(message)

    async def _sweep(self) -> bool:
        """Take up the next page of rows that owe something; whether there may be more."""
        self._ended = set()
        try:
            rows = await inbound_rows.unhandled(self._pool, after=self._after, most=PAGE)
            for row, why in self._wall.each(rows, self._take_up):
                self._wall.tell(why, resource=f"SM{row['id'].hex}", account_id=row["account_id"])
        finally:
            self._ended = None
        last = len(rows) < PAGE
        self._after = BELOW_ALL if last else rows[-1]["id"]
        return not last

    def _take_up(self, row: MessageRow) -> None:
        ended = self._ended
        if (ended is None or row["id"] not in ended) and self._ownership.mine(
            row["service_id"], row["sender_id"]
        ):
            self.handle(from_row(row))


def _host(url: str) -> str:
    return urlsplit(url).netloc
