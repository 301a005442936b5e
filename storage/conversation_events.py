"""Events of conversations that apps are still to be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from storage.pool import Connection, Pool, Row

LEASE_S = 30  # of one that is being told; whoever dies with it leaves it to others

INSERT = """
INSERT INTO conversation_events (conversation_id, account_id, url, method, parameters)
VALUES ($1, $2, $3, $4, $5)
"""

# The first of each conversation, where it is due: the others come after it.
CLAIM = f"""
WITH heads AS (
    SELECT DISTINCT ON (conversation_id) id, due_at FROM conversation_events
     ORDER BY conversation_id, id
), chosen AS (
    SELECT id FROM heads WHERE due_at <= now() ORDER BY id LIMIT $1
)
UPDATE conversation_events AS e
   SET due_at = now() + interval '{LEASE_S} seconds', attempts = attempts + 1
  FROM chosen WHERE e.id = chosen.id AND e.due_at <= now()
RETURNING e.*
"""


async def insert(
    connection: Connection,
    conversation_id: int,
    account_id: int,
    url: str,
    method: str,
    parameters: Sequence[tuple[str, str]],
) -> None:
    values: list[Any] = [list(pair) for pair in parameters]
    await connection.execute(INSERT, conversation_id, account_id, url, method, values)


async def claim(pool: Pool, most: int) -> list[Row]:
    """Take events to be told now, at most one of each conversation."""
    return await pool.fetch(CLAIM, most)


async def done(pool: Pool, event_id: int) -> None:
    await pool.execute("DELETE FROM conversation_events WHERE id = $1", event_id)


async def put_off(pool: Pool, event_id: int, wait_s: float) -> None:
    await pool.execute(
        "UPDATE conversation_events SET due_at = now() + make_interval(secs => $2) WHERE id = $1",
        event_id,
        wait_s,
    )
