"""Media of messages: kept with the message's own row, served by SID and by link."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

from storage.database import Connection, ConnectionPool
from storage.ids import Id
from storage.keyset import rising
from storage.messages import FLAGS
from storage.records import columns


class MediaRow(TypedDict):
    sid: str
    position: int
    content_type: str
    created_at: datetime


COLUMNS = (
    *("sid", "message_id", "account_id", "position", "content_type", "bytes"),
    *("code", "link_until"),
)

# Only what still waits: a message that was canceled in the meantime keeps no media.
TAKEN = f"""
UPDATE messages AS m SET flags = {FLAGS}, extras = $3
  FROM (SELECT $2::int AS flags) AS u
 WHERE id = $1 AND waiting IS NOT NULL
RETURNING id
"""

_PAGE = rising(f"""
SELECT {columns(MediaRow)} FROM media
 WHERE message_id = $1 AND position @PAST $2
   AND ($4::timestamptz IS NULL OR created_at >= $4)
   AND ($5::timestamptz IS NULL OR created_at < $5)
 ORDER BY position @ORDER LIMIT $3
""")


async def keep(
    connection: Connection,
    message_id: Id,
    flags: int,
    extras: dict[str, Any],
    rows: Sequence[Sequence[Any]],
) -> bool:
    """Store a message's media (in the order of COLUMNS), and that it waits for them no more.

    False, and nothing stored, when the message does not wait. Raises UniqueViolation for a code
    that is taken.
    """
    async with connection.transaction():
        if await connection.fetchval(TAKEN, message_id, flags, extras) is None:
            return False
        await connection.copy_records_to_table("media", records=rows, columns=COLUMNS)
    return True


async def of_message(
    pool: ConnectionPool,
    message_id: Id,
    *,
    after: int = -1,
    back: bool = False,
    most: int = 1000,
    since: datetime | None = None,
    before: datetime | None = None,
) -> list[MediaRow]:
    """A message's media, in their order, without their bytes."""
    return await pool.fetch(_PAGE.of(back), message_id, after, most, since, before)


async def one(pool: ConnectionPool, message_id: Id, sid: str) -> MediaRow | None:
    """One of a message's media, without its bytes."""
    query = f"SELECT {columns(MediaRow)} FROM media WHERE message_id = $1 AND sid = $2"
    return await pool.fetchrow(query, message_id, sid)


async def content(pool: ConnectionPool, message_id: Id, sid: str) -> tuple[str, bytes] | None:
    """One of a message's media: its content type and its bytes."""
    return await pool.fetchrow(
        "SELECT content_type, bytes FROM media WHERE message_id = $1 AND sid = $2", message_id, sid
    )


async def by_code(pool: ConnectionPool, code: str, now: datetime) -> tuple[str, bytes] | None:
    """The same of what is behind a link that has not ended yet."""
    return await pool.fetchrow(
        "SELECT content_type, bytes FROM media WHERE code = $1 AND link_until > $2", code, now
    )


async def delete(pool: ConnectionPool, message_id: Id, sid: str) -> bool:
    status = await pool.execute(
        "DELETE FROM media WHERE message_id = $1 AND sid = $2", message_id, sid
    )
    return status == "DELETE 1"


async def purge(connection: Connection, before: datetime, most: int) -> int:
    """Forget media older than `before`; how many."""
    status = await connection.execute(
        "DELETE FROM media WHERE sid IN (SELECT sid FROM media WHERE created_at < $1 LIMIT $2)",
        before,
        most,
    )
    return int(status.removeprefix("DELETE "))
