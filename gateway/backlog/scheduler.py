"""Scheduled messages: rows until their time comes, then let in like new ones
(docs/spec/twilio-api.md#scheduling-and-cancel).

No timer and no memory per message. The stage sleeps until the earliest time it knows of, reads what
is due from a partial index, a page at a time, and hands it to the assigner, which chooses the
sender and asks for opt-outs as for a message that has just come. What a crash interrupts is still
scheduled in its row, and is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from gateway.acceptance.draft import Draft
from gateway.backlog.requeue import Requeue
from gateway.messages.message import Message, Status
from gateway.messages.rows import from_row
from gateway.observe.outage_log import AWAY
from gateway.stage_runtime import Runtime
from storage import schedule as schedule_rows
from storage.database import Connection, DatabaseUnavailable, OwnConnection
from storage.ids import Id
from storage.messages import MessageRow

log = logging.getLogger(__name__)

PAGE: Final = 1_000  # messages read at once, and at most on their way to a sender
HEAL_S: Final = 30.0  # what another process scheduled, or a changed wall clock, costs this much
COUNT_EVERY_S: Final = 60.0  # the rows are counted anew: other processes count too
RETRY_S: Final = 0.5
MOST_UNREADABLE: Final = 1_000
BUSY_S: Final = 0.05  # while those on their way are written


class Scheduler:
    """Owns what is stored as `scheduled`."""

    def __init__(self, runtime: Runtime, requeue: Requeue) -> None:
        self._wall = runtime.walls.of("schedule")
        # Rows that no message can be made of, the newest of them.
        self._unreadable: dict[Id, None] = {}
        self._ownership = runtime.ownership
        self._database = runtime.database
        self._clock = runtime.clock
        self._requeue = requeue
        self._live = runtime.live
        self._directory = runtime.directory
        self._under_way: dict[Id, Message] = {}
        self._wake = asyncio.Event()
        self._next = 0.0  # the earliest time known of (wall clock)
        self._counted_at = -COUNT_EVERY_S
        # Scheduled messages by account, to the last count (35125).
        self.held: Counter[int] = Counter()

    def added(self, message: Message) -> None:
        """A message was committed as scheduled."""
        self.held[message.account_id] += 1
        if message.send_at < self._next:
            self._wake.set()

    def canceled(self, account_id: int, message_id: Id) -> None:
        """A message without a sender was canceled: it counts no more, if it still did."""
        if message_id not in self._under_way:
            self.held[account_id] -= 1

    async def run(self) -> None:
        own = OwnConnection(self._database, "schedule")
        try:
            while True:
                try:
                    wait_s = await self._turn(await own.get())
                except DatabaseUnavailable as error:
                    log.error("database: %s; scheduled messages wait", error, extra=AWAY)
                    own.drop()
                    wait_s = RETRY_S
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            own.drop()

    async def _turn(self, connection: Connection) -> float:
        """Let in what is due; how long to sleep then."""
        if self._clock.monotonic() - self._counted_at >= COUNT_EVERY_S:
            counts = await schedule_rows.counts(connection, scheduled=Status.SCHEDULED)
            self.held = Counter(counts)
            self._counted_at = self._clock.monotonic()
        # A message's row says `scheduled` until its sender is committed.
        for message in [message for message in self._under_way.values() if _left(message)]:
            del self._under_way[message.id]
        now = self._clock.wall()
        self._next = now + HEAL_S
        room = PAGE - len(self._under_way)
        if room:
            rows = await schedule_rows.due(
                connection,
                scheduled=Status.SCHEDULED,
                until=datetime.fromtimestamp(now, UTC),
                without=[*self._under_way, *self._unreadable],
                most=room,
                services=None if self._ownership.alone else self._ownership.services,
            )
            self._let_in(rows)
        if self._under_way:
            return BUSY_S
        following = await schedule_rows.next_time(
            connection, scheduled=Status.SCHEDULED, after=datetime.fromtimestamp(now, UTC)
        )
        if following is not None:
            self._next = min(self._next, following.timestamp())
        return max(0.0, self._next - self._clock.wall())

    def _let_in(self, rows: list[MessageRow]) -> None:
        for row, why in self._wall.each(rows, self._let_one_in):
            # It stays in its row, scheduled, and holds up nothing.
            if len(self._unreadable) >= MOST_UNREADABLE:
                del self._unreadable[next(iter(self._unreadable))]
            self._unreadable[row["id"]] = None
            self._under_way.pop(row["id"], None)
            self._wall.tell(why, resource=f"SM{row['id'].hex}", account_id=row["account_id"])

    def _let_one_in(self, row: MessageRow) -> None:
        message = self._live.get(row["id"])
        if message is None:
            message = self._live[row["id"]] = from_row(row)
        if message.status is not Status.SCHEDULED:  # canceled while we read
            return
        self._under_way[message.id] = message
        self.held[message.account_id] -= 1
        message.send_at = 0.0
        destination = self._requeue.destination(message)
        if destination is None:
            return
        draft = Draft.again(message, destination, self._directory, row["body"])
        self._requeue.anew(draft)


def _left(message: Message) -> bool:
    """Whether its row is not `scheduled` any more."""
    return message.committed is not Status.SCHEDULED
