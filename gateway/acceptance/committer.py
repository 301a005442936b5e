"""One connection that commits what was accepted, and the units that wait for it.

There are two: for units of a few messages, and for large ones. A large unit is committed whole,
which takes a while; nobody else's message waits for that. Which of them: `acceptor.LARGE`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import NamedTuple, Protocol

from gateway.acceptance.draft import Draft
from gateway.observe.outage_log import AWAY
from storage import bulk as bulk_rows
from storage import conversation_messages as conversation_rows
from storage import idempotency as key_rows
from storage import messages as message_rows
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

RETRY_S = 0.25
LOOK_S = 0.02

Done = Callable[[Exception | None], object]


class Also(NamedTuple):
    """What is stored with a unit, in its transaction: both, or neither."""

    work: Callable[[Connection], Awaitable[None]]
    # The bulk operation that it stores, which is taken back where nobody knows of the commit.
    operation_id: Id | None = None
    # What it holds in the database until the commit, for another to wait for.
    holds: Hashable = None


class Client(Protocol):
    """Whoever waits for the answer to a unit."""

    def gone(self) -> bool:
        """Whether nobody does any more. Asks the system: not for each unit in a hurry."""


class AcceptUnit(NamedTuple):
    """What is accepted as one: a message, or all of a bulk request."""

    drafts: Sequence[Draft]
    done: Done
    also: Also | None = None  # a handled reply's mark, a bulk operation
    key: IdempotencyKey | None = None  # claimed in the same transaction
    since: float = 0.0  # when it came, on the monotonic clock
    client: Client | None = None  # None for what comes from inside


class ByTurns:
    """Units of an account in the order they came, of each account in its turn."""

    def __init__(self) -> None:
        self._units: OrderedDict[int, deque[AcceptUnit]] = OrderedDict()
        self._messages: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._units.values()))

    def __iter__(self) -> Iterator[AcceptUnit]:
        return (unit for units in self._units.values() for unit in units)

    def messages_of(self, account_id: int) -> int:
        """Messages of an account that wait."""
        return self._messages.get(account_id, 0)

    def append(self, unit: AcceptUnit) -> None:
        account_id = _account_of(unit)
        self._units.setdefault(account_id, deque()).append(unit)
        self._messages[account_id] = self.messages_of(account_id) + len(unit.drafts)

    def popleft(self) -> AcceptUnit:
        account_id, units = next(iter(self._units.items()))
        unit = units.popleft()
        self._messages[account_id] -= len(unit.drafts)
        if units:
            self._units.move_to_end(account_id)
        else:
            del self._units[account_id], self._messages[account_id]
        return unit

    def clear(self) -> None:
        self._units.clear()
        self._messages.clear()


def _account_of(unit: AcceptUnit) -> int:
    if unit.drafts:
        return unit.drafts[0].message.account_id
    return unit.key.account_id if unit.key is not None else 0


class Batches(Protocol):
    """Whose units are committed."""

    def confirmed(self) -> bool:
        """Whether it is certainly ours to accept anything, at this moment."""

    async def opened(self) -> None:
        """Return when nothing that was accepted earlier is on its way here."""

    @property
    def paused(self) -> bool: ...

    def take(self, committer: Committer) -> list[AcceptUnit]:
        """The units that are committed next, taken from `committer.waiting`."""

    async def flush(self, committer: Committer, units: list[AcceptUnit]) -> bool:
        """Commit and answer these units. False: the database is gone."""

    def refuse(self, units: list[AcceptUnit]) -> None:
        """The database is away, and nothing of these was done."""


class Committer:
    """Commits a batch whenever the one before it has ended and something waits."""

    def __init__(
        self, name: str, database: Database, batches: Batches, waiting: deque[AcceptUnit] | ByTurns
    ) -> None:
        self._name = name
        self._database = database
        self._batches = batches
        self.waiting = waiting
        self.connection: Connection | None = None
        self.available = False
        # Ids of messages and operations whose commit was not confirmed.
        self.doubtful: list[Id] = []
        self.between = asyncio.Event()  # no batch is being committed
        self.between.set()
        self.answered = asyncio.Event()  # nothing that was taken in is without its answer
        self.answered.set()
        self.connected = asyncio.Event()  # the first connection was there
        self._wake = asyncio.Event()

    def put(self, unit: AcceptUnit) -> None:
        self.waiting.append(unit)
        self.answered.clear()
        self._wake.set()

    def suspend(self) -> None:
        """Nothing more is committed by this connection; what waits is answered now."""
        self.available = False
        if self.connection is not None:
            self.connection.terminate()
        self._wake.set()

    async def run(self) -> None:
        try:
            while True:
                if self.connection is None or self.connection.is_closed():
                    self.connection = await self._connect()
                await self._wake.wait()
                self._wake.clear()
                await self._batches.opened()
                await self._commit_waiting(self.connection)
        finally:
            self.available = False
            if self.connection is not None:
                self.connection.terminate()

    async def _commit_waiting(self, connection: Connection) -> None:
        while self.waiting and not connection.is_closed() and not self._batches.paused:
            if not self._batches.confirmed():  # soon it is, or it is lost
                await asyncio.sleep(LOOK_S)
                continue
            units = self._batches.take(self)
            self.between.clear()
            kept = await self._batches.flush(self, units)
            self.between.set()
            if not kept:
                self.available = False
                connection.terminate()
                return
        if not self.waiting:
            self.answered.set()

    async def _connect(self) -> Connection:
        """A connection, however long that takes; what waits meanwhile is answered with 503."""
        while True:
            try:
                connection = await self._database.open(self._name, command_s=HOT_S)
                await message_rows.tune_for_batches(connection)
                if self.doubtful:
                    await end_former(connection)  # it might commit them yet
                    await message_rows.delete(connection, self.doubtful)
                    await key_rows.release(connection, self.doubtful)
                    await conversation_rows.release(connection, self.doubtful)
                    await bulk_rows.delete(connection, self.doubtful)
                    confirm(connection)
                    self.doubtful.clear()
            except DatabaseUnavailable as error:
                log.error("database: %s; sends are refused with 503", error, extra=AWAY)
                self.available = False
                units = list(self.waiting)
                self.waiting.clear()
                self._batches.refuse(units)
                self.answered.set()
                await asyncio.sleep(RETRY_S)
                continue
            connection.add_termination_listener(self._lost)
            self.available = True
            self.connected.set()
            self._wake.set()
            return connection

    def _lost(self, connection: object) -> None:
        """The server closed the connection, perhaps while nothing was under way."""
        self.available = False
        self._wake.set()
