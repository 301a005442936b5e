"""Numbers that carriers reported as deactivated: imported by day, read as a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from storage.database import Connection, ConnectionPool


async def add(connection: Connection, day: date, numbers: Sequence[str]) -> None:
    """Numbers of a day; a day may come in several parts, and a part twice."""
    await connection.execute(
        "INSERT INTO deactivation_days (day) VALUES ($1) ON CONFLICT DO NOTHING", day
    )
    await connection.execute(
        "INSERT INTO deactivations (day, number) SELECT $1, unnest($2::text[])"
        " ON CONFLICT DO NOTHING",
        day,
        numbers,
    )


async def known(pool: ConnectionPool, day: date) -> bool:
    """Whether the list of that day was imported."""
    return bool(
        await pool.fetchval("SELECT EXISTS (SELECT FROM deactivation_days WHERE day = $1)", day)
    )


async def page(pool: ConnectionPool, day: date, *, after: str, most: int) -> list[str]:
    """Numbers of a day, in order."""
    rows = await pool.fetch(
        "SELECT number FROM deactivations WHERE day = $1 AND number > $2 ORDER BY number LIMIT $3",
        day,
        after,
        most,
    )
    return [row[0] for row in rows]


async def purge(connection: Connection, before: date) -> None:
    """Forget the days before this one."""
    await connection.execute("DELETE FROM deactivations WHERE day < $1", before)
    await connection.execute("DELETE FROM deactivation_days WHERE day < $1", before)
