"""Taking a message back before it is claimed (docs/spec/twilio-api.md#scheduling-and-cancel).

The database decides: a cancel and a claim update the same row under the same condition
(`waiting IS NOT NULL`), so exactly one of them has it. What memory knows follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.acceptance.assigner import Assigner
from gateway.backlog.overflow import Overflow
from gateway.messages.lifecycle import Canceled, Lifecycle
from gateway.messages.message import Direction, Message, Status
from gateway.messages.rows import from_row, seconds
from gateway.pacing.pacer import Pacer
from gateway.stage_runtime import Runtime
from storage import message_changes
from storage.ids import Id
from storage.messages import MessageRow


class Canceler:
    """Cancels stored messages, and takes them out of whatever stage they wait in."""

    def __init__(
        self,
        runtime: Runtime,
        pacer: Pacer[Message],
        assigner: Assigner,
        overflow: Overflow,
        lifecycle: Lifecycle,
        *,
        released: Callable[[Message], None],
        never_submitted: Callable[[Message], None],
        unscheduled: Callable[[int, Id], None],
        committed: Callable[[Message], None],
    ) -> None:
        self._pool = runtime.pool
        self._lifecycle = lifecycle
        self._live = runtime.live
        self._pacer = pacer
        self._assigner = assigner
        self._overflow = overflow
        self._released = released
        self._never_submitted = never_submitted
        self._unscheduled = unscheduled
        self._committed = committed

    async def cancel(self, account_id: int, message_id: Id) -> MessageRow | None:
        """The row of the canceled message; None when it is too late, or there is none."""
        if self._left(message_id):
            return None
        row = await message_changes.cancel(
            self._pool,
            account_id,
            message_id,
            canceled=Status.CANCELED,
            inbound=Direction.INBOUND,
        )
        if row is not None:
            self._canceled(row)
        return row

    async def cancel_many(self, account_id: int, ids: Sequence[Id]) -> set[Id]:
        """Which of many messages were canceled: one statement for all of them but for the few
        that somebody else had in hand just then, each of which is decided by itself.
        """
        wanted = [id for id in ids if not self._left(id)]
        if not wanted:
            return set()
        rows = await message_changes.cancel_many(
            self._pool,
            account_id,
            wanted,
            canceled=Status.CANCELED,
            inbound=Direction.INBOUND,
        )
        for row in rows:
            self._canceled(row)
        taken = {row["id"] for row in rows}
        rest = [id for id in wanted if id not in taken]
        for id in await message_changes.waiting(self._pool, rest) if rest else ():
            if await self.cancel(account_id, id) is not None:
                taken.add(id)
        return taken

    def _left(self, message_id: Id) -> bool:
        """Whether memory knows better: its claim or its failure may not be written yet."""
        message = self._live.get(message_id)
        return message is not None and message.status > Status.QUEUED

    def _canceled(self, row: MessageRow) -> None:
        if row["send_at"] is not None and row["queued_at"] is None:
            self._unscheduled(row["account_id"], row["id"])
        self._follow(row)

    def _follow(self, row: MessageRow) -> None:
        message = self._live.get(row["id"])
        if message is None or message.spilled:
            self._overflow.canceled(row)
        if message is None:
            message = self._live[row["id"]] = from_row(row)
            self._never_submitted(message)
        else:
            if self._pacer.remove(message):
                self._released(message)
            else:
                self._assigner.withdraw(message)
            # Whoever has it in hand just now finds it final, or its row taken.
            self._lifecycle.apply(message, Canceled(), stored=True)
            message.spilled = False
            message.queued_at = seconds(row["queued_at"])
            message.done_at = seconds(row["done_at"])
            message.committed = Status.CANCELED
        self._committed(message)
