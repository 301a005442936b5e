"""Senders for messages that are stored already: late, again, or when their time has come.

What waits without a sender gets one that has time for it; what lost its sender while it waited
is chosen anew; so is what was scheduled. All go through the same admission as a new message, and
are written where a new one is inserted: status, sender, mapping and (where it can go at once) the
claim in one commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gateway.acceptance.admission import Admission
from gateway.acceptance.draft import Draft
from gateway.acceptance.unassigned import Taken
from gateway.messages.lifecycle import Lifecycle, Refused
from gateway.messages.message import Message, Status
from gateway.messages.rows import assign_columns
from gateway.observe.outage_log import AWAY
from gateway.runtime.clock import Deadlines
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import BROKEN, EXPIRED, Submitter
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage.database import DatabaseUnavailable, OwnConnection, confirm
from storage.ids import Id

log = logging.getLogger(__name__)

BATCH = 500  # messages in one transaction
RETRY_S = 0.5
PAUSE_S = 0.02  # between two looks at what waits: a busy pool wakes it all the time
HEAL_S = 1.0  # a lost wake-up costs this much


class Assigner:
    """Owns what is stored and has no sender."""

    def __init__(
        self,
        runtime: Runtime,
        admission: Admission,
        submitter: Submitter,
        lifecycle: Lifecycle,
        committed: Callable[[Message], None],
    ) -> None:
        self._wall = runtime.walls.of("assign")
        self._database = runtime.database
        self._admission = admission
        self.router = admission.router
        self._unassigned = self.router.unassigned
        self._submitter = submitter
        self._lifecycle = lifecycle
        self._clock = runtime.clock
        self._deadlines = Deadlines(runtime.clock)
        self._committed = committed
        self._anew: deque[Draft] = deque()
        self._doubtful: set[Id] = set()  # of a batch whose commit was not confirmed
        self.assigned = 0
        self._wake = asyncio.Event()
        # Takes what needs something from outside before it can be chosen a sender for.
        self.gather: Callable[[Draft], None] = self._nowhere

    def _nowhere(self, draft: Draft) -> None:
        self.admit((draft,))

    def hold(self, drafts: Iterable[Draft]) -> None:
        """Take drafts that are committed and wait for a sender."""
        for draft in drafts:
            draft.message.expires_at = self._deadlines.of(draft.message.valid_until)
            if self.router.awaited.awaits(draft):
                self.gather(draft)
                continue
            self._unassigned.hold(draft)
            self._wake.set()

    def admit(self, drafts: Iterable[Draft]) -> None:
        """Take drafts that are stored, and to be chosen a sender for as if they had just come."""
        for draft in drafts:
            self._anew.append(draft)
            self._wake.set()

    def stir(self) -> None:
        """A sender has less to do than before."""
        if self._unassigned:
            self._wake.set()

    def withdraw(self, message: Message) -> bool:
        """Take out a message that is to be canceled; False if it does not wait here."""
        return self._unassigned.remove(message)

    @property
    def anew(self) -> Sequence[Draft]:
        """The drafts that are chosen a sender for next."""
        return self._anew

    async def run(self) -> None:
        own = OwnConnection(self._database, "assign", message_rows.tune_for_batches)
        try:
            while True:
                await self._sleep()
                self._expire()
                taken = self._take()
                if not taken:
                    continue
                outcome = await self._wall.by_halves(taken, partial(self._assign, own))
                for draft, why in outcome.failed:
                    self._set_aside(draft, why)
                if outcome.away is not None:
                    log.error(
                        "database: %s; what has no sender goes on waiting",
                        outcome.away,
                        extra=AWAY,
                    )
                    own.drop()
                    self._doubtful.update(draft.message.id for draft in outcome.undone)
                    self._anew.extendleft(reversed(outcome.undone))
                    await asyncio.sleep(RETRY_S)
                else:
                    await self._unlock(own)
                self._wake.set()
                await asyncio.sleep(PAUSE_S)
        finally:
            own.drop()

    def _set_aside(self, draft: Draft, why: str) -> None:
        """The draft can't be chosen a sender for: it fails, and an Alert says why."""
        message = draft.message
        self._wall.tell(why, message)
        with self._wall.around(message):
            self.router.awaited.end(draft)
            self._unassigned.placed(draft)
            self._doubtful.discard(message.id)
            self._lifecycle.apply(message, Refused(BROKEN))

    async def _unlock(self, own: OwnConnection) -> None:
        """Let go of the block list. The batch is committed: a failure here is none of it."""
        await asyncio.sleep(0)  # what was written this turn leaves at its end
        try:
            await recipient_rows.unlock(await own.get())
        except DatabaseUnavailable:
            own.drop()  # its locks go with it

    async def _sleep(self) -> None:
        due = HEAL_S if self._unassigned else None
        try:
            async with asyncio.timeout(due):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _expire(self) -> None:
        for message in self._unassigned.expire(self._clock.monotonic() + self._deadlines.ahead()):
            self._lifecycle.apply(message, Refused(EXPIRED))

    def _take(self) -> list[Draft]:
        """What is chosen a sender for now. Its standing counts nothing of it."""
        drafts = [self._anew.popleft() for _ in range(min(BATCH, len(self._anew)))]
        for draft in drafts:
            if draft.message.status.final:
                self.router.awaited.end(draft)
                self._unassigned.placed(draft)
                self._doubtful.discard(draft.message.id)
        drafts = [draft for draft in drafts if not draft.message.status.final]
        if self._unassigned and len(drafts) < BATCH:
            now = self._clock.wall()
            choose = partial(self.router.decider.preview, now=now)
            taken = self._unassigned.take(choose, now, BATCH - len(drafts))
            self._settle(taken)
            drafts.extend(turn.draft for turn in taken)
        return drafts

    def _settle(self, taken: list[Taken]) -> None:
        for draft, sender_id in taken:
            if sender_id:
                self.router.loads.settled(sender_id, draft.message.segments)

    async def _assign(self, own: OwnConnection, drafts: Sequence[Draft]) -> None:
        connection = await own.get()
        facts = await self._admission.ask(connection, drafts)
        messages = [draft.message for draft in drafts]
        for message in messages:
            message.status = Status.ACCEPTED  # whatever it was before: it is chosen anew
        claimed: list[Message] = []
        try:
            self.router.route(drafts, facts)
            async with connection.transaction():
                if doubtful := self._doubtful.intersection(message.id for message in messages):
                    # The commit may have claimed them; nothing of them was written.
                    await message_rows.unclaim(
                        connection, list(doubtful), Status.SENDING, Status.QUEUED
                    )
                await self._admission.reserve(connection, drafts, facts)
                claimed = self._submitter.offer(messages)
                ours = await message_rows.assign(connection, assign_columns(messages))
            confirm(connection)
        except Exception:
            self._submitter.withdraw(claimed)
            self.router.undo(drafts, facts)
            raise
        self._doubtful.difference_update(message.id for message in messages)
        self._pass_on(drafts, claimed, ours)

    def _pass_on(self, drafts: Sequence[Draft], claimed: list[Message], ours: set[Id]) -> None:
        """The batch is committed; what was canceled in the meantime is none of ours."""
        gone = [draft.message for draft in drafts if draft.message.id not in ours]
        for message in gone:
            if message in claimed:
                claimed.remove(message)
                self._submitter.withdraw([message])
            self.router.release(message)
            message.status = message.committed = Status.CANCELED
            message.waiting = False
        messages = [draft.message for draft in drafts if draft.message.id in ours]
        self.assigned += len(messages)
        for message in messages:
            message.committed = message.status
        going = set(claimed)
        self._submitter.wait(
            message
            for message in messages
            if message.status is Status.QUEUED and message not in going
        )
        for draft in drafts:
            self.router.awaited.end(draft)
            self._unassigned.placed(draft)
        self.hold(draft for draft in drafts if draft.message.status is Status.ACCEPTED)
        self._submitter.go(claimed)
        for message, why in self._wall.each(messages, self._committed):
            self._wall.tell(why, message)
