"""Day partitions: made ahead of need, dropped by retention."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import asyncpg

from storage.pool import Connection

DAYS_AHEAD = 3
PARTITION_LOCK = 0x7A4DE4


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
