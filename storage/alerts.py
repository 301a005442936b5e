"""Alerts: the debugger's entries, append only, forgotten after a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from storage.database import Connection, ConnectionPool, Row
from storage.keyset import falling
from storage.lists import Lists

COLUMNS = (
    "sid",
    "at",
    "account_id",
    "code",
    "level",
    "text",
    "resource",
    "service",
    "request_method",
    "request_url",
    "request_variables",
    "request_headers",
    "response_status",
    "response_headers",
    "response_body",
)

# Those without an account are about the gateway itself: the operator's.
FETCH = """
SELECT * FROM alerts
 WHERE sid = $1 AND (account_id = $2 OR ($3 AND account_id IS NULL))
"""

PAGE = falling("""
SELECT * FROM alerts
 WHERE (account_id = $1 OR ($7 AND account_id IS NULL))
   AND ($2::text IS NULL OR id @PAST (SELECT id FROM alerts WHERE sid = $2))
   AND ($3::text IS NULL OR level = $3)
   AND ($4::timestamptz IS NULL OR at >= $4)
   AND ($5::timestamptz IS NULL OR at <= $5)
 ORDER BY id @ORDER
 LIMIT $6
""")

FORGET = "DELETE FROM alerts WHERE at < $1"


async def insert(pool: ConnectionPool, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` in the order of COLUMNS."""
    async with pool.acquire() as connection:
        await write(connection, rows)


async def write(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """The same, in the caller's transaction."""
    await connection.copy_records_to_table("alerts", records=rows, columns=COLUMNS)


async def fetch(pool: ConnectionPool, account_id: int, sid: str, *, operator: bool) -> Row | None:
    return await pool.fetchrow(FETCH, sid, account_id, operator)


async def page(
    pool: ConnectionPool | Lists,
    account_id: int,
    *,
    most: int,
    before: str | None,
    back: bool = False,
    level: str | None,
    since: datetime | None,
    until: datetime | None,
    operator: bool,
) -> list[Row]:
    """At most `most` alerts of an account, newest first, older than the one named `before`.

    With `operator`, those about the gateway itself too.
    """
    return await pool.fetch(PAGE.of(back), account_id, before, level, since, until, most, operator)


async def forget(pool: ConnectionPool, before: datetime) -> None:
    await pool.execute(FORGET, before)
