"""Events of conversations that apps are still to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from storage.database import Connection, ConnectionPool
from storage.ids import Id


class ConversationEventRow(TypedDict):
    id: int
    conversation_id: int
    account_id: int
    url: str
    method: str
    parameters: list[list[str]]  # pairs
    attempts: int
    messages: list[Id] | None


LEASE_S = 30  # of one that is being told; whoever dies with it leaves it to others

INSERT = """
INSERT INTO conversation_events (conversation_id, account_id, url, method, parameters, messages)
VALUES ($1, $2, $3, $4, $5, $6)
"""

# The first of each conversation, where it is due: the others come after it. Accounts take turns,
# and each has at most $2 under way; how many it has now is in $3 and $4.
CLAIM = f"""
WITH heads AS (
    SELECT DISTINCT ON (conversation_id) id, account_id, due_at FROM conversation_events
     ORDER BY conversation_id, id
), ranked AS (
    SELECT h.id, coalesce(w.events, 0)
           + row_number() OVER (PARTITION BY h.account_id ORDER BY h.id) AS turn
      FROM heads AS h
      LEFT JOIN unnest($3::bigint[], $4::bigint[]) AS w (account_id, events) USING (account_id)
     WHERE h.due_at <= now()
), chosen AS (
    SELECT id FROM ranked WHERE turn <= $2 ORDER BY turn, id LIMIT $1
)
UPDATE conversation_events AS e
   SET due_at = now() + interval '{LEASE_S} seconds', attempts = attempts + 1
  FROM chosen WHERE e.id = chosen.id AND e.due_at <= now()
RETURNING e.id, e.conversation_id, e.account_id, e.url, e.method, e.parameters, e.attempts,
          e.messages
"""


async def insert(
    connection: Connection,
    conversation_id: int,
    account_id: int,
    url: str,
    method: str,
    parameters: Sequence[tuple[str, str]],
    messages: Sequence[Id] = (),
) -> None:
    """`messages`: those whose text the parameters have, so that it is erased with theirs."""
    values: list[Any] = [list(pair) for pair in parameters]
    await connection.execute(
        INSERT, conversation_id, account_id, url, method, values, list(messages) or None
    )


async def claim(
    pool: ConnectionPool, most: int, most_of_account: int, under_way: Mapping[int, int]
) -> list[ConversationEventRow]:
    """Take events to be told now, at most one of each conversation.

    `under_way`: how many are being told, by account; with those, each has `most_of_account`.
    """
    counts = list(under_way.values())
    return await pool.fetch(CLAIM, most, most_of_account, list(under_way), counts)


async def done(pool: ConnectionPool, event_id: int) -> None:
    await pool.execute("DELETE FROM conversation_events WHERE id = $1", event_id)


async def put_off(pool: ConnectionPool, event_id: int, wait_s: float) -> None:
    await pool.execute(
        "UPDATE conversation_events SET due_at = now() + make_interval(secs => $2) WHERE id = $1",
        event_id,
        wait_s,
    )
