"""Keys of send calls: claimed in the transaction that stores their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from storage.database import Connection, ConnectionPool
from storage.ids import Id

LIFE = "interval '24 hours'"

# A key that is older than its life is taken over. Who comes second to a key waits here for the
# commit of who came first, in another process too.
CLAIM = f"""
INSERT INTO idempotency AS i (account_id, key, digest, message_id)
SELECT * FROM unnest($1::int[], $2::text[], $3::bytea[], $4::uuid[])
    ON CONFLICT (account_id, key) DO UPDATE
   SET digest = EXCLUDED.digest, message_id = EXCLUDED.message_id, at = now()
 WHERE i.at < now() - {LIFE}
RETURNING message_id
"""

FIND = f"""
SELECT digest, message_id FROM idempotency
 WHERE account_id = $1 AND key = $2 AND at >= now() - {LIFE}
"""


class IdempotencyKey(NamedTuple):
    """A key with what it was given for."""

    account_id: int
    key: str
    digest: bytes
    message_id: Id


async def claim(connection: Connection, keys: Sequence[IdempotencyKey]) -> set[Id]:
    """Claim keys; the messages whose key belongs to an earlier one, and which must not be stored.

    In the order of the keys, so that two processes cannot deadlock.
    """
    first: dict[tuple[int, str], IdempotencyKey] = {}
    for key in keys:
        first.setdefault((key.account_id, key.key), key)
    ordered = [first[name] for name in sorted(first)]
    rows = await connection.fetch(CLAIM, *(list(column) for column in zip(*ordered, strict=True)))
    won = {row[0] for row in rows}
    return {key.message_id for key in keys} - won


async def find(pool: ConnectionPool, account_id: int, key: str) -> tuple[bytes, Id] | None:
    """What the key was used for: its digest, and the message."""
    return await pool.fetchrow(FIND, account_id, key)


async def release(connection: Connection, message_ids: Sequence[Id]) -> None:
    """Forget the keys of messages that were not stored after all."""
    await connection.execute("DELETE FROM idempotency WHERE message_id = ANY ($1)", message_ids)


async def purge(connection: Connection) -> None:
    await connection.execute(f"DELETE FROM idempotency WHERE at < now() - {LIFE}")
