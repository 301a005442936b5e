"""Bulk operations, and the messages that each made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

from storage import messages
from storage.database import Connection, ConnectionPool
from storage.ids import Id
from storage.lists import Lists
from storage.messages import MessageRow
from storage.records import columns


class BulkOperationRow(TypedDict):
    id: Id
    created_at: datetime
    send_at: datetime | None
    recipients: int
    unaddressable: list[dict[str, Any]]
    tags: dict[str, str] | None
    canceled_at: datetime | None


INSERT = """
INSERT INTO bulk_operations
       (id, account_id, send_at, recipients, unaddressable, tags)
VALUES ($1, $2, $3, $4, $5, $6)
"""

FETCH = f"""
SELECT {columns(BulkOperationRow)} FROM bulk_operations WHERE id = $1 AND account_id = $2
"""

COUNTS = "SELECT status, count(*) AS messages FROM messages WHERE operation_id = $1 GROUP BY status"

PAGE = """
SELECT * FROM messages
 WHERE account_id = $1 AND operation_id = $2 AND ($3::uuid IS NULL OR id < $3)
 ORDER BY id DESC LIMIT $4
"""

# What has not ended; whether it can still be taken back, the cancel of each decides.
UNENDED = """
SELECT id FROM messages
 WHERE operation_id = $1 AND status < $2 AND ($3::uuid IS NULL OR id > $3)
 ORDER BY id LIMIT $4
"""

CANCELED = "UPDATE bulk_operations SET canceled_at = coalesce(canceled_at, now()) WHERE id = $1"


async def insert(
    connection: Connection,
    id: Id,
    account_id: int,
    *,
    send_at: datetime | None,
    recipients: int,
    unaddressable: list[dict[str, Any]],
    tags: dict[str, str] | None,
) -> None:
    await connection.execute(INSERT, id, account_id, send_at, recipients, unaddressable, tags)


async def delete(connection: Connection, ids: Sequence[Id]) -> None:
    """Operations that were not stored after all."""
    await connection.execute("DELETE FROM bulk_operations WHERE id = ANY ($1)", ids)


async def fetch(pool: ConnectionPool, account_id: int, id: Id) -> BulkOperationRow | None:
    return await pool.fetchrow(FETCH, id, account_id)


async def counts(pool: ConnectionPool, id: Id) -> dict[int, int]:
    """How many of an operation's messages have which status."""
    return dict(await pool.fetch(COUNTS, id))


async def page(
    lists: Lists, account_id: int, operation_id: Id | None, *, before: Id | None, most: int
) -> list[MessageRow]:
    """Messages of one bulk operation, or of all, newest first, below the id `before`.

    Raises ListTooLong.
    """
    if operation_id is None:
        return await messages.bulk_page(lists, account_id, before=before, most=most)
    return await lists.fetch(PAGE, account_id, operation_id, before, most)


async def unended(
    pool: ConnectionPool, id: Id, *, sent: int, after: Id | None, most: int
) -> list[Id]:
    """Messages of an operation whose status is below `sent`, in their order."""
    return [row[0] for row in await pool.fetch(UNENDED, id, sent, after, most)]


async def canceled(pool: ConnectionPool, id: Id) -> None:
    await pool.execute(CANCELED, id)
