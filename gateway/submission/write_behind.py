"""Write-behind: what happened to messages, in batches, each one transaction.

A message that moved is *marked*; a flush writes the present state of all that are marked, so
that `sending → sent → delivered` inside one flush costs one UPDATE. No timer: a flush begins
when the one before it has ended and something waits. What must follow a commit (the answer
to a receipt, a status callback) follows it here, and nothing else does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from gateway.messages.lifecycle import MessageEvent, Submitted
from gateway.messages.message import Message, Status
from gateway.messages.rows import moment, only_sent, update_columns
from gateway.observe.measures import BATCHES, LATENCY_S, Histogram
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.stage_runtime import Runtime
from storage import messages as message_rows
from storage import submissions as submission_rows
from storage.database import (
    HOT_S,
    Connection,
    DatabaseUnavailable,
    OwnConnection,
    confirm,
)

log = logging.getLogger(__name__)

BOUND = 50_000  # events; beyond it submitting pauses (docs/reliability.md#bounds)
BATCH = 2_000  # messages per flush, so that one commit stays short
RETRY_S = 0.5


class SegmentName(NamedTuple):
    """A segment's name at the carrier."""

    message: Message
    segment: int  # from 1
    carrier_message_id: str
    at: float


class WriteBehind:
    """Owns one connection and the order of what is written."""

    def __init__(
        self,
        runtime: Runtime,
        committed: Callable[[Message], None],
        settled: Callable[[Message], None],
    ) -> None:
        self._wall = runtime.walls.of("write-behind")
        self._monotonic = runtime.clock.monotonic
        self._database = runtime.database
        self._committed = committed
        self._settled = settled  # hears once of a message, when it is committed as final
        # Whether nothing has happened to it but that its carrier took it.
        self._marked: dict[Message, bool] = {}
        self._submissions: list[SegmentName] = []
        # The messages themselves: until the rows tell of a part's receipt, only the message in
        # memory knows of it, and whoever matches the next part's must find that one.
        self._receipts: list[tuple[Message, int, int]] = []
        self._after: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        # Messages in each commit.
        self.flushes = Histogram(BATCHES)
        # Seconds that each took, with the waits for a database that was away.
        self.commits = Histogram(LATENCY_S)

    def mark(self, message: Message) -> None:
        """The message changed: write it with the next flush."""
        self._marked[message] = False
        self._stir()

    def moved(self, message: Message, event: MessageEvent) -> None:
        """The message changed by this event: write it with the next flush."""
        self._marked[message] = type(event) is Submitted and self._marked.get(message, True)
        self._stir()

    def submitted(self, submission: SegmentName) -> None:
        self._submissions.append(submission)
        self._stir()

    def receipt(self, message: Message, segment: int, state: int) -> None:
        """The receipt of one of several segments, which alone does not settle the message."""
        self._receipts.append((message, segment, state))
        self._stir()

    def after_commit(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call it once everything reported up to now is committed."""
        self._after.append((call, arguments))
        self._stir()

    @property
    def pending(self) -> int:
        return len(self._marked) + len(self._submissions) + len(self._after)

    @property
    def full(self) -> bool:
        return self.pending >= BOUND

    async def drained(self) -> None:
        """Return when everything reported so far is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        own = OwnConnection(self._database, "write", message_rows.tune_for_batches, command_s=HOT_S)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self.pending or self._receipts:
                    batch = self._take()
                    begun = self._monotonic()
                    await self._write(own, batch)
                    self.commits.observe(self._monotonic() - begun)
                    self._finish(batch)
                self._idle.set()
        finally:
            own.drop()

    def _stir(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _take(self) -> WriteBatch:
        if len(self._marked) <= BATCH:
            marked, self._marked = self._marked, {}
        else:
            marked = dict(islice(self._marked.items(), BATCH))
            for message in marked:
                del self._marked[message]
        after: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        if not self._marked:  # calls wait for the messages they follow: they go last
            after, self._after = self._after, []
        submissions, self._submissions = self._submissions, []
        receipts, self._receipts = self._receipts, []
        try:
            sent, others = _only_sent(marked, submissions)
            rest = [message for message in marked if message not in sent]
            return WriteBatch(rest, others, receipts, after, list(sent.values()))
        except Exception:  # a message whose row can't even be worked out
            return self._without_broken(list(marked), submissions, receipts, after)

    def _without_broken(
        self,
        marked: list[Message],
        submissions: list[SegmentName],
        receipts: list[tuple[Message, int, int]],
        after: list[tuple[Callable[..., object], tuple[Any, ...]]],
    ) -> WriteBatch:
        """The batch of what rows can be made of. The rest stays in its last committed state."""
        broken = self._wall.each(marked, lambda message: WriteBatch([message], [], [], []))
        unnamed = self._wall.each(submissions, lambda name: WriteBatch([], [name], [], []))
        for message, why in broken:
            self._wall.tell(why, message)
        for submission, why in unnamed:
            self._wall.tell(why, submission.message)
        out = {message for message, _ in broken}
        return WriteBatch(
            [message for message in marked if message not in out],
            [
                submission
                for submission in submissions
                if submission not in [lost for lost, _ in unnamed]
            ],
            receipts,
            after,
        )

    async def _write(self, own: OwnConnection, batch: WriteBatch) -> None:
        """Commit the batch, however long the database takes to come back."""
        while True:
            try:
                connection = await own.get()
                try:
                    await batch.write(connection)
                except DatabaseUnavailable:
                    raise
                except Exception as error:
                    log.error("a batch of %d was refused: %s", len(batch), described(error))
                    await self._write_pieces(connection, batch)
                confirm(connection)
                return
            except DatabaseUnavailable as error:
                log.error(
                    "database: %s; what happened is kept and written later", error, extra=AWAY
                )
                own.drop()
                await asyncio.sleep(RETRY_S)

    async def _write_pieces(self, connection: Connection, batch: WriteBatch) -> None:
        """Write everything of the batch by itself; one row must not stop the others.

        A message whose row no table takes stays in its last committed state, where a restart
        finds it.
        """
        for piece in batch.pieces():
            with self._wall.around(piece.about):
                await piece.write(connection)

    def _finish(self, batch: WriteBatch) -> None:
        self.flushes.observe(len(batch))
        for message, status in batch.written():
            settled = status.final and not message.committed.final
            message.committed = status
            try:
                self._committed(message)
                if settled:
                    self._settled(message)
            except Exception as error:  # it is written; what follows from it is not done
                self._wall.tell(described(error), message)
        for call, arguments in batch.after:
            try:
                call(*arguments)
            except Exception as error:
                self._wall.tell(described(error))


def _only_sent(
    marked: dict[Message, bool], submissions: list[SegmentName]
) -> tuple[dict[Message, SegmentName], list[SegmentName]]:
    """The names of marked messages whose rows need no more than that; and all other names."""
    sent: dict[Message, SegmentName] = {}
    others: list[SegmentName] = []
    for name in submissions:
        message = name.message
        if marked.get(message) and message not in sent and only_sent(message):
            sent[message] = name
        else:
            others.append(name)
    return sent, others


class WriteBatch:
    """What one flush commits: the state of things at the moment it was taken."""

    __slots__ = ("after", "columns", "marked", "receipts", "sent", "sent_columns", "submissions")

    def __init__(
        self,
        marked: list[Message],
        submissions: list[SegmentName],
        receipts: list[tuple[Message, int, int]],
        after: list[tuple[Callable[..., object], tuple[Any, ...]]],
        sent: Sequence[SegmentName] = (),
    ) -> None:
        """`sent` are of messages to whose rows nothing else happened; none of them is in `marked`
        or `submissions`.
        """
        self.marked = marked
        self.columns = update_columns(marked)
        self.sent = sent
        self.sent_columns: list[list[Any]] = [
            [name.message.id for name in sent],
            [name.message.sent_at for name in sent],
            [name.message.carrier_id for name in sent],
            [name.carrier_message_id for name in sent],
        ]
        # A message that is settled needs no name at the carrier any more: a receipt cannot
        # move it (the recent ones are recognised from memory).
        self.submissions = [
            (
                submission.message.carrier_id,
                submission.carrier_message_id,
                submission.message.id,
                submission.segment,
                None,
                moment(submission.at),
            )
            for submission in submissions
            if not submission.message.status.final
        ]
        self.receipts = receipts
        self.after = after

    def __len__(self) -> int:
        """Messages of which it writes the state."""
        return len(self.marked) + len(self.sent)

    def __repr__(self) -> str:
        sids = [message.sid for message in self.marked] + [name.message.sid for name in self.sent]
        parts = [(message.sid, segment) for message, segment, _ in self.receipts]
        return f"batch of {sids or self.submissions or parts}"

    def written(self) -> Iterator[tuple[Message, Status]]:
        """Each message of which it writes the state, and that state."""
        yield from zip(self.marked, self.columns[1], strict=True)
        for name in self.sent:
            yield name.message, Status.SENT

    def pieces(self) -> Iterator[WriteBatch]:
        """The same, one message, submission or receipt at a time."""
        for message in self.marked:
            yield WriteBatch([message], [], [], [])
        for name in self.sent:
            yield WriteBatch([], [], [], [], [name])
        for submission in self.submissions:
            piece = WriteBatch([], [], [], [])
            piece.submissions = [submission]
            yield piece
        for receipt in self.receipts:
            yield WriteBatch([], [], [receipt], [])

    @property
    def about(self) -> Message | None:
        """The first message of it."""
        messages = (
            *self.marked,
            *(name.message for name in self.sent),
            *(message for message, _, _ in self.receipts),
        )
        return messages[0] if messages else None

    async def write(self, connection: Connection) -> None:
        """Commit it, by one statement where one can say it all."""
        marked, sent = self.marked, self.sent_columns
        if self.receipts or (self.submissions and not marked):
            await self._write_all(connection)
        elif self.sent and marked:
            await message_rows.sent_and_update(
                connection, sent, Status.SENT, self.columns, self.submissions
            )
        elif self.sent:
            await message_rows.sent(connection, sent, Status.SENT)
        elif self.submissions:
            await message_rows.update_and_submit(connection, self.columns, self.submissions)
        elif marked:
            await message_rows.update(connection, self.columns)

    async def _write_all(self, connection: Connection) -> None:
        async with connection.transaction():
            if self.sent:
                await message_rows.sent(connection, self.sent_columns, Status.SENT)
            if self.marked:
                await message_rows.update(connection, self.columns)
            if self.submissions:
                await submission_rows.insert(connection, self.submissions)
            if self.receipts:
                await submission_rows.mark_receipts(
                    connection,
                    [(message.id, segment, state) for message, segment, state in self.receipts],
                )
