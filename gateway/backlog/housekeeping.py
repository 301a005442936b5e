"""What is made ahead and forgotten by age: partitions, media, links, keys, deactivations."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta

from gateway.observe.outage_log import AWAY
from gateway.runtime.clock import Clock
from storage import config as config_rows
from storage import deactivations, erasure, idempotency, partitions
from storage import media as media_rows
from storage import short_links as link_rows
from storage.database import Connection, ConnectionPool, Database, DatabaseUnavailable

log = logging.getLogger(__name__)

EVERY_S = 3600.0
INDEX_S = 6 * 3600.0  # for one index of a day
MEDIA_PAGE = 100  # files forgotten in one statement
LINK_PAGE = 10_000  # short links, the same
UNADDRESSABLE_KEPT = timedelta(days=30)  # recipients of bulk operations that are no numbers
DEACTIVATIONS_DAYS = 31  # one more than is shown


class Housekeeping:
    """The stage: once an hour."""

    def __init__(
        self, database: Database, pool: ConnectionPool, clock: Clock, media_days: float
    ) -> None:
        self._database = database
        self._pool = pool
        self._clock = clock
        self._media_age = timedelta(days=media_days)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                async with self._pool.acquire() as connection:
                    await partitions.ensure_partitions(connection, self._today())
                    await self._forget(connection)
                await self.index_past_days()
            except DatabaseUnavailable as error:
                log.warning("partitions not made: %s", error, extra=AWAY)

    async def prepare(self) -> None:
        """Make the partitions that are needed soon."""
        async with self._pool.acquire() as connection:
            await partitions.ensure_partitions(connection, self._today())

    async def _forget(self, connection: Connection) -> None:
        await idempotency.purge(connection)
        await config_rows.forget_changes(connection)
        await erasure.forget_unaddressable(connection, UNADDRESSABLE_KEPT)
        await deactivations.purge(connection, self._today() - timedelta(days=DEACTIVATIONS_DAYS))
        now = self._now()
        while await media_rows.purge(connection, now - self._media_age, MEDIA_PAGE) == MEDIA_PAGE:
            pass
        while await link_rows.purge(connection, now, LINK_PAGE) == LINK_PAGE:
            pass

    async def index_past_days(self) -> None:
        """Give days that are over what lists are read by, if no other process is at it."""
        connection = await self._database.open("indexes", command_s=INDEX_S)
        try:
            await partitions.index_past_days(connection, self._today())
        finally:
            connection.terminate()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)

    def _today(self) -> date:
        return self._now().date()
