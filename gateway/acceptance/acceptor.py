"""Accept: everything that waits is committed together, then answered.

One flush is one transaction (a COPY). It begins when the one before it has ended and
something waits, so batches form by themselves under load and a lone message waits for
nothing. A unit (one request: a message, or the thousand of a bulk call) is accepted whole or
not at all; its answer follows the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.acceptance.admission import Admission
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft
from gateway.cluster.placement import Ownership
from gateway.content.shortening import LIFE_S
from gateway.messages.message import Message, Status
from gateway.messages.rows import insert_row, moment
from gateway.observe.measures import BATCHES, LATENCY_S, Histogram
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import Wall
from gateway.recipients.recipients import RecipientFacts
from gateway.submission.submitter import Submitter
from storage import conversation_messages as conversation_rows
from storage import idempotency as key_rows
from storage import messages as message_rows
from storage import recipients as recipient_rows
from storage import short_links as link_rows
from storage.database import (
    HOT_S,
    Connection,
    Database,
    DatabaseUnavailable,
    confirm,
    end_former,
)
from storage.idempotency import IdempotencyKey
from storage.ids import Id

log = logging.getLogger(__name__)

BATCH = 500  # messages in one transaction
BACKLOG = 10_000  # messages waiting for a commit; beyond it: 429 (docs/reliability.md#bounds)
RETRY_S = 0.25
LOOK_S = 0.02
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


Done = Callable[[Exception | None], object]


Also = Callable[[Connection], Awaitable[None]]


class Client(Protocol):
    """Whoever waits for the answer to a unit."""

    def gone(self) -> bool:
        """Whether nobody does any more. Asks the system: not for each unit in a hurry."""


class AcceptUnit(NamedTuple):
    drafts: Sequence[Draft]
    done: Done
    also: Also | None = None  # done in the same transaction: a handled reply's mark
    key: IdempotencyKey | None = None  # claimed in the same transaction
    since: float = 0.0  # when it came, on the monotonic clock
    client: Client | None = None  # None for what comes from inside


class Acceptor:
    """The one accept flusher; owns the connection that commits."""

    def __init__(
        self,
        database: Database,
        admission: Admission,
        submitter: Submitter,
        assigner: Assigner,
        committed: Callable[[Message], None],
        remember: Callable[[Message], None],
        monotonic: Callable[[], float],
        ownership: Ownership,
        handed_over: Callable[[Draft], None],
        wall: Wall,
    ) -> None:
        """`handed_over` hears of each committed draft that is another worker's."""
        self._wall = wall
        self._ownership = ownership
        self._handed_over = handed_over
        self._monotonic = monotonic
        self._database = database
        self._admission = admission
        self._submitter = submitter
        self._assigner = assigner
        self._committed = committed
        self._remember = remember
        self._waiting: deque[AcceptUnit] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._open = asyncio.Event()  # not while rows that became ours are taken up
        self._open.set()
        self._pauses = 0
        self._between = asyncio.Event()  # no batch is being committed
        self._between.set()
        self._answered = asyncio.Event()  # nothing that was taken in is without its answer
        self._answered.set()
        self._doubtful: list[Id] = []  # ids of a batch whose commit was not confirmed
        self._connection: Connection | None = None
        self.confirmed: Callable[[], bool] = lambda: True
        """Whether it is certainly ours to accept anything, at this moment."""
        self.backlog = 0
        self.available = False
        self.opened = asyncio.Event()
        """Set once the first connection was there."""
        self.accepted = 0
        self.flushes = Histogram(BATCHES)
        """Messages in each commit."""
        self.latency = Histogram(LATENCY_S)
        """Seconds from a unit's coming to its answer."""
        self.refused: Counter[str] = Counter()
        """Units, by the name of the error."""

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

        `also` is run on the transaction that stores the unit: both happen, or neither. The same
        for `key`, an idempotency key; one that was used before ends in `Repeated`. Raises
        Overloaded or Unavailable at once when there is no use in waiting.
        """
        if not self.available or self._closed:
            self.refused[Unavailable.__name__] += 1
            raise Unavailable
        if self.backlog >= BACKLOG:  # so a bulk unit, whole or not at all, always gets its turn
            self.refused[Overloaded.__name__] += 1
            raise Overloaded
        self.backlog += len(drafts)
        self._waiting.append(AcceptUnit(drafts, done, also, key, self._monotonic(), client))
        self._answered.clear()
        self._wake.set()

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
        """Return once the batch that is being committed now is handed on."""
        await self._between.wait()

    async def close(self) -> None:
        """Take nothing more in; return when what was taken is answered."""
        self._closed = True
        await self._answered.wait()

    def suspend(self) -> None:
        """The right to accept anything is lost: what waits is answered now, nothing is taken in."""
        self.available = False
        if self._connection is not None:
            self._connection.terminate()
        self._wake.set()

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while True:
                if connection is None or connection.is_closed():
                    connection = self._connection = await self._connect()
                await self._wake.wait()
                self._wake.clear()
                await self._open.wait()
                while self._waiting and not connection.is_closed() and not self._pauses:
                    if not self.confirmed():  # soon it is, or it is lost
                        await asyncio.sleep(LOOK_S)
                        continue
                    units = self._take()
                    self._between.clear()
                    kept = await self._flush(connection, units)
                    self._between.set()
                    if not kept:
                        connection.terminate()
                        connection = None
                        break
                else:
                    self._answered.set()
        finally:
            self.available = False
            if connection is not None:
                connection.terminate()

    async def _connect(self) -> Connection:
        """A connection, however long that takes; what waits meanwhile is answered with 503."""
        while True:
            try:
                connection = await self._database.open("accept", command_s=HOT_S)
                await message_rows.tune_for_batches(connection)
                if self._doubtful:
                    await end_former(connection)  # it might commit them yet
                    await message_rows.delete(connection, self._doubtful)
                    await key_rows.release(connection, self._doubtful)
                    await conversation_rows.release(connection, self._doubtful)
                    confirm(connection)
                    self._doubtful.clear()
            except DatabaseUnavailable as error:
                log.error("database: %s; sends are refused with 503", error, extra=AWAY)
                self.available = False
                self._refuse_waiting()
                await asyncio.sleep(RETRY_S)
                continue
            connection.add_termination_listener(self._lost)
            self.available = True
            self.opened.set()
            self._wake.set()
            return connection

    def _lost(self, connection: object) -> None:
        """The server closed the connection, perhaps while nothing was under way."""
        self.available = False
        self._wake.set()

    def _take(self) -> list[AcceptUnit]:
        units, messages = [], 0
        hurried = self._monotonic() - PATIENT_S
        while self._waiting and messages < BATCH:
            unit = self._waiting.popleft()
            if unit.since <= hurried and unit.client is not None and unit.client.gone():
                self.backlog -= len(unit.drafts)
                self._answer([unit], Gone())
                continue
            messages += len(unit.drafts)
            units.append(unit)
        self.backlog -= messages
        return units

    async def _flush(self, connection: Connection, units: Sequence[AcceptUnit]) -> bool:
        """Commit and answer these units, and write what can go. False: the database is gone.

        A unit that can't be stored is refused by itself.
        """
        kept = True

        async def commit(some: Sequence[AcceptUnit]) -> None:
            nonlocal kept
            kept = await self._commit(connection, list(some)) and kept

        for unit, why in (await self._wall.by_halves(units, commit)).failed:
            self._wall.tell(why, unit.drafts[0].message if unit.drafts else None)
            self._answer([unit], Rejected(why))
        return kept

    async def _commit(self, connection: Connection, units: list[AcceptUnit]) -> bool:
        """The same for all of them or none: whatever else a unit causes is raised."""
        try:
            known = await self._admission.ask(
                connection, [draft for unit in units for draft in unit.drafts]
            )
            if known.blocks:
                units = self._without_refused(units, known)
            await self._accept(connection, units, known)
        except DatabaseUnavailable as error:
            log.error("database: %s", error, extra=AWAY)
            self._answer(units, Unavailable())
            self.available = False
            return False
        try:
            if not self._waiting:  # else the next flush lets go of the locks
                await asyncio.sleep(0)  # what was written this turn leaves at its end
                await recipient_rows.unlock(connection)
        except DatabaseUnavailable as error:  # the units have their answers
            log.error("database: %s", error, extra=AWAY)
            self.available = False
            return False
        return True

    def _without_refused(self, units: list[AcceptUnit], known: RecipientFacts) -> list[AcceptUnit]:
        """Answer those whose recipient has opted out of a plain From; nothing is stored."""
        kept = []
        for unit in units:
            if any(self._admission.refuses(draft, known) for draft in unit.drafts):
                self._answer([unit], OptedOut())
            else:
                kept.append(unit)
        return kept

    async def _accept(
        self, connection: Connection, units: list[AcceptUnit], known: RecipientFacts
    ) -> None:
        """Choose, commit, answer and pass on; the locks are held.

        Raises what DatabaseUnavailable names when nothing of it was done, or nobody knows, and
        anything else when nothing was; then the caller answers.
        """
        drafts = [draft for unit in units for draft in unit.drafts]
        if not drafts:
            return
        messages = [draft.message for draft in drafts]
        claimed: list[Message] = []
        try:
            for at in range(0, len(drafts), BATCH):
                self._admission.choose(drafts[at : at + BATCH], known)
                if len(drafts) > BATCH:
                    await asyncio.sleep(0)  # a bulk unit must not hold up everything else
            for message in messages:  # whoever reads their rows must find that they are held
                self._remember(message)
            keys = [unit.key for unit in units if unit.key is not None]
            links = self._links(drafts)
            if (
                known.reservations
                or known.dropped
                or keys
                or links
                or any(unit.also is not None for unit in units)
            ):
                async with connection.transaction():
                    if keys and (used := await key_rows.claim(connection, keys)):
                        raise _Repeats(used)
                    await self._admission.reserve(connection, drafts, known)
                    if links:
                        await link_rows.keep(connection, links)
                    for unit in units:
                        if unit.also is not None:
                            await unit.also(connection)
                    claimed = self._submitter.offer(self._ours(messages))
                    await message_rows.insert(connection, map(insert_row, messages))
            else:
                claimed = self._submitter.offer(self._ours(messages))
                # A COPY is a transaction of its own.
                await message_rows.insert(connection, map(insert_row, messages))
            confirm(connection)
        except _Repeats as repeats:
            self._undo(drafts, claimed, known)
            used = repeats.message_ids
            repeated = [unit for unit in units if unit.key and unit.key.message_id in used]
            await self._flush(connection, [unit for unit in units if unit not in repeated])
            # Only now: the first with this key may be of this very batch.
            self._answer(repeated, Repeated())
            return
        except DatabaseUnavailable:
            # Committed or not, nobody can say yet. The clients are told that nothing was
            # stored, so that is made true first thing when the database is back.
            self._doubtful.extend(message.id for message in messages)
            log.error("%d sends answered with 503", len(messages), extra=AWAY)
            self._undo(drafts, claimed, known)
            raise
        except Exception:  # one bad row fails a COPY: the wall finds it
            self._undo(drafts, claimed, known)
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

    def _undo(self, drafts: list[Draft], claimed: list[Message], known: RecipientFacts) -> None:
        self._submitter.withdraw(claimed)
        self._admission.take_back(drafts)
        self._admission.refused(drafts)
        self._admission.forget(known)

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

    def _refuse_waiting(self) -> None:
        units = list(self._waiting)
        self._waiting.clear()
        self.backlog = 0
        self._answer(units, Unavailable())
        self._answered.set()
