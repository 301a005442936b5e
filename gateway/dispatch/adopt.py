"""Rows that wait and became ours: named by another worker, or found after a change.

What a worker holds in memory is never read a second time. A row that two hold for a moment goes
once all the same: the claim decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from gateway.dispatch.recover import Recovery
from gateway.observe.outage import AWAY
from storage.ids import Id
from storage.pool import Database, DatabaseUnavailable, OwnConnection

log = logging.getLogger(__name__)

RETRY_S: Final = 0.5
AGAIN_S: Final = 3.0  # what another has let go of only after we looked


class Adoption:
    """The stage that reads them."""

    def __init__(self, database: Database, recovery: Recovery) -> None:
        self._database = database
        self._recovery = recovery
        self._named: list[Id] = []
        self._looks = 0
        self._wake = asyncio.Event()
        self.adopted = 0

    def named(self, ids: Sequence[Id]) -> None:
        """These are ours."""
        self._named.extend(ids)
        self._wake.set()

    def look(self) -> None:
        """Some may be ours now: look at all, and once more in a while."""
        self._looks = 2
        self._wake.set()

    async def take_up_all(self) -> None:
        """Take up whatever is ours and waits in no memory, now. Raises as DatabaseUnavailable."""
        connection = await self._database.open("adopt")
        try:
            self.adopted += await self._recovery.take_up_waiting(connection)
        finally:
            await connection.close()

    async def run(self) -> None:
        own = OwnConnection(self._database, "adopt")
        try:
            while True:
                try:
                    async with asyncio.timeout(AGAIN_S if self._looks else None):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
                ids, self._named = self._named, []
                try:
                    connection = await own.get()
                    if ids:
                        self.adopted += await self._recovery.take_up_named(connection, ids)
                    if self._looks:
                        self.adopted += await self._recovery.take_up_waiting(connection)
                        self._looks -= 1
                except DatabaseUnavailable as error:
                    log.error("database: %s; rows that became ours wait", error, extra=AWAY)
                    own.drop()
                    self._named[:0] = ids
                    self._wake.set()
                    await asyncio.sleep(RETRY_S)
        finally:
            own.drop()
