"""Queues that are longer than memory should hold wait in their rows (docs/reliability.md#bounds).

Above a mark, a sender's queue keeps its first messages only; of the rest there is a count. When it
has shrunk, the next of them are read from the rows, in order, ahead of need. While anything of a
sender waits in rows only, nothing new passes it: it is counted behind.

Rows are selected by state, never by *greater than the last id*: ids are not in the order of their
commits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from gateway.acceptance.draft import Draft, Phase
from gateway.backlog.requeue import Requeue
from gateway.content.encoding import encode, whole
from gateway.messages.lifecycle import Refused
from gateway.messages.message import Direction, Message, Status
from gateway.messages.rows import from_row
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.pacing.pacer import BATCH, Pacer
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import EXPIRED
from storage import messages as message_rows
from storage.database import Connection, DatabaseUnavailable, OwnConnection
from storage.ids import Id
from storage.messages import MessageRow

log = logging.getLogger(__name__)

HIGH: Final = 10_000  # segments of one sender in memory
LOW: Final = 1_000  # at which more are read
PAGE: Final = 1_000  # messages read at once
MEMORY: Final = 150_000  # messages of all senders; about 2 KB each
LEAST: Final = 50  # segments that a sender has in memory however many senders there are
HEAL_S: Final = 1.0  # a lost wake-up costs this much; and how late an expiry is seen
RETRY_S: Final = 0.5
MOST_UNREADABLE: Final = 10_000  # rows; what is beyond is told of again and again
NEVER: Final = 0.0  # a wall time: counting anew is no use of the sender
SETTLING_S: Final = 5.0  # in which a reply that another stage stored has come to its queue


class _Rest:
    """What waits in rows only, of one sender."""

    __slots__ = ("added", "count", "left", "read", "segments", "unsure")

    def __init__(self) -> None:
        self.count = 0  # messages; more than there are, where another process took some
        self.segments = 0  # of them, as they are counted in what their sender has to send
        self.unsure = False  # rows were found that may be counted already, or not
        self.added = 0  # or found, so far: a page read before the last came cannot be the last
        self.read = 0  # so far, or taken away: what the watchdog sees move
        self.left: set[int] = set()  # services that the sender has left


class Overflow:
    """Owns what waits in rows only."""

    def __init__(
        self,
        runtime: Runtime,
        pacer: Pacer[Message],
        requeue: Requeue,
        resume: Callable[[Iterable[Message]], None],
    ) -> None:
        self._wall = runtime.walls.of("spill")
        self._ids = runtime.next_id
        self._database = runtime.database
        self.pacer = pacer
        self._live = runtime.live
        self._directory = runtime.directory
        self._router = requeue.router
        self._requeue = requeue
        self._clock = runtime.clock
        self._lifecycle = requeue.lifecycle
        self._resume = resume
        self._rests: dict[int, _Rest] = {}  # by sender
        # Rows that no message can be made of.
        self._unreadable: set[Id] = set()
        self._expired_at = 0.0  # when the rows were last asked for what is too old
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Messages that wait in rows only."""
        return sum(rest.count for rest in self._rests.values())

    def queues(self) -> Iterator[tuple[int, int, int]]:
        """Of every sender here: its id, messages that wait, and how many were read so far."""
        for sender_id, rest in self._rests.items():
            yield sender_id, rest.count, rest.read

    def senders(self) -> list[int]:
        """Whose queues are longer than memory."""
        return list(self._rests)

    def holds(self, sender_id: int) -> bool:
        """Whether something of this sender waits in rows only."""
        return bool(self._rests) and sender_id in self._rests

    # In -----------------------------------------------------------------------------------

    def takes(self, message: Message) -> bool:
        """Leave a committed message to its row, if memory holds enough of its sender's queue.

        The caller then forgets it.
        """
        if not message.waiting:  # claimed once: its row does not say that it waits
            return False
        sender_id = message.sender_id
        rest = self._rests.get(sender_id)
        if rest is None:
            held = self.pacer.waiting(sender_id)
            if held < LEAST or (held < HIGH and len(self.pacer) < MEMORY):
                return False
            rest = self._rests[sender_id] = _Rest()
            self._wake.set()  # from now on there is something to look after
        rest.count += 1
        rest.added += 1
        rest.segments += message.segments
        message.spilled = True
        message.content = None
        return True

    def leaves(self, row: MessageRow) -> bool:
        """After a restart: leave a row where it is; nothing of it is needed but its segments."""
        sender_id = row["sender_id"] or 0
        rest = self._rests.get(sender_id)
        if rest is None or row["status"] != Status.QUEUED or row["callback_url"] is not None:
            return False
        rest.count += 1
        rest.added += 1
        rest.segments += row["segments"]
        self._router.loads.assigned(sender_id, row["segments"], self._clock.wall())
        return True

    def found(self, row: MessageRow) -> bool:
        """While we run: whether a row that memory does not hold is one of a queue's rest.

        It may have been left there by us, and then is counted, or have become ours just now: a
        row does not say. So all of that sender's are counted anew, soon.
        """
        rest = self._rests.get(row["sender_id"] or 0)
        if rest is None or row["status"] != Status.QUEUED:
            return False
        rest.added += 1
        rest.unsure = True
        self._wake.set()
        return True

    # Out ----------------------------------------------------------------------------------

    def released(self, sender_id: int) -> None:
        """Something of this sender has left its queue."""
        if self._rests and sender_id in self._rests and self.pacer.waiting(sender_id) < LOW:
            self._wake.set()

    def canceled(self, row: MessageRow) -> None:
        """A row was canceled that memory does not hold."""
        sender_id = row["sender_id"] or 0
        rest = self._rests.get(sender_id)
        if rest is not None and rest.count:
            self._less(rest, sender_id, row["segments"])
            self._router.loads.settled(sender_id, row["segments"])

    def left_pool(self, service_of: Mapping[int, int]) -> None:
        """Senders left their services: what waits for them there is chosen anew."""
        for sender_id, service_id in service_of.items():
            rest = self._rests.get(sender_id)
            if rest is not None:
                rest.left.add(service_id)
                self._wake.set()

    def let_go(self, message: Message) -> None:
        """A message of the rest, which the caller releases, is another worker's."""
        rest = self._rests.get(message.sender_id)
        if rest is not None:
            self._less(rest, message.sender_id, message.segments)

    def forget(self, sender_id: int) -> None:
        """The sender is another worker's now, with all its rows; or none of them waits any more."""
        rest = self._rests.pop(sender_id, None)
        if rest is not None and rest.segments:
            self._router.loads.settled(sender_id, rest.segments)

    def _less(self, rest: _Rest, sender_id: int, segments: int) -> None:
        """One message fewer waits in rows only; the caller settles its segments."""
        rest.count = max(0, rest.count - 1)
        rest.read += 1
        uncounted = segments - rest.segments
        if uncounted > 0:  # found while we ran, and not yet counted: settling it must take nothing
            self._router.loads.assigned(sender_id, uncounted, NEVER)
        rest.segments = max(0, -uncounted)

    async def run(self) -> None:
        """Until cancelled."""
        own = OwnConnection(self._database, "spill", message_rows.tune_for_batches)
        try:
            while True:
                await self._sleep()
                try:
                    connection = await own.get()
                    await self._count(connection)
                    for sender_id in list(self._rests):
                        if self.pacer.waiting(sender_id) < LOW:
                            await self._page_in(connection, sender_id)
                    if self._clock.monotonic() - self._expired_at >= HEAL_S:
                        await self._expire(connection)
                        self._expired_at = self._clock.monotonic()
                except DatabaseUnavailable as error:
                    log.error("database: %s; what waits in rows goes on waiting", error, extra=AWAY)
                    own.drop()
                    await asyncio.sleep(RETRY_S)
        finally:
            own.drop()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(HEAL_S if self._rests else None):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _count(self, connection: Connection) -> None:
        """Count the rest anew where rows were found that may be in the count, or not.

        What moves while the rows are counted may be counted wrong; when the rest is read to its
        end, it takes what is wrong with it.
        """
        unsure = [sender_id for sender_id, rest in self._rests.items() if rest.unsure]
        if not unsure:
            return
        for sender_id in unsure:
            self._rests[sender_id].unsure = False
        try:
            sizes = await message_rows.waiting_sizes(connection, unsure, Status.QUEUED)
        except DatabaseUnavailable:
            for sender_id in unsure:
                if sender_id in self._rests:
                    self._rests[sender_id].unsure = True
            raise
        held_messages, held_segments = self._held(unsure)
        for sender_id in unsure:
            rest = self._rests.get(sender_id)
            if rest is None:  # forgotten meanwhile
                continue
            messages, segments = sizes.get(sender_id, (0, 0))
            rest.count = max(0, messages - held_messages[sender_id])
            segments = max(0, segments - held_segments[sender_id])
            if segments > rest.segments:
                self._router.loads.assigned(sender_id, segments - rest.segments, NEVER)
            else:
                self._router.loads.settled(sender_id, rest.segments - segments)
            rest.segments = segments

    def _held(self, sender_ids: Sequence[int]) -> tuple[Counter[int], Counter[int]]:
        """Messages, and their segments, whose rows wait and that memory holds; by sender."""
        wanted = set(sender_ids)
        messages: Counter[int] = Counter()
        segments: Counter[int] = Counter()
        for message in list(self._live.values()):
            if (
                message.sender_id in wanted
                and not message.spilled
                and message.waiting
                and message.committed is Status.QUEUED
            ):
                messages[message.sender_id] += 1
                segments[message.sender_id] += message.segments
        return messages, segments

    async def _page_in(self, connection: Connection, sender_id: int) -> None:
        """Read on, behind what memory holds."""
        rest = self._rests.get(sender_id)
        if rest is None:  # forgotten while another's rows were read
            return
        added = rest.added
        # What memory holds is among the rows: it waits, or is being claimed just now.
        most = PAGE + self.pacer.waiting(sender_id) + BATCH
        rows = await message_rows.waiting(connection, sender_id, Status.QUEUED, most)
        if self._rests.get(sender_id) is not rest:  # forgotten meanwhile: another's, and settled
            return
        ready, read, all_read = [], 0, len(rows) < most
        for row in rows:
            message = self._live.get(row["id"])
            if message is not None and not message.spilled:
                continue
            if message is None and self._settling(row):
                all_read = False
                break  # what comes behind it must not pass it
            if row["id"] in self._unreadable:
                continue
            read += 1
            self._less(rest, sender_id, row["segments"])
            try:
                message = self._taken_up(row, message, rest)
            except Exception as error:  # it stays in its row, and holds up nothing
                self._pass_over(row, described(error))
                continue
            if message is not None:
                ready.append(message)
        if all_read and rest.added == added:
            self.forget(sender_id)
        self._resume(ready)
        if read:  # a short page, or what has left its pool: there may be more to read
            self._wake.set()

    def _pass_over(self, row: MessageRow, why: str) -> None:
        """A row that no message can be made of waits until somebody has looked at it."""
        if len(self._unreadable) < MOST_UNREADABLE:
            self._unreadable.add(row["id"])
        self._wall.tell(why, resource=f"SM{row['id'].hex}", account_id=row["account_id"])

    def _settling(self, row: MessageRow) -> bool:
        """Whether another stage has just stored it, and will bring it to its queue itself."""
        return row["direction"] != Direction.OUTBOUND_API and self._ids.age(row["id"]) < SETTLING_S

    def _taken_up(self, row: MessageRow, message: Message | None, rest: _Rest) -> Message | None:
        """In memory again; None where it does not go back to this queue."""
        if message is None:
            message = self._live[row["id"]] = from_row(row)
        else:
            message.spilled = False
            message.content = (whole if message.as_mms else encode)(row["body"])
        # It was counted when its sender was chosen, and is counted anew now.
        self._router.loads.settled(message.sender_id, message.segments)
        if message.service_id in rest.left:
            destination = self._requeue.destination(message)
            if destination is not None:
                draft = Draft.again(message, destination, self._directory, row["body"])
                draft.phase, draft.weighed = Phase.READY, True
                self._requeue.anew(draft)
            return None
        return message if self._requeue.belongs(message, row["body"]) else None

    async def _expire(self, connection: Connection) -> None:
        """Fail what became too old in its row."""
        now = self._clock.wall()
        rows = await message_rows.overdue(
            connection, datetime.fromtimestamp(now, UTC), Status.QUEUED, PAGE
        )
        for row in rows:
            rest = self._rests.get(row["sender_id"] or 0)
            message = self._live.get(row["id"])
            if rest is None or (message is not None and not message.spilled):
                continue  # the pacer's, or marked already
            if row["id"] in self._unreadable:
                continue
            try:
                self._expire_one(row, message, rest, now)
            except Exception as error:
                self._pass_over(row, described(error))

    def _expire_one(
        self, row: MessageRow, message: Message | None, rest: _Rest, now: float
    ) -> None:
        if message is None:
            message = self._live[row["id"]] = from_row(row)
        message.spilled = False
        self._less(rest, message.sender_id, message.segments)
        self._router.release(message)
        self._lifecycle.apply(message, Refused(EXPIRED), at=now)
