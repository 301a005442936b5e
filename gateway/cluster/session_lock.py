"""The right to work with a database, which one process (or one set of workers) has at a time.

Two that worked with the same senders would each pace them, and overtake each other. So a gateway
that finds another at work stands by, and takes over when that one ends (decision 0009), or gives no
sign of life. Whoever has the right gives signs of life, and does nothing that only the one who has
it may do when the last that was answered is too old: it stops before another may begin. Two lengths
make that so, each by its own process's clock, and no clock is compared with another's:

    HOLDER_S   from when a sign was sent that the server answered: so long the right is confirmed
    TAKER_S    in which somebody who looks on saw no sign, and had answers himself: it is over

Whoever loses its session gives out nothing until it has the right again; whoever finds that another
had it meanwhile, ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from gateway.cluster.worker_slot import WorkerSlot
from gateway.observe.outage_log import AWAY
from storage import session_lock
from storage.database import Connection, DatabaseUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S: Final = 0.25
SAY_EVERY_S: Final = 60.0  # that it stands by
SIGN_EVERY_S: Final = 0.4
HOLDER_S: Final = 1.6
TAKER_S: Final = 2.8
GAP_S: Final = 1.0  # between two answers: whoever had none for longer has seen nothing
GRACE_S: Final = 0.4  # after HOLDER_S, for an answer that is on its way
STALL_S: Final = 0.2  # a timer that is so late: it was us who stood still, not the server
LOOK_S: Final = 0.02
ENDS_S: Final = 5.0  # for sessions of the server to end that were told to

# With the time in which the machine slept, where the system tells it.
elapsed: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


def new_run() -> int:
    """A number for one life of a process; a bigint above 0."""
    return 1 + secrets.randbelow(session_lock.MOST_RUN - 1)


class WorkerIdentity(NamedTuple):
    """A worker's place: which it is, and the folder of the sockets."""

    share: WorkerSlot
    folder: Path


def keys_of(place: WorkerIdentity | None) -> tuple[int, ...]:
    """The locks of a whole gateway, or of one worker of it (whose supervisor has the gateway's)."""
    if place is None:
        return (session_lock.GATEWAY, session_lock.GATEWAY + 1)
    return (session_lock.GATEWAY + 1 + place.share.slot,)


class TakenOver(Exception):
    """Another gateway works with the database now."""


