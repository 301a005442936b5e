"""From a queue to a carrier: what may go now is claimed, written, and followed to its answer.

The pacer decides what may go; a claim, committed, makes it ours to send; the connector takes
its segments; outcomes come back segment by segment and are settled per message:

    every segment answered OK            → sent
    a segment refused for good           → failed, with the mapped code
    an answer lost                       → the carrier's policy: again (marked), or failed 30410
    never written, or the carrier throttles → back to the head of its queue, in its place
    no room for its recipient now        → it waits by itself, and others go on
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway.channels.connector import TIMEOUT, Connector, Doubt, Names, Outcome
from gateway.messages.lifecycle import (
    AnswerLost,
    Claimed,
    Lifecycle,
    Receipted,
    Refused,
    Submitted,
)
from gateway.messages.message import Message, Status, Trouble
from gateway.observe.measures import BATCHES, WAIT_S, Histogram, Tally
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.pacing.pacer import Pacer
from gateway.recipients.recipients import OPTED_OUT, ask_blocks
from gateway.runtime.clock import Deadlines
from gateway.stage_runtime import Runtime
from gateway.submission.write_behind import SegmentName, WriteBehind
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage.database import (
    HOT_S,
    Connection,
    DatabaseUnavailable,
    OwnConnection,
    Unconfirmed,
    confirm,
)
from storage.ids import Id

log = logging.getLogger(__name__)

EXPIRED = 30036
BROKEN = 30020  # set aside: it could not be handled
SUSPENDED = 30002  # the account was, after the message was accepted
CLAIM_BOUND = 500  # messages in one claim: what a loop turn can write
RETRY_S = 0.5
REST_S = 1.0
MOST_UNANSWERED = 5  # submissions without an answer; one more copy would not help (30410)
LONGEST_REST_S = 60.0
MOST_RESTING = 10_000  # beyond it a refused message waits at the head of its queue
MOST_TALLIED = 10_000  # senders whose segments are counted
HEAL_S = 5.0  # a lost wake-up costs this much, not a stuck queue


class LongQueues(Protocol):
    """Queues beyond what memory holds."""

    def holds(self, sender_id: int) -> bool: ...
    def takes(self, message: Message) -> bool: ...
    def released(self, sender_id: int) -> None: ...


class _NoOverflow:
    """Memory holds everything."""

    def holds(self, sender_id: int) -> bool:
        return False

    def takes(self, message: Message) -> bool:
        return False

    def released(self, sender_id: int) -> None:
        pass


class Submitter:
    """Owns what waits and what is in flight."""

    def __init__(
        self,
        runtime: Runtime,
        pacer: Pacer[Message],
        writer: WriteBehind,
        names: Names[Message],
        lifecycle: Lifecycle,
        *,
        released: Callable[[Message], None],
        reserved: Mapping[str, int],
    ) -> None:
        self._wall = runtime.walls.of("submit")
        self._lifecycle = lifecycle
        self._database = runtime.database
        self._directory = runtime.directory
        # Test destinations that never leave, and what becomes of their messages: 0, or a code.
        self._reserved = reserved
        self._released = released
        self._pacer = pacer
        self._writer = writer
        self._names = names
        self._clock = runtime.clock
        self._deadlines = Deadlines(runtime.clock)
        self._connectors: Mapping[int, Connector[Message]] = {}
        self._overflow: LongQueues = _NoOverflow()
        self._wake = asyncio.Event()
        self._resume_at = 0.0
        # Whether it is certainly ours to give out anything, at this moment.
        self.confirmed: Callable[[], bool] = lambda: True
        self._doubtful: set[Id] = set()  # whose claim was not confirmed: committed, or not
        self._unconfirmed: set[Id] = set()  # of these: committed, and perhaps on no standby
        self.in_flight = 0
        self._resting: list[tuple[float, int, Message]] = []
        self._rests = 0  # settles ties in the heap
        self.claims = Histogram(BATCHES)
        # Seconds from the acceptance (or SendAt) to the carrier.
        self.queue_waits = Histogram(WAIT_S)
        # By sender, of those that sent last.
        self.segments_sent: Tally[int] = Tally(MOST_TALLIED)

    def leave_to(self, overflow: LongQueues) -> None:
        """Who takes the messages that memory has no room for."""
        self._overflow = overflow

    def connect(self, connectors: Mapping[int, Connector[Message]]) -> None:
        """The carriers that messages may go to."""
        self._connectors = connectors

    # The accept batch ---------------------------------------------------------------------

    def offer(self, messages: Iterable[Message]) -> list[Message]:
        """Claim what can go at once: its tokens and its place in the window are reserved.

        The claim is committed with the accept batch itself (docs/reliability.md#bounds). The caller
        must end it with `go` after the commit, or `withdraw` when there was none; the rest of the
        batch is handed to `wait` after the commit, in order.
        """
        if self._writer.full or not self.confirmed():
            return []
        now, wall = self._clock.monotonic(), self._clock.wall()
        claimed = []
        passed_over: set[int] = set()  # a sender whose earlier message of this batch must wait
        try:
            for message in messages:
                if message.status is not Status.QUEUED:
                    continue
                sender_id = message.sender_id
                message.expires_at = self._deadlines.of(message.valid_until)
                if (
                    sender_id in passed_over
                    or self._overflow.holds(sender_id)
                    or not self._pacer.admit(message, now, self._room)
                ):
                    passed_over.add(sender_id)
                    continue
                self._reserve(message)
                claimed.append(message)
                self._lifecycle.apply(message, Claimed(), at=wall, stored=True)
        except Exception:
            self.withdraw(claimed)
            raise
        return claimed

    def withdraw(self, messages: Iterable[Message]) -> None:
        """The accept batch was not committed: nothing of it happened."""
        for message in messages:
            self._unreserve(message)
            self._pacer.withdraw(message)

    def wait(self, messages: Iterable[Message]) -> None:
        """Take messages that are committed and wait for their turn, in memory or in their rows."""
        self.resume(message for message in messages if not self._overflow.takes(message))

    def resume(self, messages: Iterable[Message]) -> None:
        """Take messages that wait for their turn in memory."""
        now = self._clock.monotonic()
        for message in messages:
            try:
                message.expires_at = self._deadlines.of(message.valid_until)
                self._pacer.enqueue(message.sender_id, message, now)
            except Exception as error:
                self._set_aside(message, described(error))
        if len(self._pacer):
            self._wake.set()

    def go(self, messages: Sequence[Message]) -> None:
        """Write messages that are claimed, and whose claim is committed."""
        wall = self._clock.wall()
        for message in messages:
            self._unreserve(message)
            self.queue_waits.observe(wall - (message.send_at or message.created_at))
            self.segments_sent.add(message.sender_id, message.segments)
            connector = self._connectors.get(message.carrier_id)
            message.trouble, message.refusal = Trouble.NONE, 0
            message.outstanding = message.all_segments & ~message.answered
            self.in_flight += 1
            try:
                if message.recipient in self._reserved:
                    self._pretend(message, self._reserved[message.recipient])
                elif message.outstanding and connector is None:  # it was removed in the meantime
                    self.unsent(message, message.outstanding)
                elif message.outstanding and connector is not None:
                    connector.submit(message)
                else:  # late answers came while it was on its way here
                    self._settle(message)
            except Exception as error:  # no PDU can be made of it
                self.broke_off(message, error)

    def broke_off(self, message: Message, error: Exception) -> None:
        """What was under way of this message is answered by nobody: it fails, and is set aside."""
        under_way = message.outstanding != 0
        message.outstanding = 0
        if under_way:
            self.in_flight -= 1
        self._set_aside(message, described(error))

    def _set_aside(self, message: Message, why: str) -> None:
        """This message can't be handled: it fails, and an Alert says why."""
        self._wall.tell(why, message)
        with self._wall.around(message):
            self._pacer.remove(message)
            self._fail(message, BROKEN)

    def _pretend(self, message: Message, code: int) -> None:
        """A reserved test destination: all that a carrier would do, without one."""
        name = f"reserved-{message.id.hex}"
        if message.outstanding:
            self.answered(message, message.outstanding, Outcome.TAKEN, name)
        else:
            self._settle(message)
        self._lifecycle.apply(message, Receipted(code == 0, code))

    # Questions ----------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether nothing is claimed now: the database is away or another's, or it is behind."""
        behind = self._writer.full or self._resume_at > self._clock.monotonic()
        return behind or not self.confirmed()

    @property
    def resting(self) -> Iterator[Message]:
        """The messages that wait by themselves."""
        return (message for _, _, message in self._resting)

    # The queue ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Release, claim and submit, until cancelled."""
        own = OwnConnection(self._database, "claim", message_rows.tune_for_batches, command_s=HOT_S)
        try:
            while True:
                await self._sleep()
                if self._writer.full:
                    await self._writer.drained()
                released = self._release()
                if not released:
                    continue
                outcome = await self._wall.by_halves(released, partial(self._claim_and_go, own))
                for message, why in outcome.failed:
                    self._unreserve(message)
                    self._set_aside(message, why)
                if outcome.away is not None:
                    log.error("database: %s; what waits goes on waiting", outcome.away, extra=AWAY)
                    doubtful = [message.id for message in outcome.undone if message.waiting]
                    self._doubtful.update(doubtful)
                    if isinstance(outcome.away, Unconfirmed):
                        self._unconfirmed.update(doubtful)
                    self._put_back(outcome.undone)
                    own.drop()
                    self._resume_at = self._clock.monotonic() + RETRY_S
                    continue
                self._wake.set()  # there may be more than one batch of it
                await asyncio.sleep(0)  # what was written this turn leaves at its end
                try:
                    await recipient_rows.unlock(await own.get())
                except DatabaseUnavailable:
                    own.drop()  # its locks go with it
        finally:
            own.drop()

    async def _sleep(self) -> None:
        now = self._clock.monotonic()
        due = self._pacer.next_time()
        due = now + HEAL_S if due is None else min(due, now + HEAL_S)
        if self._resting:
            due = min(due, self._resting[0][0])
        due = max(due, self._resume_at)
        if not self.confirmed():
            due = now + HEAL_S
        if self._wake.is_set() and now >= self._resume_at:
            self._wake.clear()
            return
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._wake.wait()
                if self._resume_at > now:
                    await asyncio.sleep(self._resume_at - now)
        except TimeoutError:
            pass
        self._wake.clear()

    def _release(self) -> list[Message]:
        """What may go now, with its room reserved; what is too old fails here."""
        now = self._clock.monotonic()
        if now < self._resume_at:
            return []
        while self._resting and self._resting[0][0] <= now:
            message = heapq.heappop(self._resting)[2]
            if message.answered == message.all_segments:  # its answer came after all
                self._sent(message)
                self._let_go(message)
            else:
                self._pacer.put_back(message)
        for message in self._pacer.expire(now, self._deadlines.ahead()):
            self._fail(message, EXPIRED)
        if not self.confirmed():
            return []
        released = []
        for message in self._pacer.release(now, self._room, CLAIM_BOUND):
            if message.status.final:  # a receipt settled it while it waited to go again
                self._let_go(message)
                continue
            self._reserve(message)
            released.append(message)
            self._overflow.released(message.sender_id)
        return released

    async def _claim_and_go(self, own: OwnConnection, released: Sequence[Message]) -> None:
        """Claim these, and write what may go; none is written where this raises."""
        try:
            ours = await self._claim(await own.get(), released)
        except Exception:
            self._doubtful.update(message.id for message in released if message.waiting)
            raise
        self.claims.observe(len(ours))
        self.go(ours)

    async def _claim(self, connection: Connection, released: Sequence[Message]) -> list[Message]:
        """Commit the claim of what was not claimed before; drop what may not go any more.

        The locks of the block list are held when this returns: a STOP that is not seen here is
        answered after these messages are on the wire (docs/reliability.md#opt-out).
        """
        blocked = await ask_blocks(connection, released, self._directory)
        waiting = [message for message in released if message.waiting]
        claimed: set[Id] = set()
        if waiting:
            ids = [message.id for message in waiting]
            claimed = await message_rows.claim(connection, ids, Status.SENDING)
            if doubtful := self._doubtful.intersection(ids):
                claimed |= await message_rows.claimed(connection, list(doubtful), Status.SENDING)
            confirm(connection)
            self._doubtful.difference_update(ids)
        wall = self._clock.wall()
        ours: list[Message] = []
        for message in released:
            try:
                if self._may_go(message, claimed, blocked, wall):
                    ours.append(message)
            except Exception as error:  # the claim is committed: only this one stays behind
                self._unreserve(message)
                self._set_aside(message, described(error))
        return ours

    def _may_go(
        self, message: Message, claimed: set[Id], blocked: set[Message], wall: float
    ) -> bool:
        """Whether this one is written; one that is not is let go of here."""
        if message.status.final:  # canceled while the database was asked
            self._unreserve(message)
            self._let_go(message)
            return False
        if message.waiting:
            if message.id not in claimed:  # canceled in the meantime
                self._unreserve(message)
                self._let_go(message)
                return False
            message.committed = Status.SENDING
        if not self._account_is_active(message):
            code = SUSPENDED
        elif message in blocked:
            code = OPTED_OUT
        else:
            if message.waiting:
                self._lifecycle.apply(message, Claimed(), at=wall, stored=True)
            if message.id in self._unconfirmed:  # another may have claimed it, on a standby
                self._unconfirmed.discard(message.id)
                self._lifecycle.apply(message, AnswerLost(), at=wall)
            return True
        self._unreserve(message)
        self._pacer.withdraw(message)
        self._fail(message, code)
        return False

    def _account_is_active(self, message: Message) -> bool:
        account = self._directory.accounts_by_id.get(message.account_id)
        return account is None or account.active

    def _put_back(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._unreserve(message)
            self._pacer.put_back(message, refund=True)

    # Outcomes -----------------------------------------------------------------------------

    def answered(
        self,
        message: Message,
        segments: int,
        outcome: Outcome,
        carrier_message_id: str,
        code: int = 0,
    ) -> None:
        """The answer to some segments (a bit mask), which the carrier gave one id."""
        if not message.outstanding & segments:  # it was set aside after its first part had left
            return
        message.outstanding &= ~segments
        if outcome is Outcome.TAKEN:
            message.answered |= segments
            message.attempts = 0
            segment = (segments & -segments).bit_length() - 1  # the first stands for all
            self._writer.submitted(
                SegmentName(message, segment + 1, carrier_message_id, self._clock.wall())
            )
            self._names.expect(message, segment, carrier_message_id)
        elif outcome is Outcome.CONGESTED:
            message.trouble |= Trouble.CONGESTED
        elif outcome is Outcome.BUSY:
            message.trouble |= Trouble.BUSY
        else:
            message.refusal = code
        if not message.outstanding:
            self._settle(message)

    def lost(self, message: Message, segments: int, timed_out: bool) -> None:
        if not message.outstanding & segments:
            return
        message.outstanding &= ~segments
        message.trouble |= Trouble.TIMED_OUT if timed_out else Trouble.LOST
        if not message.outstanding:
            self._settle(message)

    def unsent(self, message: Message, segments: int) -> None:
        if not message.outstanding & segments:
            return
        message.outstanding &= ~segments
        message.trouble |= Trouble.UNSENT
        if not message.outstanding:
            self._settle(message)

    def answered_late(self, message: Message, segments: int, carrier_message_id: str) -> None:
        """An answer after its time: the carrier has the message, so it is not sent again."""
        message.answered |= segments
        segment = (segments & -segments).bit_length() - 1
        self._writer.submitted(
            SegmentName(message, segment + 1, carrier_message_id, self._clock.wall())
        )
        self._names.expect(message, segment, carrier_message_id)
        if message.answered == message.all_segments and self._pacer.remove(message):
            # It stood in its queue, to be sent once more. (One that rests or is under way is
            # settled when that is over.)
            self._sent(message)
            self._released(message)

    def moved(self, messages: Iterable[Message], carrier_of: Mapping[int, int]) -> None:
        """Numbers went to other carriers (sender id → carrier id): what waits goes with them."""
        for message in messages:
            carrier_id = carrier_of.get(message.sender_id)
            if carrier_id is not None and not message.outstanding:
                message.carrier_id = carrier_id
        self._wake.set()

    def take_out(self, message: Message) -> bool:
        """Take a message out of its sender's queue; False if it does not wait there."""
        return self._pacer.remove(message)

    def give_up(self, message: Message, code: int) -> None:
        """What waits in its queue fails there; what is under way goes on."""
        if self._pacer.remove(message):
            self._fail(message, code)

    def room_changed(self) -> None:
        if len(self._pacer) or self._resting:  # mostly everything goes with its accept batch
            self._wake.set()

    def rate_changed(self, carrier_id: int, lowered: bool) -> None:
        """The carrier is given more or less: its head waits for that, and keeps its place."""
        self._pacer.carrier_rate_changed(carrier_id, self._clock.monotonic(), rest=lowered)
        self._wake.set()

    def _settle(self, message: Message) -> None:
        """No segment is under way any more: decide what comes next for the message."""
        self.in_flight -= 1
        if message.answered == message.all_segments:
            self._sent(message)
            self._let_go(message)
        elif message.refusal:
            self._fail(message, message.refusal)
        elif message.status.final:  # a receipt was faster than the other segments' answers
            self._let_go(message)
        else:
            if message.trouble & (Trouble.LOST | Trouble.TIMED_OUT):
                connector = self._connectors.get(message.carrier_id)
                doubt = connector.doubt if connector is not None else Doubt.RESUBMIT
                message.unanswered += 1
                if doubt is Doubt.GIVE_UP or message.unanswered >= MOST_UNANSWERED:
                    self._fail(message, TIMEOUT)
                    return
                log.info(
                    "no answer for %s: it is sent again", message.sid, extra={"sid": message.sid}
                )
                self._lifecycle.apply(message, AnswerLost())
            waits_alone = (
                message.trouble & (Trouble.BUSY | Trouble.TIMED_OUT) or message.unanswered > 1
            )
            if waits_alone and len(self._resting) < MOST_RESTING:
                self._rest(message)
            else:
                never_written = message.trouble is Trouble.UNSENT
                self._pacer.put_back(message, refund=never_written)
            self._wake.set()

    def _sent(self, message: Message) -> None:
        self._lifecycle.apply(message, Submitted())

    def _rest(self, message: Message) -> None:
        """Let one message wait by itself: 1, 2, 4 … 60 s, while the others of its sender go on.

        For the pacer it is still in flight, so what follows to its recipient waits behind it.
        """
        wait = min(REST_S * 2 ** min(message.attempts, 10), LONGEST_REST_S)
        message.attempts += 1
        self._rests += 1
        due = self._clock.monotonic() + wait
        heapq.heappush(self._resting, (due, self._rests, message))

    def _fail(self, message: Message, code: int) -> None:
        self._lifecycle.apply(message, Refused(code))
        self._let_go(message, left=code != TIMEOUT)

    def _let_go(self, message: Message, *, left: bool = True) -> None:
        if self._doubtful:
            self._doubtful.discard(message.id)
            self._unconfirmed.discard(message.id)
        message.content = None
        self._pacer.done(message, left=left)
        self._released(message)

    # Room ---------------------------------------------------------------------------------

    def _room(self, carrier_id: int) -> int:
        connector = self._connectors.get(carrier_id)
        return connector.room if connector is not None else 0

    def _reserve(self, message: Message) -> None:
        if (connector := self._connectors.get(message.carrier_id)) is not None:
            connector.reserved += message.segments

    def _unreserve(self, message: Message) -> None:
        if (connector := self._connectors.get(message.carrier_id)) is not None:
            connector.reserved -= message.segments
