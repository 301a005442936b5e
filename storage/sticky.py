"""Sticky mappings as a resource: listed, looked up, moved and reset
(docs/spec/messaging-services.md#sticky-sender).

The hot path reads and reserves them in `storage.recipients`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from storage.database import Connection, ConnectionPool
from storage.keyset import rising
from storage.lists import Lists
from storage.records import columns


class StickyRow(TypedDict):
    channel: int
    recipient: str
    sender_id: int
    created_at: datetime
    last_used: datetime


PAGE = rising(f"""
SELECT {columns(StickyRow)} FROM sticky
 WHERE service_id = $1 AND channel = $2 AND recipient @PAST $3
   AND ($4::int IS NULL OR sender_id = $4)
 ORDER BY recipient @ORDER
 LIMIT $5
""")

ONE = f"""
SELECT {columns(StickyRow)} FROM sticky
 WHERE service_id = $1 AND channel = $2 AND recipient = $3
"""

# The row before the change tells whose count goes down.
MOVE = """
WITH before AS (
    SELECT sender_id FROM sticky
     WHERE service_id = $1 AND channel = $2 AND recipient = $3 FOR UPDATE
), moved AS (
    INSERT INTO sticky (service_id, channel, recipient, sender_id) VALUES ($1, $2, $3, $4)
        ON CONFLICT (service_id, channel, recipient)
        DO UPDATE SET sender_id = excluded.sender_id, first_message = NULL,
                      created_at = now(), last_used = now()
)
SELECT sender_id FROM before
"""

RESET = """
DELETE FROM sticky WHERE service_id = $1 AND channel = $2 AND recipient = $3 RETURNING sender_id
"""

# In portions: a number may have millions.
MOVE_MANY = """
UPDATE sticky SET sender_id = $4, first_message = NULL, created_at = now()
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM sticky
                          WHERE service_id = $1 AND channel = $2 AND sender_id = $3
                          LIMIT $5 FOR UPDATE SKIP LOCKED))
"""

RESET_MANY = """
DELETE FROM sticky
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM sticky
                          WHERE service_id = $1 AND channel = $2 AND sender_id = $3
                          LIMIT $4 FOR UPDATE SKIP LOCKED))
"""


async def page(
    pool: ConnectionPool | Lists,
    service_id: int,
    channel: int,
    *,
    after: str,
    sender_id: int | None,
    most: int,
    back: bool = False,
) -> list[StickyRow]:
    """At most `most` mappings of a service, by recipient, above `after`."""
    return await pool.fetch(PAGE.of(back), service_id, channel, after, sender_id, most)


async def one(
    pool: ConnectionPool, service_id: int, channel: int, recipient: str
) -> StickyRow | None:
    return await pool.fetchrow(ONE, service_id, channel, recipient)


async def move(
    connection: Connection, service_id: int, channel: int, recipient: str, sender_id: int
) -> int | None:
    """Map a recipient to a sender; the sender it had before."""
    before: int | None = await connection.fetchval(MOVE, service_id, channel, recipient, sender_id)
    return before


async def reset(pool: ConnectionPool, service_id: int, channel: int, recipient: str) -> int | None:
    """Forget a recipient's mapping; the sender it had, None when there was none."""
    before: int | None = await pool.fetchval(RESET, service_id, channel, recipient)
    return before


async def move_many(
    pool: ConnectionPool,
    service_id: int,
    channel: int,
    sender_id: int,
    to_id: int | None,
    portion: int,
) -> int:
    """Move up to `portion` mappings of a sender to another, or forget them; how many."""
    if to_id is None:
        done = await pool.execute(RESET_MANY, service_id, channel, sender_id, portion)
    else:
        done = await pool.execute(MOVE_MANY, service_id, channel, sender_id, to_id, portion)
    return int(done.rpartition(" ")[2])
