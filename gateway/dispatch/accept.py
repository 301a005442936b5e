"""Accept: everything that waits is committed together, then answered.

One flush is one transaction (a COPY). It begins when the one before it has ended and
something waits, so batches form by themselves under load and a lone message waits for
nothing. A unit (one request: a message, or the thousand of a bulk call) is accepted whole or
not at all; its answer follows the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.dispatch.message import Message
from gateway.dispatch.route import Draft, Router
from gateway.dispatch.rows import insert_row
from gateway.dispatch.submit import Submitter
from storage import messages as message_rows
from storage.ids import Id
from storage.pool import BadRow, Connection, DatabaseUnavailable, open_connection

log = logging.getLogger(__name__)

BATCH = 500  # messages in one transaction
BACKLOG = 10_000  # messages waiting for a commit; beyond it: 429 (design §5)
RETRY_S = 0.25


class Overloaded(Exception):
    """More waits than can be committed soon: the client is to come back (20429)."""


class Unavailable(Exception):
    """The database is away: nothing was stored (20503)."""


class Rejected(Exception):
    """This unit's own content could not be stored; nothing of it was (20500)."""


Done = Callable[[Exception | None], object]


Also = Callable[[Connection], Awaitable[None]]


class Unit(NamedTuple):
    drafts: Sequence[Draft]
    done: Done
    also: Also | None = None  # done in the same transaction: a handled reply's mark, a key


class Acceptor:
    """The one accept flusher; owns the connection that commits."""

    def __init__(
        self,
        url: str,
        router: Router,
        submitter: Submitter,
        committed: Callable[[Message], None],
        remember: Callable[[Message], None],
    ) -> None:
        self._url = url
        self._router = router
        self._submitter = submitter
        self._committed = committed
        self._remember = remember
        self._waiting: deque[Unit] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._answered = asyncio.Event()  # nothing that was taken in is without its answer
        self._answered.set()
        self._doubtful: list[Id] = []  # ids of a batch whose commit was not confirmed
        self.backlog = 0
        self.available = False
        self.accepted = 0
        self.flushes = 0

    def submit(self, drafts: Sequence[Draft], done: Done, also: Also | None = None) -> None:
        """Take a unit in; `done(None)` follows its commit, `done(error)` says it is not stored.

        `also` is run on the transaction that stores the unit: both happen, or neither. Raises
        Overloaded or Unavailable at once when there is no use in waiting.
        """
        if not self.available or self._closed:
            raise Unavailable
        if self.backlog + len(drafts) > BACKLOG:
            raise Overloaded
        self.backlog += len(drafts)
        self._waiting.append(Unit(drafts, done, also))
        self._answered.clear()
        self._wake.set()

    async def close(self) -> None:
        """Take nothing more in; return when what was taken is answered."""
        self._closed = True
        await self._answered.wait()

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while True:
                if connection is None or connection.is_closed():
                    connection = await self._connect()
                await self._wake.wait()
                self._wake.clear()
                while self._waiting and not connection.is_closed():
                    units = self._take()
                    if not await self._flush(connection, units):
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
                connection = await open_connection(self._url)
                if self._doubtful:
                    await message_rows.delete(connection, self._doubtful)
                    self._doubtful.clear()
            except DatabaseUnavailable as error:
                log.error("database: %s; sends are refused with 503", error)
                self.available = False
                self._refuse_waiting()
                await asyncio.sleep(RETRY_S)
                continue
            connection.add_termination_listener(self._lost)
            self.available = True
            self._wake.set()
            return connection

    def _lost(self, connection: object) -> None:
        """The server closed the connection, perhaps while nothing was under way."""
        self.available = False
        self._wake.set()

    def _take(self) -> list[Unit]:
        units, messages = [], 0
        while self._waiting and messages < BATCH:
            unit = self._waiting.popleft()
            messages += len(unit.drafts)
            units.append(unit)
        self.backlog -= messages
        return units

    async def _flush(self, connection: Connection, units: list[Unit]) -> bool:
        """Commit and answer these units. False: the database is gone."""
        messages = [draft.message for unit in units for draft in unit.drafts]
        for unit in units:
            for draft in unit.drafts:
                self._router.route(draft)
        claimed = self._submitter.offer(messages)
        try:
            await self._store(connection, units, messages)
        except BadRow as error:
            self._undo(messages, claimed)
            if len(units) == 1:
                log.error("a unit that can't be stored was rejected: %s", error)
                self._answer(units, Rejected(str(error)))
                return True
            # One bad row fails a COPY: find it by halves, let the others through.
            middle = len(units) // 2
            return await self._flush(connection, units[:middle]) and await self._flush(
                connection, units[middle:]
            )
        except DatabaseUnavailable as error:
            # Committed or not, nobody can say yet. The clients are told that nothing was
            # stored, so that is made true first thing when the database is back.
            self._doubtful.extend(message.id for message in messages)
            log.error("database: %s; %d sends answered with 503", error, len(messages))
            self._undo(messages, claimed)
            self._answer(units, Unavailable())
            self.available = False
            return False
        self.flushes += 1
        self.accepted += len(messages)
        for message in messages:
            message.committed = message.status
            self._remember(message)
        self._answer(units, None)
        ours = set(claimed)
        self._submitter.wait(
            message for message in messages if message.waiting and message not in ours
        )
        self._submitter.go(claimed)
        for message in messages:
            self._committed(message)
        return True

    async def _store(
        self, connection: Connection, units: list[Unit], messages: list[Message]
    ) -> None:
        with_more = [unit.also for unit in units if unit.also is not None]
        rows = map(insert_row, messages)
        if not with_more:
            await message_rows.insert(connection, rows)  # a COPY is a transaction of its own
            return
        async with connection.transaction():
            for also in with_more:
                await also(connection)
            await message_rows.insert(connection, rows)

    def _undo(self, messages: list[Message], claimed: list[Message]) -> None:
        self._submitter.withdraw(claimed)
        for message in messages:
            self._router.release(message)
            message.reset()

    def _answer(self, units: list[Unit], error: Exception | None) -> None:
        for unit in units:
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
