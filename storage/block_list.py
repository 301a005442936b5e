"""The block list as an operator sees it: listed, looked up, with its log
(docs/spec/messaging-services.md#opt-out-management).

Changes go through `storage.recipients.change_blocks`, like everybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from storage.database import Connection, ConnectionPool
from storage.keyset import falling, rising
from storage.lists import Lists

BlockKey = tuple[str, int, int]  # recipient, channel, scope


class BlockRow(TypedDict):
    recipient: str
    channel: int
    scope: int
    account_id: int
    source: str
    at: datetime


class LoggedBlockRow(BlockRow):
    id: int
    blocked: bool
    actor: str
    note: str | None


PAGE = rising("""
SELECT * FROM opt_outs
 WHERE (recipient, channel, scope) @PAST ($1, $2, $3)
   AND ($4::text IS NULL OR recipient = $4) AND ($5::int IS NULL OR account_id = $5)
   AND ($6::int IS NULL OR scope = $6) AND ($7::text IS NULL OR source = $7)
   AND ($8::timestamptz IS NULL OR at >= $8)
 ORDER BY recipient @ORDER, channel @ORDER, scope @ORDER
 LIMIT $9
""")

# Of the network's own: what it has blocked, only it can let go.
HELD = """
SELECT o.recipient, o.channel, o.scope FROM opt_outs AS o
  JOIN unnest($1::text[], $2::smallint[], $3::int[]) AS k (recipient, channel, scope)
    ON o.recipient = k.recipient AND o.channel = k.channel AND o.scope = k.scope
 WHERE o.source = 'network'
"""

LOG_PAGE = falling("""
SELECT * FROM opt_out_log
 WHERE id @PAST $1 AND ($2::text IS NULL OR recipient = $2) AND ($3::int IS NULL OR account_id = $3)
 ORDER BY id @ORDER
 LIMIT $4
""")

LAST = 2**63 - 1


async def page(
    pool: ConnectionPool | Lists,
    *,
    after: BlockKey,
    most: int,
    back: bool = False,
    recipient: str | None = None,
    account_id: int | None = None,
    scope: int | None = None,
    source: str | None = None,
    since: datetime | None = None,
) -> list[BlockRow]:
    """At most `most` blocks above `after`, by recipient."""
    return await pool.fetch(
        PAGE.of(back), *after, recipient, account_id, scope, source, since, most
    )


async def held_by_network(connection: Connection, keys: Sequence[BlockKey]) -> set[BlockKey]:
    """Which of these blocks the network itself made; exact once their scopes are excluded."""
    if not keys:
        return set()
    return set(map(tuple, await connection.fetch(HELD, *zip(*keys, strict=True))))


async def log_page(
    pool: ConnectionPool | Lists,
    *,
    before: int,
    most: int,
    recipient: str | None,
    account_id: int | None,
    back: bool = False,
) -> list[LoggedBlockRow]:
    """At most `most` changes, newest first, older than the one with the id `before`."""
    return await pool.fetch(LOG_PAGE.of(back), before, recipient, account_id, most)
