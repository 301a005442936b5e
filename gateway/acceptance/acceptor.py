"""Accept: everything that waits is committed together, then answered.

One flush is one transaction (a COPY). It begins when the one before it has ended and
something waits, so batches form by themselves under load and a lone message waits for
nothing. A unit (one request: a message, or the thousand of a bulk call) is accepted whole or
not at all; its answer follows the commit. Large units have a connection of their own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import nullcontext
from typing import TypeVar

from gateway.acceptance.admission import Admission
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.committer import (
    AcceptUnit,
    Also,
    ByTurns,
    Client,
    Committer,
    Done,
)
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.content.shortening import LIFE_S
from gateway.messages.message import Message, Status
from gateway.messages.rows import insert_row, moment
from gateway.observe.measures import BATCHES, LATENCY_S, Histogram
from gateway.observe.outage_log import AWAY
from gateway.recipients.recipients import RecipientFacts
from gateway.stage_runtime import Runtime
from gateway.submission.submitter import Submitter
from storage import idempotency as key_rows
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage import short_links as link_rows
from storage.database import Connection, DatabaseUnavailable, confirm
from storage.idempotency import IdempotencyKey
from storage.ids import Id

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH = 500  # messages in one transaction
LARGE = 100  # messages of one unit; one with more is committed apart
SLICE = 100  # messages of a large unit that are handled without a pause
# Messages waiting for a commit; beyond it: 429 (docs/reliability.md#bounds).
BACKLOG = 10_000  # in units that are not large; in large ones, of one account
LARGE_BACKLOG = 50_000  # in large units of all accounts
PATIENT_S = 0.5  # no client gives up sooner than that


class Overloaded(Exception):
    """More waits than can be committed soon: the client is to come back (20429)."""


class Unavailable(Exception):
    """The database is away: nothing was stored (20503)."""


class Gone(Exception):
    """Whoever asked for it is not there any more: nothing was stored, and nobody hears of it."""


class Rejected(Exception):
    """This unit's own content could not be stored; nothing of it was (20500)."""


class OptedOut(Exception):
    """The recipient of a plain From has asked for no more: nothing was stored (21610)."""


class Repeated(Exception):
    """This idempotency key was used before: nothing was stored (20409)."""


class _Repeats(Exception):
    """Some messages of a batch have used keys: the batch is rolled back, and goes without them."""

    def __init__(self, message_ids: set[Id]) -> None:
        super().__init__(f"{len(message_ids)} repeated")
        self.message_ids = message_ids