class Lookout:
    """What one who stands by sees of others' signs of life, by its own clock."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}  # run → its signs, and when they were news
        self._answered_at = float("-inf")

    def saw(self, signs: Mapping[int, int], answered_at: float) -> None:
        """So many signs each of these runs had given, as we were told just now."""
        if answered_at - self._answered_at > GAP_S:  # the server was away, or we were
            self._seen.clear()
        self._answered_at = answered_at
        self._seen = {
            run: before
            if (before := self._seen.get(run)) is not None and before[0] == number
            else (number, answered_at)
            for run, number in signs.items()
        }

    def silent(self, run: int | None, asked_at: float) -> bool:
        """Whether this run gave no sign for TAKER_S, to whoever asked then and was answered."""
        seen = self._seen.get(run) if run is not None else None
        return seen is not None and asked_at - seen[1] >= TAKER_S


class GatewayLock:
    """Holds the locks of `keys`; `confirmed` says whether it does, `changed` hears when not."""

    def __init__(
        self,
        url: str,
        run: int,
        keys: Sequence[int],
        *,
        shared: bool = False,
        now: Callable[[], float] = elapsed,
    ) -> None:
        """`shared`: with others who say so too, which only excludes those who don't."""
        self._shared = shared
        self._url = url
        self._run = run
        self._keys = keys
        self._now = now
        self._connection: Connection | None = None
        self._gone = asyncio.Event()
        self._confirmed_at = float("-inf")  # when the last sign was sent that was answered
        self._there = False  # the table for signs
        self._noted = False  # who has the locks is written down
        self._lookout = Lookout()
        self._keeping: asyncio.Task[None] | None = None
        self.held = False
        # Hears when the right is lost, and when it is confirmed again after it was not.
        self.changed: Callable[[bool], None] = lambda held: None

    def confirmed(self) -> bool:
        """Whether nobody else can have the right now. To be asked before each thing that only its
        holder may do: the process may have stood still since anything before.
        """
        return self.held and self._now() - self._confirmed_at < HOLDER_S

    async def wait(self) -> None:
        """Return when the right is ours: at once, or when whoever has it has ended.

        What a former holder left is ended by then: its sessions commit nothing any more. Raises
        what DatabaseUnavailable names, but only while it stands by for nobody yet.
        """
        loop = asyncio.get_running_loop()
        say_at = 0.0
        holders: list[session_lock.LockHolder] | None = await self._try()
        while True:
            try:
                if holders is None:
                    holders = await self._try()
                if not holders:
                    await self._begin()
                    return
                if loop.time() >= say_at:
                    log.warning(
                        "standing by: %s works with this database; taking over when it ends",
                        ", ".join(dict.fromkeys(map(str, holders))),
                        extra={"event": "standby"},
                    )
                    say_at = loop.time() + SAY_EVERY_S
            except DatabaseUnavailable as error:
                log.warning("standing by without the database: %s", error, extra=AWAY)
                self._drop()
            holders = None
            await asyncio.sleep(RETRY_S)

    async def wait_unless(self, stop: asyncio.Event) -> bool:
        """The same, and True; False when `stop` is set first. Raises as `wait`."""
        waiting = asyncio.create_task(self.wait(), name="standby")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()
            stopping.cancel()
        return not stop.is_set()

    async def run(self) -> None:
        """Return never. Raises TakenOver. (It is kept from `wait` to `close`, all the same.)"""
        assert self._keeping is not None
        await asyncio.shield(self._keeping)

    def close(self) -> None:
        """Let others have it."""
        if self._keeping is not None:
            self._keeping.cancel()
        self._drop()

    async def _begin(self) -> None:
        """The locks are ours, for the first time."""
        connection = self._connection
        assert connection is not None
        if not self._shared:
            if session_lock.GATEWAY in self._keys:
                await self._outlive(connection)
            await self._end(session_lock.end_former, connection, self._run)
        await self._sign(connection)
        self._keeping = asyncio.create_task(self._keep(), name="signs of life")

    async def _outlive(self, connection: Connection) -> None:
        """Return when the last worker of the gateway before us has ended: it may yet send."""
        said = False
        while True:
            others = [
                holder
                for holder in await session_lock.holders(connection)
                if holder.run != self._run
            ]
            if not others:
                return
            silent = await self._silent(connection, others)
            if silent:
                await self._end(session_lock.end_runs, connection, silent)
            elif not said:
                said = True
                log.warning(
                    "standing by: %s of the gateway before this one is still ending",
                    ", ".join(map(str, others)),
                    extra={"event": "standby"},
                )
            await asyncio.sleep(RETRY_S)

    async def _keep(self) -> None:
        """Give signs of life, and take the right again where it was lost. Raises TakenOver."""
        while True:
            if self.held:
                await self._give_signs()
                log.warning("the session that holds the right to the database is gone")
                self._drop()
                self.changed(False)
            try:
                holders = await self._try()
                if not holders:
                    await self._renew()
            except DatabaseUnavailable as error:
                log.warning("the right to the database is not renewed yet: %s", error, extra=AWAY)
                self._drop()
                await asyncio.sleep(RETRY_S)
                continue
            if holders:
                raise TakenOver(f"{holders[0]} has taken over the database")
            log.info("working with the database again")
            self.changed(True)

    async def _renew(self) -> None:
        """The locks are ours again: if nobody had them meanwhile, all is as it was."""
        connection = self._connection
        assert connection is not None
        if not self._shared:
            other = await session_lock.taken_by_another(connection, self._keys, self._run)
            if other is not None:
                self._drop()
                raise TakenOver(f"run {other} has worked with the database meanwhile")
        self._noted = False
        await self._sign(connection)

    async def _try(self) -> list[session_lock.LockHolder]:
        """Take the locks; whoever has them already, which is nobody when they are ours."""
        try:
            if self._connection is None or self._connection.is_closed():
                gone = self._gone = asyncio.Event()  # a former one's end may be told late
                self._connection = await session_lock.open_session(self._url, self._run)
                self._connection.add_termination_listener(lambda _: gone.set())
            connection = self._connection
            while not await session_lock.take(connection, self._keys, shared=self._shared):
                others = await session_lock.holders(connection)
                ours = [other for other in others if other.run == self._run]
                for former in ours:  # broken, and the server does not know
                    await session_lock.end_session(connection, former.pid)
                others = [other for other in others if other not in ours]
                if not any(other.key in self._keys for other in others):
                    await asyncio.sleep(0)  # it was let go of just now
                    continue
                silent = await self._silent(connection, others) if self._keeping is None else []
                # A gateway whose supervisor or whose worker lives looks after the others itself.
                if {other.run for other in others} != set(silent):
                    return [other for other in others if other.key in self._keys]
                log.error(
                    "%s gives no sign of life: its sessions are ended",
                    ", ".join(dict.fromkeys(map(str, others))),
                    extra={"event": "silent"},
                )
                await self._end(session_lock.end_runs, connection, silent)
        except DatabaseUnavailable:
            self._drop()
            raise
        self.held = True
        return []

    async def _silent(
        self, connection: Connection, others: Iterable[session_lock.LockHolder]
    ) -> list[int]:
        """The runs of these that give no sign of life."""
        runs = {other.run for other in others if other.run is not None}
        asked_at = self._now()
        signs = await session_lock.signs(connection, sorted(runs))
        self._lookout.saw(signs, self._now())
        return [run for run in runs if self._lookout.silent(run, asked_at)]

    async def _end(
        self,
        end: Callable[[Connection, T], Awaitable[int]],
        connection: Connection,
        whose: T,
    ) -> None:
        """End sessions, and return when they have ended: what they began is committed, or never."""
        until = self._now() + ENDS_S
        while left := await end(connection, whose):
            if self._now() > until:
                log.error("%d sessions of a former gateway do not end", left)
                return
            await asyncio.sleep(LOOK_S)

    async def _give_signs(self) -> None:
        """Return when the session is over, or the server does not answer."""
        connection = self._connection
        assert connection is not None
        while not connection.is_closed():
            before = self._confirmed_at
            signing = asyncio.create_task(self._sign(connection), name="sign of life")
            try:
                if not await self._answered(signing):
                    return
                signing.result()
            except DatabaseUnavailable:
                return
            finally:
                signing.cancel()
            if self._confirmed_at - before >= HOLDER_S:  # we stood still; it is ours all the same
                self.changed(True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SIGN_EVERY_S):
                    await self._gone.wait()
                    return

    async def _answered(self, signing: asyncio.Task[None]) -> bool:
        """Whether it is answered as long as the right is confirmed, and a little after.

        Time in which this process stood still itself is no silence of the server: what it has
        answered meanwhile is still to be read.
        """
        wait_s = max(GRACE_S, self._confirmed_at + HOLDER_S + GRACE_S - self._now())
        while True:
            until = self._now() + wait_s
            done, _ = await asyncio.wait((signing,), timeout=wait_s)
            if done:
                return True
            if self._now() - until < STALL_S:
                return False
            wait_s = GRACE_S

    async def _sign(self, connection: Connection) -> None:
        sent_at = self._now()
        if not self._there:  # before the first migration
            self._there = await session_lock.is_there(connection)
        if self._there:
            if not self._noted:
                await session_lock.note(connection, () if self._shared else self._keys, self._run)
                self._noted = True
            await session_lock.sign(connection, self._run)
        self._confirmed_at = sent_at

    def _drop(self) -> None:
        self.held = False
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
