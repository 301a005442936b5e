"""What inbound messages still lead to: the column `handling`."""

from __future__ import annotations

from collections.abc import Sequence

from storage.ids import Id
from storage.pool import Connection, Pool, Row

UNHANDLED = "SELECT * FROM messages WHERE handling IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"

# The batch's own lowest and highest id let the executor prune partitions before it starts.
CLEAR = """
UPDATE messages SET handling = NULL
 WHERE id = ANY($1::uuid[]) AND id >= $2 AND id <= $3
"""


async def unhandled(pool: Pool, *, after: Id, most: int) -> list[Row]:
    """Messages that something is owed for, in the order of their arrival, a page at a time."""
    return await pool.fetch(UNHANDLED, after, most)


async def clear(connection: Connection | Pool, ids: Sequence[Id]) -> None:
    """Nothing is owed for these any more."""
    await connection.execute(CLEAR, ids, min(ids), max(ids))
