"""What inbound messages still lead to: the column `handling`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage.database import Connection, ConnectionPool
from storage.ids import Id
from storage.messages import MessageRow

UNHANDLED = "SELECT * FROM messages WHERE handling IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"

# The batch's own lowest and highest id let the executor prune partitions before it starts.
CLEAR = """
UPDATE messages AS m SET handling = NULL, sent_at = coalesce(u.called_at, m.sent_at)
  FROM unnest($1::uuid[], $4::int[], $5::timestamptz[]) AS u (id, handling, called_at)
 WHERE m.id = u.id AND m.handling = u.handling AND m.id >= $2 AND m.id <= $3
"""


async def unhandled(pool: ConnectionPool, *, after: Id, most: int) -> list[MessageRow]:
    """Messages that something is owed for, in the order of their arrival, a page at a time."""
    return await pool.fetch(UNHANDLED, after, most)


async def is_owed(pool: ConnectionPool, id: Id) -> bool:
    """Whether something is owed for this message: it may be redacted or deleted meanwhile."""
    return bool(await pool.fetchval("SELECT handling IS NOT NULL FROM messages WHERE id = $1", id))


async def clear(
    connection: Connection | ConnectionPool, handled: Sequence[tuple[Id, int, datetime | None]]
) -> None:
    """What was owed for these is done; each with that, and with when its webhook was first called.
    What is owed since then stays.
    """
    ids, owed, called_at = zip(*handled, strict=True)
    await connection.execute(CLEAR, ids, min(ids), max(ids), owed, called_at)
