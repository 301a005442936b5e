"""What is known of recipients: which sender they are used to, and what they asked us to stop.

Both are asked for in one round trip, under shared advisory locks that whoever blocks a recipient
takes exclusively (docs/reliability.md#opt-out): a message that was read as free is on the wire
before the block's own answer, or it sees the block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypedDict

from storage.database import Connection, ConnectionPool
from storage.ids import Id

LOCK_CLASS = 7400  # of the advisory locks; schema 0005 has it too
LOCKS = 64

STANDING = "SELECT * FROM recipients_standing($1, $2, $3, $4, $5)"
UNLOCK = "SELECT pg_advisory_unlock_all()"

# A mapping that is there already wins, and is no longer the first message's alone.
RESERVE = """
INSERT INTO sticky AS s (service_id, channel, recipient, sender_id, first_message)
SELECT * FROM unnest($1::int[], $2::smallint[], $3::text[], $4::int[], $5::uuid[])
 ORDER BY 1, 2, 3
    ON CONFLICT (service_id, channel, recipient)
    DO UPDATE SET first_message = NULL, last_used = now()
RETURNING service_id, channel, recipient, sender_id
"""

DROP = """
DELETE FROM sticky AS s
 USING unnest($1::int[], $2::smallint[], $3::text[], $4::int[])
    AS k (service_id, channel, recipient, sender_id)
 WHERE s.service_id = k.service_id AND s.channel = k.channel AND s.recipient = k.recipient
   AND s.sender_id = k.sender_id
"""

# A mapping whose only message never went.
UNUSED = """
DELETE FROM sticky AS s
 USING unnest($1::int[], $2::text[], $3::uuid[]) AS k (service_id, recipient, first_message)
 WHERE s.service_id = k.service_id AND s.recipient = k.recipient
   AND s.first_message = k.first_message
RETURNING s.sender_id
"""

GREETED = """
INSERT INTO sticky (service_id, channel, recipient, sender_id)
SELECT * FROM unnest($1::int[], $2::smallint[], $3::text[], $4::int[])
    ON CONFLICT DO NOTHING
RETURNING sender_id
"""

COUNTS = "SELECT sender_id, count(*) FROM sticky GROUP BY sender_id"

# Unused for a year, or with a sender that is not in the service any more.
STALE = """
DELETE FROM sticky WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM sticky AS s
     WHERE s.last_used < now() - interval '365 days'
        OR NOT EXISTS (SELECT FROM service_senders AS m
                        WHERE m.service_id = s.service_id AND m.sender_id = s.sender_id)
     LIMIT $1))
RETURNING sender_id
"""

EXCLUDE = "SELECT pg_advisory_xact_lock($1, key) FROM unnest($2::int[]) AS key"

BLOCK = """
INSERT INTO opt_outs (recipient, channel, scope, account_id, source)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::int[], $4::int[], $5::text[])
    ON CONFLICT (recipient, channel, scope)
    DO UPDATE SET source = excluded.source WHERE excluded.source = 'network'
"""

UNBLOCK = """
DELETE FROM opt_outs AS o
 USING unnest($1::text[], $2::smallint[], $3::int[]) AS k (recipient, channel, scope)
 WHERE o.recipient = k.recipient AND o.channel = k.channel AND o.scope = k.scope
"""

LOG = """
INSERT INTO opt_out_log (recipient, channel, scope, account_id, source, blocked, actor, note)
SELECT * FROM unnest($1::text[], $2::smallint[], $3::int[], $4::int[], $5::text[], $6::boolean[],
                     $7::text[], $8::text[])
"""

BLOCKED_NOW = """
SELECT o.recipient, o.channel, o.scope FROM opt_outs AS o
  JOIN unnest($1::text[], $2::smallint[], $3::int[]) AS k (recipient, channel, scope)
    ON o.recipient = k.recipient AND o.channel = k.channel AND o.scope = k.scope
