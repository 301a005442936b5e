"""Messages whose time has not come, read by their time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from storage.database import Connection
from storage.ids import Id
from storage.messages import MessageRow

_HELD = "waiting IS NOT NULL AND send_at IS NOT NULL AND status = $1"

DUE = f"""
SELECT * FROM messages
 WHERE {_HELD} AND send_at <= $2 AND id <> ALL ($3::uuid[])
   AND ($5::int[] IS NULL OR service_id = ANY ($5))
 ORDER BY send_at, id LIMIT $4
"""

NEXT = f"SELECT min(send_at) FROM messages WHERE {_HELD} AND send_at > $2"

COUNTS = f"SELECT account_id, count(*) FROM messages WHERE {_HELD} GROUP BY account_id"


async def due(
    connection: Connection,
    *,
    scheduled: int,
    until: datetime,
    without: Sequence[Id],
    most: int,
    services: Sequence[int] | None = None,
) -> list[MessageRow]:
    """Scheduled messages whose time has come, oldest first; of these services, None for all."""
    return await connection.fetch(DUE, scheduled, until, without, most, services)


async def next_time(connection: Connection, *, scheduled: int, after: datetime) -> datetime | None:
    """When the next one is due."""
    at: datetime | None = await connection.fetchval(NEXT, scheduled, after)
    return at


async def counts(connection: Connection, *, scheduled: int) -> dict[int, int]:
    """How many each account holds."""
    return dict(await connection.fetch(COUNTS, scheduled))
