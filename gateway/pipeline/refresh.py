"""The configuration as other processes change it: seen at once, and brought into force."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from gateway.acceptance.fraud_guard import DAY_S, FraudGuard
from gateway.cluster.peers import VERSION
from gateway.cluster.transport import FrameKind
from gateway.directory.directory import MOST_FORMER, SenderRecord
from gateway.messages.message import Direction
from gateway.observe.outage_log import AWAY
from gateway.routing.tables import read_facts
from gateway.stage_runtime import Runtime
from storage import config as config_rows
from storage import facts as fact_rows
from storage import protection as protection_rows
from storage import restore as restore_rows
from storage.database import (
    Connection,
    DatabaseUnavailable,
    OwnConnection,
)
from storage.ids import id_at

log = logging.getLogger(__name__)

TOLD_S = 2.0  # for the others to have read a change of the configuration
REFRESH_S = 5.0  # how old a missed change of configuration can get


class Refresh:
    """Reads the configuration again when it changed."""

    def __init__(
        self,
        runtime: Runtime,
        protection: FraudGuard,
        *,
        follow: Callable[[Mapping[int, SenderRecord]], None],
        restored: Callable[[], None],
        rested: Callable[[float], None],
    ) -> None:
        """`follow` brings a change into force, given the senders as they were; `restored` hears
        that rows were brought back from outside, `rested` the time, every few seconds.
        """
        self._follow = follow
        self._restored = restored
        self._rested = rested
        self._database = runtime.database
        self._pool = runtime.pool
        self._directory = runtime.directory
        self._protection = protection
        self._clock = runtime.clock
        self._wall = runtime.walls.of("configuration")
        self._peers = runtime.peers
        self._peers.read = self.read
        self._rang = asyncio.Event()
        self._reading = asyncio.Lock()
        # A change was shown, and what follows from it was not done to the end.
        self._followed_in_part = False

    async def begin(self) -> None:
        """Read all of it for the first time."""
        await self.read()
        former = await config_rows.former_services(self._pool, None, MOST_FORMER)
        self._directory.remember_services(dict(reversed(former.items())))

    async def spread(self) -> None:
        """Read a change of the configuration, here and (so far as they answer) everywhere."""
        await self.read()
        version = VERSION.pack(self._directory.version)
        await self._peers.ask_all(FrameKind.REFRESH, version, TOLD_S)

    async def read(self) -> None:
        """Read the configuration again if it changed."""
        async with self._reading:  # what was read earlier must not come in force later
            await self._read()

    async def _read(self) -> None:
        known = 0 if self._followed_in_part else self._directory.version
        snapshot = await config_rows.load(self._pool, known)
        before = self._directory.senders_by_id
        self._directory.show(snapshot)
        for sid, why in self._directory.unreadable.items():
            self._wall.tell(why, resource=sid)
        rest = snapshot.rest
        if rest is None:  # nothing of what routing is made of
            return
        self._followed_in_part = True
        if rest.fact_revision != self._directory.facts_revision:
            contents = await fact_rows.contents(self._pool)
            # A table of thousands of rows takes a while to read, and the loop must not wait.
            self._directory.facts = await asyncio.to_thread(read_facts, contents)
            self._directory.facts_revision = rest.fact_revision
        await self._count_today()
        self._follow(before)
        self._directory.epoch += 1
        self._followed_in_part = False

    async def _count_today(self) -> None:
        """What accounts with a daily limit have sent before this process knew of it."""
        midnight = id_at(self._clock.wall() // DAY_S * DAY_S)
        for account_id in self._protection.uncounted():
            sent = await protection_rows.sent_since(
                self._pool, account_id, midnight, inbound=Direction.INBOUND
            )
            self._protection.counted(account_id, sent)

    async def run(self) -> None:
        """See changes by other processes at once, and what a lost bell would hide soon."""
        own = OwnConnection(self._database, "configuration", self._listen)
        try:
            while True:
                try:
                    await own.get()
                    async with asyncio.timeout(REFRESH_S):
                        await self._rang.wait()
                except TimeoutError:
                    pass
                except DatabaseUnavailable as error:
                    log.warning("configuration not heard of: %s", error, extra=AWAY)
                    own.drop()
                    await asyncio.sleep(REFRESH_S)
                self._rang.clear()
                self._rested(self._clock.monotonic())
                try:
                    if await config_rows.version(self._pool) != self._directory.version:
                        await self.read()
                except DatabaseUnavailable as error:
                    log.warning("configuration not read: %s", error, extra=AWAY)
        finally:
            own.drop()

    async def _listen(self, connection: Connection) -> None:
        await config_rows.listen(connection, self._rang.set)
        await restore_rows.listen(connection, self._restored)
