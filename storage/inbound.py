"""What inbound messages still lead to: the column `handling`."""

from __future__ import annotations

from collections.abc import Sequence

from storage.ids import Id
from storage.pool import Connection, Pool, Row

UNHANDLED = "SELECT * FROM messages WHERE handling IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"

SET = "UPDATE messages SET handling = $2 WHERE id = $1"

# The batch's own lowest and highest id let the executor prune partitions before it starts.
CLEAR = """
UPDATE messages SET handling = NULL
 WHERE id = ANY($1::uuid[]) AND id >= $2 AND id <= $3
"""


async def unhandled(pool: Pool, *, after: Id, most: int) -> list[Row]:
    """Messages that something is owed for, in the order of their arrival, a page at a time."""
    return await pool.fetch(UNHANDLED, after, most)


async def set_handling(connection: Connection | Pool, id: Id, handling: int) -> None:
    """What is still owed; 0: nothing."""
    await connection.execute(SET, id, handling or None)


async def clear(pool: Pool, ids: Sequence[Id]) -> None:
    """Nothing is owed for these any more."""
    await pool.execute(CLEAR, ids, min(ids), max(ids))
