"""Day partitions: made ahead of need, indexed for lists when they are over."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

from storage.database import Connection, DatabaseUnavailable
from storage.lists import Lists

log = logging.getLogger(__name__)

DAYS_AHEAD = 3
PARTITION_LOCK = 0x7A4DE4
INDEX_LOCK = 0x7A4DE5
LISTED_BY = ("recipient", "sender")  # of an account, by id

DAYS = """
SELECT t.relname AS name FROM pg_inherits AS i JOIN pg_class AS t ON t.oid = i.inhrelid
 WHERE i.inhparent = 'messages'::regclass AND t.relname ~ '^messages_[0-9]{8}$'
 ORDER BY t.relname DESC
"""

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"

INDEXED = """
SELECT t.relname AS name FROM pg_inherits AS i JOIN pg_class AS t ON t.oid = i.inhrelid
 WHERE i.inhparent = 'messages'::regclass
   AND (SELECT count(*) FROM pg_index AS x JOIN pg_class AS n ON n.oid = x.indexrelid
         WHERE x.indrelid = t.oid AND x.indisvalid
           AND n.relname IN (t.relname || '_recipient', t.relname || '_sender')) = 2
 ORDER BY t.relname
"""


def lower_bound(day: date) -> UUID:
    """The smallest message id of `day` (UTC): 48 bits of milliseconds, then zeros."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return UUID(int=int(start.timestamp() * 1000) << 80)


async def ensure_partitions(connection: Connection, today: date) -> None:
    """Make the partitions from yesterday to DAYS_AHEAD days from `today`.

    A day whose rows already went to the default partition (a clock that jumped) keeps
    them there: the day's own partition is then refused by Postgres, and skipped here.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", PARTITION_LOCK)
    try:
        for offset in range(-1, DAYS_AHEAD + 1):
            day = today + timedelta(days=offset)
            following = day + timedelta(days=1)
            for table, low, high in (
                ("messages", str(lower_bound(day)), str(lower_bound(following))),
                ("submissions", f"{day} 00:00+00", f"{following} 00:00+00"),
            ):
                try:
                    await connection.execute(
                        f"CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table}"
                        f" FOR VALUES FROM ('{low}') TO ('{high}') WITH (fillfactor = 50)"
                    )
                except asyncpg.CheckViolationError:
                    continue
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", PARTITION_LOCK)


async def index_past_days(connection: Connection, today: date) -> None:
    """Give each day that is over the indexes that lists by address are read with.

    One after another, newest first, beside whatever is written; by one process at a time. What an
    attempt left that broke off is made anew. The connection is in no transaction, and its
    statements may take long. Raises what DatabaseUnavailable names.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", INDEX_LOCK):
        return
    try:
        for (name,) in await connection.fetch(DAYS):
            if _day_of(name) >= today:
                continue
            for column in LISTED_BY:
                try:
                    await _index(connection, name, column)
                except DatabaseUnavailable:
                    raise
                except asyncpg.PostgresError as error:  # of this day: the others have theirs
                    log.warning("no index of %s by %s: %s", name, column, error)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", INDEX_LOCK)


async def _index(connection: Connection, table: str, column: str) -> None:
    name = f"{table}_{column}"
    valid = await connection.fetchval(VALID, name)
    if valid:
        return
    if valid is not None:
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    await connection.execute(
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} (account_id, {column}, id)"
    )


async def indexed_stretches(lists: Lists) -> list[tuple[int, int]]:
    """First and last id of the days that have them, which rise; days in a row are one."""
    stretches: list[tuple[int, int]] = []
    for (name,) in await lists.fetch(INDEXED):
        day = _day_of(name)
        first, last = lower_bound(day).int, lower_bound(day + timedelta(days=1)).int - 1
        if stretches and stretches[-1][1] == first - 1:
            first = stretches.pop()[0]
        stretches.append((first, last))
    return stretches


def _day_of(table: str) -> date:
    return datetime.strptime(table.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC).date()
