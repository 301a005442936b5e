"""After a restart: every message that is not finished is taken up where it was.

Waiting rows are queued again in their order. A row that was claimed but has no recorded answer is
ambiguous (docs/reliability.md#the-one-ambiguity): its bytes may or may not have left. The carrier's
policy decides: sent again, with the same references and marked a possible duplicate, or failed with
30410. Segments whose answer was recorded are not sent again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.backlog.overflow import Overflow
from gateway.backlog.owed_sweep import PAGE, RECENT_S, OwedSweep
from gateway.backlog.requeue import Requeue
from gateway.channels.connector import TIMEOUT, Doubt
from gateway.messages.lifecycle import AnswerLost, Submitted
from gateway.messages.message import Direction, Message, Status
from gateway.messages.rows import from_row
from gateway.observe.wall import described
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import Submitter
from storage import messages as message_rows
from storage import submissions as submission_rows
from storage.database import Connection
from storage.ids import BELOW_ALL, Id, id_at
from storage.messages import MessageRow, WaitingRow

log = logging.getLogger(__name__)

STRANDED_S: Final = 30.0  # what waits for longer has been in somebody's memory, or is in none
MOST_STRANDED: Final = 10_000  # rows taken up in one sweep
SETTLING_S: Final = 5.0  # in which what another stage of this process stored is in memory


@dataclass(slots=True)
class Recovered:
    """What a restart found."""

    waiting: int = 0
    ambiguous: int = 0
    owed_callbacks: int = 0


class Recovery:
    """Reads unfinished rows and hands them to the stages that they were in."""

    def __init__(
        self,
        runtime: Runtime,
        submitter: Submitter,
        overflow: Overflow,
        requeue: Requeue,
        owed: OwedSweep,
        *,
        doubt_of: Callable[[int], Doubt],
    ) -> None:
        """`doubt_of` is asked with the carrier's id."""
        self._wall = runtime.walls.of("recovery")
        self._ownership = runtime.ownership
        self._ids = runtime.next_id
        self._router = requeue.router
        self._submitter = submitter
        self._overflow = overflow
        self._requeue = requeue
        self._lifecycle = requeue.lifecycle
        self._live = runtime.live
        self._clock = runtime.clock
        self._owe_callbacks = owed.owe_callbacks
        self._doubt_of = doubt_of

    async def run(self, connection: Connection) -> Recovered:
        """Take everything of ours up again; before the first new message is accepted."""
        recovered = Recovered()
        async for rows in self._unfinished(connection):
            await self._take_up(connection, rows, recovered)
        if recovered != Recovered():
            log.info(
                "taken up again: %d waiting, %d ambiguous, %d with callbacks owed",
                recovered.waiting,
                recovered.ambiguous,
                recovered.owed_callbacks,
            )
        return recovered

    async def take_up_named(self, connection: Connection, ids: Sequence[Id]) -> int:
        """Take up those of these rows that wait, while we run. How many."""
        rows = await message_rows.by_ids(connection, ids)
        ours = sorted(filter(self._is_ours, rows), key=lambda row: row["id"].bytes)
        return await self._adopt(connection, ours)

    async def take_up_waiting(self, connection: Connection) -> int:
        """Take up whatever waits, is ours, and is not in memory, while we run. How many."""
        taken = 0
        async for rows in self._unfinished(connection):
            taken += await self._adopt(
                connection,
                [
                    row
                    for row in rows
                    if row["direction"] == Direction.OUTBOUND_API
                    or self._ids.age(row["id"]) > SETTLING_S
                ],
            )
        return taken

    async def take_up_stranded(self, connection: Connection) -> int:
        """Take up what has waited for a while, is ours, and in nobody's memory. How many.

        There is none, unless something went wrong: whoever stored it died, or lost its right to
        the database, after somebody else had read what waits.
        """
        live, overflow = self._live, self._overflow
        found: list[Id] = []
        async for rows in message_rows.old_waiting(
            connection,
            before=id_at(self._ids.now() - STRANDED_S),
            scheduled_status=Status.SCHEDULED,
            without_senders=overflow.senders(),  # all of theirs are read in their turn
            page=PAGE,
        ):
            found += [row["id"] for row in rows if row["id"] not in live and self._is_ours(row)]
            if len(found) >= MOST_STRANDED:
                break
        if not found:
            return 0
        named = await message_rows.by_ids(connection, found)
        waiting = [row for row in named if row["waiting"] is not None and self._is_ours(row)]
        return await self._adopt(connection, sorted(waiting, key=lambda row: row["id"].bytes))

    @property
    def holding(self) -> int:
        """Messages that have waited for a while in their rows, and are in this memory."""
        first = id_at(self._ids.now() - STRANDED_S).bytes
        waiting = (Status.ACCEPTED, Status.QUEUED)
        held = sum(
            message.committed in waiting and not message.spilled and message.id.bytes < first
            for message in list(self._live.values())
        )
        return held + len(self._overflow)

    async def _adopt(self, connection: Connection, rows: list[MessageRow]) -> int:
        new = [
            row
            for row in rows
            if row["id"] not in self._live
            and row["status"] != Status.SCHEDULED
            # What ended may owe its callbacks: an operator closed it.
            and (row["waiting"] is not None or Status(row["status"]).final)
        ]
        behind = [row for row in new if self._overflow.found(row)]
        for row in behind:
            if row["callback_url"] is not None:
                message = self._live[row["id"]] = from_row(row)
                message.spilled = True
                message.content = None
                self._owe_callbacks(message)
        found = {row["id"] for row in behind}
        new = [row for row in new if row["id"] not in found]
        await self._take_up(connection, new, Recovered())
        return len(new) + len(behind)

    async def _unfinished(self, connection: Connection) -> AsyncIterator[list[MessageRow]]:
        """All that is not finished and ours, in order of acceptance, page by page."""
        after = BELOW_ALL
        since = id_at(self._clock.wall() - RECENT_S)
        while True:
            rows = await message_rows.unfinished(
                connection,
                after=after,
                since=since,
                inbound=Direction.INBOUND,
                claimed_status=Status.SENDING,
                scheduled_status=Status.SCHEDULED,
                most=PAGE,
            )
            yield [row for row in rows if self._is_ours(row)]
            if len(rows) < PAGE:
                break
            after = rows[-1]["id"]

    def _is_ours(self, row: WaitingRow) -> bool:
        return self._ownership.mine(row["service_id"], row["sender_id"])

    async def _take_up(
        self, connection: Connection, rows: list[MessageRow], recovered: Recovered
    ) -> None:
        kept = [row for row in rows if not self._overflow.leaves(row)]
        recovered.waiting += len(rows) - len(kept)
        messages: list[Message] = []
        rows = []
        for row in kept:
            try:
                messages.append(from_row(row))
                rows.append(row)
            except Exception as error:  # it stays in its row
                self._tell(row, described(error))
        by_id = {message.id: message for message in messages}
        long = [message.id for message in messages if message.segments > 1]
        if long:
            for id, segment, receipt in await submission_rows.of_messages(connection, long):
                message, bit = by_id[id], 1 << (segment - 1)
                message.answered |= bit
                if receipt is not None:
                    message.receipts |= bit
            for id in long:
                message = by_id[id]
                ways = self._router.ways(message.carrier_id)
                if ways is not None:
                    message.answered = ways.answered_parts(message.answered, message.segments)
        queue = []
        for message, row in zip(messages, rows, strict=True):
            self._live[message.id] = message
            try:
                if message.status < Status.SENT and self._belongs_in_queue(
                    message, row["body"], recovered
                ):
                    queue.append(message)
                if message.callback_url is not None:
                    recovered.owed_callbacks += 1
                    self._owe_callbacks(message)
            except Exception as error:
                self._tell(row, described(error))
        self._submitter.wait(queue)

    def _tell(self, row: MessageRow, why: str) -> None:
        self._wall.tell(why, resource=f"SM{row['id'].hex}", account_id=row["account_id"])

    def _belongs_in_queue(self, message: Message, body: str, recovered: Recovered) -> bool:
        """Whether the message goes (again) from its sender's queue; one that can't fails here."""
        if message.status is Status.SENDING:
            if message.answered == message.all_segments:
                self._lifecycle.apply(message, Submitted())
                return False
            recovered.ambiguous += 1
            if self._doubt_of(message.carrier_id) is Doubt.GIVE_UP:
                return self._requeue.fail(message, TIMEOUT)
            self._lifecycle.apply(message, AnswerLost())
        else:
            recovered.waiting += 1
        return self._requeue.belongs(message, body)