class Acceptor:
    """Takes units in, chooses, commits, answers and passes them on."""

    def __init__(
        self,
        runtime: Runtime,
        admission: Admission,
        submitter: Submitter,
        assigner: Assigner,
        *,
        committed: Callable[[Message], None],
        handed_over: Callable[[Draft], None],
    ) -> None:
        """`handed_over` hears of each committed draft that is another worker's."""
        self._wall = runtime.walls.of("accept")
        self._ownership = runtime.ownership
        self._handed_over = handed_over
        self._monotonic = runtime.clock.monotonic
        self._admission = admission
        self._router: Router = admission.router
        self._submitter = submitter
        self._assigner = assigner
        self._committed = committed
        self._live = runtime.live
        self._in_turn = ByTurns()
        self.small = Committer("accept", runtime.database, self, deque())
        self.large = Committer("accept-large", runtime.database, self, self._in_turn)
        # What the large unit that is being committed holds in the database until it is: who waits
        # for that waits behind it, so that nobody else waits with him.
        self._of_large: frozenset[Hashable] = frozenset()
        self._closed = False
        self._open = asyncio.Event()  # not while rows that became ours are taken up
        self._open.set()
        self._pauses = 0
        # Whether it is certainly ours to accept anything, at this moment.
        self.confirmed: Callable[[], bool] = lambda: True
        # Messages that wait for a commit.
        self.backlog = 0
        self._large_backlog = 0
        self.accepted = 0
        # Messages in each commit.
        self.flushes = Histogram(BATCHES)
        # Seconds from a unit's coming to its answer.
        self.latency = Histogram(LATENCY_S)
        # Units, by the name of the error.
        self.refused: Counter[str] = Counter()

    def submit(
        self,
        drafts: Sequence[Draft],
        done: Done,
        also: Also | None = None,
        key: IdempotencyKey | None = None,
        client: Client | None = None,
    ) -> None:
        """Take a unit in; `done(None)` follows its commit, `done(error)` says it is not stored.

        One whose `client` is gone by the time its batch is taken is not stored: while the database
        hung, its app has given up, and may have sent it anew.

        A `key`, an idempotency key, that was used before ends in `Repeated`. Raises
        Overloaded or Unavailable at once when there is no use in waiting.
        """
        if not self.available or self._closed:
            self.refused[Unavailable.__name__] += 1
            raise Unavailable
        unit = AcceptUnit(drafts, done, also, key, self._monotonic(), client)
        if self._is_over(unit):  # so a unit, whole or not at all, always gets its turn
            self.refused[Overloaded.__name__] += 1
            raise Overloaded
        self.backlog += len(drafts)
        if len(drafts) > LARGE:
            self._large_backlog += len(drafts)
            self.large.put(unit)
        else:
            self.small.put(unit)

    def _is_over(self, unit: AcceptUnit) -> bool:
        """Whether there is no room for one more like this."""
        if len(unit.drafts) <= LARGE:
            return self.backlog - self._large_backlog >= BACKLOG
        mine = self._in_turn.messages_of(unit.drafts[0].message.account_id)
        return mine >= BACKLOG or self._large_backlog >= LARGE_BACKLOG

    @property
    def available(self) -> bool:
        """Whether what is taken in can be committed."""
        return self.small.available and self.large.available

    async def connected(self) -> None:
        """Return once the first connections were there."""
        await self.small.connected.wait()
        await self.large.connected.wait()

    def pause(self) -> None:
        """Let what comes wait, uncommitted: mail that was accepted earlier is on its way here."""
        self._pauses += 1
        self._open.clear()

    @property
    def paused(self) -> bool:
        return self._pauses > 0

    def resume(self) -> None:
        """Once for each `pause`."""
        self._pauses -= 1
        if not self._pauses:
            self._open.set()

    async def settled(self) -> None:
        """Return once the batches that are being committed now are handed on."""
        await self.small.between.wait()
        await self.large.between.wait()

    async def close(self) -> None:
        """Take nothing more in; return when what was taken is answered."""
        self._closed = True
        await self.small.answered.wait()
        await self.large.answered.wait()

    def suspend(self) -> None:
        """The right to accept anything is lost: what waits is answered now, nothing is taken in."""
        self.small.suspend()
        self.large.suspend()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.small.run(), name="accept")
            tasks.create_task(self.large.run(), name="accept large")

    async def opened(self) -> None:
        """Return when what comes may be committed."""
        await self._open.wait()

    def refuse(self, units: list[AcceptUnit]) -> None:
        """The database is away, and nothing of these was done."""
        for unit in units:
            self._left(unit)
        self._answer(units, Unavailable())

    def _left(self, unit: AcceptUnit) -> None:
        """The unit waits no more."""
        self.backlog -= len(unit.drafts)
        if len(unit.drafts) > LARGE:
            self._large_backlog -= len(unit.drafts)

    def take(self, committer: Committer) -> list[AcceptUnit]:
        """The units that are committed next."""
        units: list[AcceptUnit] = []
        messages = 0
        hurried = self._monotonic() - PATIENT_S
        most = 1 if committer is self.large else BATCH
        while committer.waiting and messages < most:
            unit = committer.waiting.popleft()
            if unit.since <= hurried and unit.client is not None and unit.client.gone():
                self._left(unit)
                self._answer([unit], Gone())
                continue
            if committer is self.small and self._waits_for_large(unit):
                self.large.put(unit)
                continue
            self._left(unit)
            messages += max(1, len(unit.drafts))  # an operation may have nobody to send to
            units.append(unit)
        return units

    def _waits_for_large(self, unit: AcceptUnit) -> bool:
        held = self._of_large
        return bool(held) and not held.isdisjoint(_held_by(unit))

    async def flush(self, committer: Committer, units: list[AcceptUnit]) -> bool:
        """Commit and answer these units, and write what can go. False: the database is gone.

        A unit that can't be stored is refused by itself.
        """
        if committer is self.small:
            return await self._flush(committer, units)
        self._of_large = frozenset(held for unit in units for held in _held_by(unit))
        try:
            await self.small.between.wait()  # what it commits now may hold the same
            return await self._flush(committer, units)
        finally:
            self._of_large = frozenset()

    async def _flush(self, committer: Committer, units: Sequence[AcceptUnit]) -> bool:
        kept = True

        async def commit(some: Sequence[AcceptUnit]) -> None:
            nonlocal kept
            kept = await self._commit(committer, list(some)) and kept

        for unit, why in (await self._wall.by_halves(units, commit)).failed:
            self._wall.tell(why, unit.drafts[0].message if unit.drafts else None)
            self._answer([unit], Rejected(why))
        return kept

    async def _commit(self, committer: Committer, units: list[AcceptUnit]) -> bool:
        """The same for all of them or none: whatever else a unit causes is raised."""
        connection = committer.connection
        assert connection is not None
        try:
            facts = await self._admission.ask(
                connection, [draft for unit in units for draft in unit.drafts]
            )
            if facts.blocks:
                units = self._without_refused(units, facts)
            await self._accept(committer, connection, units, facts)
        except DatabaseUnavailable as error:
            log.error("database: %s", error, extra=AWAY)
            self._answer(units, Unavailable())
            return False
        try:
            if not committer.waiting:  # else the next flush lets go of the locks
                await asyncio.sleep(0)  # what was written this turn leaves at its end
                await recipient_rows.unlock(connection)
        except DatabaseUnavailable as error:  # the units have their answers
            log.error("database: %s", error, extra=AWAY)
            return False
        return True

    def _without_refused(self, units: list[AcceptUnit], facts: RecipientFacts) -> list[AcceptUnit]:
        """Answer those whose recipient has opted out of a plain From; nothing is stored."""
        kept = []
        for unit in units:
            if any(self._admission.refuses(draft, facts) for draft in unit.drafts):
                self._answer([unit], OptedOut())
            else:
                kept.append(unit)
        return kept

    async def _accept(
        self,
        committer: Committer,
        connection: Connection,
        units: list[AcceptUnit],
        facts: RecipientFacts,
    ) -> None:
        """Choose, commit, answer and pass on; the locks are held.

        Raises what DatabaseUnavailable names when nothing of it was done, or nobody knows, and
        anything else when nothing was; then the caller answers.
        """
        drafts = [draft for unit in units for draft in unit.drafts]
        messages = [draft.message for draft in drafts]
        claimed: list[Message] = []
        try:
            for part in _slices(drafts):
                self._router.route(part, facts)
                if committer is self.large:
                    await asyncio.sleep(0)  # nobody else waits for all of it
            for message in messages:  # whoever reads their rows must find that they are held
                self._live[message.id] = message
            keys = [unit.key for unit in units if unit.key is not None]
            links = self._links(drafts)
            also = [unit.also for unit in units if unit.also is not None]
            more = facts.reservations or facts.dropped or keys or links or also
            # A COPY is a transaction of its own.
            alone = not more and len(messages) <= BATCH
            async with nullcontext() if alone else connection.transaction():
                if keys and (used := await key_rows.claim(connection, keys)):
                    raise _Repeats(used)
                if facts.reservations or facts.dropped:
                    await self._admission.reserve(connection, drafts, facts)
                if links:
                    await link_rows.keep(connection, links)
                for stored in also:
                    await stored.work(connection)
                claimed = self._submitter.offer(self._ours(messages))
                for rows in _slices(messages):
                    await message_rows.insert(connection, map(insert_row, rows))
            confirm(connection)
        except _Repeats as repeats:
            self._undo(drafts, claimed, facts)
            used = repeats.message_ids
            repeated = [unit for unit in units if unit.key and unit.key.message_id in used]
            await self._flush(committer, [unit for unit in units if unit not in repeated])
            # Only now: the first with this key may be of this very batch.
            self._answer(repeated, Repeated())
            return
        except DatabaseUnavailable:
            # Committed or not, nobody can say yet. The clients are told that nothing was
            # stored, so that is made true first thing when the database is back.
            committer.doubtful.extend(message.id for message in messages)
            committer.doubtful.extend(
                unit.also.operation_id
                for unit in units
                if unit.also is not None and unit.also.operation_id is not None
            )
            log.error("%d sends answered with 503", len(messages), extra=AWAY)
            self._undo(drafts, claimed, facts)
            raise
        except Exception:  # one bad row fails a COPY: the wall finds it
            self._undo(drafts, claimed, facts)
            raise
        self._pass_on(units, drafts, claimed)

    def _ours(self, messages: list[Message]) -> list[Message]:
        if self._ownership.alone:
            return messages
        mine = self._ownership.mine
        return [message for message in messages if mine(message.service_id, message.sender_id)]

    def _links(self, drafts: list[Draft]) -> list[tuple[object, ...]]:
        """The rows of the short links in these messages."""
        rows: list[tuple[object, ...]] = []
        for draft in drafts:
            if not draft.links:
                continue
            message = draft.message
            until = moment(max(message.created_at, message.send_at) + LIFE_S)
            rows += [
                (link.code, message.account_id, draft.link_domain, message.id, link.url, until)
                for link in draft.links
            ]
        return rows

    def _pass_on(
        self, units: list[AcceptUnit], drafts: list[Draft], claimed: list[Message]
    ) -> None:
        """The batch is committed."""
        messages = [draft.message for draft in drafts]
        self.flushes.observe(len(messages))
        self.accepted += len(messages)
        for message in messages:
            message.committed = message.status
        self._answer(units, None)
        if not self._ownership.alone:
            drafts = self._keep_ours(drafts)
            messages = [draft.message for draft in drafts]
        ours = set(claimed)
        self._submitter.wait(
            message
            for message in messages
            if message.status is Status.QUEUED and message not in ours
        )
        self._assigner.hold(draft for draft in drafts if draft.message.status is Status.ACCEPTED)
        self._submitter.go(claimed)
        for message, why in self._wall.each(messages, self._committed):
            self._wall.tell(why, message)

    def _keep_ours(self, drafts: list[Draft]) -> list[Draft]:
        """Hand over what is another's: of conversations, and of changes just being made."""
        kept = []
        for draft in drafts:
            message = draft.message
            claimed = message.status >= Status.SENDING  # it goes now, or has ended
            if claimed or self._ownership.mine(message.service_id, message.sender_id):
                kept.append(draft)
            else:
                self._handed_over(draft)
        return kept

    def _undo(self, drafts: list[Draft], claimed: list[Message], facts: RecipientFacts) -> None:
        self._submitter.withdraw(claimed)
        self._router.undo(drafts, facts)
        for draft in drafts:  # nothing of these is stored: nobody waits for them
            self._router.awaited.end(draft)

    def _answer(self, units: list[AcceptUnit], error: Exception | None) -> None:
        now = self._monotonic()
        if error is not None:
            self.refused[type(error).__name__] += len(units)
        for unit in units:
            self.latency.observe(now - unit.since)
            try:
                unit.done(error)
            except Exception:
                log.exception("answering an accepted request")


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """All of a batch, or the parts of a large unit that are handled without a pause."""
    step = SLICE if len(items) > BATCH else max(1, len(items))
    return (items[at : at + step] for at in range(0, len(items), step))


def _held_by(unit: AcceptUnit) -> Iterator[Hashable]:
    """What the transaction of a unit holds, for another to wait for: mappings, its key, and what is
    stored with it.
    """
    for draft in unit.drafts:
        yield draft.key
    if unit.key is not None:
        yield unit.key[:2]
    if unit.also is not None and unit.also.holds is not None:
        yield unit.also.holds
