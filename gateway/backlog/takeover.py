"""Rows that wait and became ours: named by another worker, or found after a change.

What a worker holds in memory is never read a second time. A row that two hold for a moment goes
once all the same: the claim decides.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from gateway.backlog.recovery import Recovery
from gateway.observe.outage_log import AWAY
from gateway.stage_runtime import Runtime
from storage.database import Connection, DatabaseUnavailable, OwnConnection
from storage.ids import Id

log = logging.getLogger(__name__)

RETRY_S: Final = 0.5
AGAIN_S: Final = 3.0  # what another has let go of only after we looked
SWEEP_S: Final = 60.0
SWEEP_SHARE: Final = 50  # a sweep that took long is followed by a pause so many times as long
STRANDED: Final = 99010  # an alert of ours


class Takeover:
    """The stage that reads them."""

    def __init__(self, runtime: Runtime, recovery: Recovery, *, sweeps: bool) -> None:
        """`sweeps`: all that waits is ours, or another worker's of this gateway."""
        self._database = runtime.database
        self._recovery = recovery
        self._alerts = runtime.alerts
        self._sweeps = sweeps
        self._sweep_at = 0.0
        self._named: list[Id] = []
        self._looks = 0
        self._wake = asyncio.Event()
        self.adopted = 0

    def named(self, ids: Sequence[Id]) -> None:
        """Another worker named rows that are this one's to take up."""
        self._named.extend(ids)
        self._wake.set()

    def look(self) -> None:
        """Some may be ours now: look at all, and once more in a while."""
        self._looks = 2
        self._wake.set()

    async def take_up_all(self) -> None:
        """Take up whatever is ours and waits in no memory, now. Raises as DatabaseUnavailable."""
        connection = await self._database.open("take up")
        try:
            self.adopted += await self._recovery.take_up_waiting(connection)
        finally:
            await connection.close()

    def sweep_soon(self) -> None:
        """Look now for what waits in nobody's memory."""
        self._sweep_at = 0.0
        self._wake.set()

    async def _sweep(self, connection: Connection) -> None:
        """Take up what waits in nobody's memory, and say so: it should not be there."""
        now = asyncio.get_running_loop().time
        begun = now()
        taken = await self._recovery.take_up_stranded(connection)
        self._sweep_at = now() + max(SWEEP_S, SWEEP_SHARE * (now() - begun))
        self.adopted += taken
        if taken:
            self._alerts.alert(
                STRANDED,
                f"{taken} messages waited in no gateway's memory, and were taken up now",
                subject="stranded",
            )

    async def run(self) -> None:
        now = asyncio.get_running_loop().time
        self._sweep_at = now() + SWEEP_S
        own = OwnConnection(self._database, "adopt")
        try:
            while True:
                try:
                    until_sweep = max(0.0, self._sweep_at - now())
                    async with asyncio.timeout(AGAIN_S if self._looks else until_sweep):
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
                    elif now() >= self._sweep_at:
                        if self._sweeps:
                            await self._sweep(connection)
                        else:
                            self._sweep_at = now() + SWEEP_S
                except DatabaseUnavailable as error:
                    log.error("database: %s; rows that became ours wait", error, extra=AWAY)
                    own.drop()
                    self._named[:0] = ids
                    self._wake.set()
                    await asyncio.sleep(RETRY_S)
        finally:
            own.drop()