"""


class Reservation(NamedTuple):
    """A recipient is used to this sender from now on, unless a mapping is there already."""

    service_id: int
    channel: int
    recipient: str
    sender_id: int
    first_message: Id | None


class BlockChange(NamedTuple):
    """One change of the block list, with who made it."""

    recipient: str
    channel: int
    scope: int
    account_id: int
    source: str
    blocked: bool
    actor: str
    note: str | None


class StandingBlockRow(TypedDict):
    blocked: Literal[True]
    recipient: str
    channel: int
    scope: int


class StandingMappingRow(TypedDict):
    blocked: Literal[False]
    recipient: str
    channel: int
    scope: int  # the service
    sender_id: int
    first_message: Id | None
    created_at: datetime
    last_used: datetime


# The query gives both the columns of a mapping, which in a block are null.
StandingRow = StandingBlockRow | StandingMappingRow


class ReservedRow(TypedDict):
    service_id: int
    channel: int
    recipient: str
    sender_id: int


def lock_key(scope: int) -> int:
    """The advisory lock that stands for a scope."""
    return scope % LOCKS


async def blocks_and_mappings(
    connection: Connection,
    scopes: Iterable[int],
    recipients: Sequence[str],
    mapped: Sequence[tuple[int, int, str]] = (),
) -> list[StandingRow]:
    """Blocks of `recipients`, and the mappings of `mapped` (service, channel, recipient).

    Blocks are complete for messages within `scopes` until `unlock`, or the next call on this
    connection: nobody can add one in between.
    """
    services, channels, addresses = zip(*mapped, strict=True) if mapped else ((), (), ())
    keys = sorted({lock_key(scope) for scope in scopes})
    return await connection.fetch(STANDING, keys, recipients, services, channels, addresses)


async def unlock(connection: Connection) -> None:
    """What was asked for has been written to its binds: blocks may be added again."""
    await connection.execute(UNLOCK)


async def reserve(connection: Connection, wanted: Iterable[Reservation]) -> list[ReservedRow]:
    """Store new mappings and note the use of old ones; the rows say who each belongs to."""
    return await connection.fetch(RESERVE, *zip(*wanted, strict=True))


async def drop(connection: Connection, mappings: Iterable[tuple[int, int, str, int]]) -> None:
    """Delete (service, channel, recipient, sender) where that is still the sender."""
    await connection.execute(DROP, *zip(*mappings, strict=True))


async def drop_unused(connection: Connection, firsts: Iterable[tuple[int, str, Id]]) -> list[int]:
    """Delete what (service, recipient) got for one message that never went; their senders."""
    rows = await connection.fetch(UNUSED, *zip(*firsts, strict=True))
    return [row[0] for row in rows]


async def greeted(
    connection: Connection, mappings: Iterable[tuple[int, int, str, int]]
) -> list[int]:
    """Somebody wrote to a member of a pool: (service, channel, recipient, sender).

    An existing mapping is kept. Returns the senders of the new ones.
    """
    rows = await connection.fetch(GREETED, *zip(*mappings, strict=True))
    return [row[0] for row in rows]


async def counts(connection: Connection) -> dict[int, int]:
    """How many mappings each sender has."""
    return dict(await connection.fetch(COUNTS))


async def drop_stale(pool: ConnectionPool, most: int) -> list[int]:
    """Delete at most `most` mappings that nobody uses any more; returns their senders."""
    return [row[0] for row in await pool.fetch(STALE, most)]


async def exclude(
    connection: Connection, scopes: Iterable[int], lock_timeout: str | None = None
) -> None:
    """Until the end of this transaction nobody lets a message of `scopes` go.

    Returns when those let go before are on the wire. With a `lock_timeout` (Postgres's spelling)
    it raises what DatabaseUnavailable names when a process holds them up for longer.
    """
    if lock_timeout is not None:
        await connection.execute(f"SET LOCAL lock_timeout = '{lock_timeout}'")
    keys = sorted({lock_key(scope) for scope in scopes})
    await connection.execute(EXCLUDE, LOCK_CLASS, keys)


async def change_blocks(connection: Connection, changes: Sequence[BlockChange]) -> None:
    """Change the block list and its log, in the caller's transaction.

    The last of several changes for one (recipient, channel, scope) counts.
    """
    if not changes:
        return
    await exclude(connection, {change.scope for change in changes})
    final = {(change.recipient, change.channel, change.scope): change for change in changes}
    blocks = [change[:5] for change in final.values() if change.blocked]
    gone = [change[:3] for change in final.values() if not change.blocked]
    if blocks:
        await connection.execute(BLOCK, *zip(*blocks, strict=True))
    if gone:
        await connection.execute(UNBLOCK, *zip(*gone, strict=True))
    await connection.execute(LOG, *zip(*changes, strict=True))


async def blocked_now(
    connection: Connection, keys: Sequence[tuple[str, int, int]]
) -> set[tuple[str, int, int]]:
    """Which of these (recipient, channel, scope) are on the list."""
    if not keys:
        return set()
    return set(map(tuple, await connection.fetch(BLOCKED_NOW, *zip(*keys, strict=True))))
