"""What was deleted through the API: that it was there, for a while (docs/smpp.md, Reconcile)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from storage.database import Connection
from storage.ids import Id


class DeletedMessageRow(TypedDict):
    reference: int | None
    carrier_ids: list[str]


# The carrier's ids outlive the message in `submissions`, by day.
SINCE = """
SELECT d.reference,
       coalesce(array_agg(s.carrier_message_id) FILTER (WHERE s.message_id IS NOT NULL),
                '{}') AS carrier_ids
  FROM deleted_messages d LEFT JOIN submissions s ON s.message_id = d.message_id
 WHERE d.message_id >= $1
 GROUP BY d.message_id, d.reference
"""

# In one statement, so that a deletion between two reads makes nothing vanish.
VANISHED = """
SELECT wanted.id FROM unnest($1::uuid[]) AS wanted (id)
 WHERE NOT EXISTS (SELECT FROM messages m WHERE m.id = wanted.id)
   AND NOT EXISTS (SELECT FROM deleted_messages d WHERE d.message_id = wanted.id)
"""

FORGET = "DELETE FROM deleted_messages WHERE deleted_at < now() - $1 * interval '1 second'"


async def since(connection: Connection, first: Id) -> list[DeletedMessageRow]:
    """Of deleted messages since an id: the reference, and what the carrier called the parts."""
    return await connection.fetch(SINCE, first)


async def vanished(connection: Connection, ids: Sequence[Id]) -> list[Id]:
    """The messages of which there is neither a row nor a deletion."""
    return [row[0] for row in await connection.fetch(VANISHED, ids)]


async def forget(connection: Connection, after_s: float) -> None:
    """Forget deletions that are older than so many seconds."""
    await connection.execute(FORGET, after_s)
