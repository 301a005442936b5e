"""What protects an account: its safe list, and how much it has sent today."""

from __future__ import annotations

from typing import Any

from storage.config import insert
from storage.database import Connection, ConnectionPool
from storage.ids import Id


async def add_safe(connection: Connection, values: dict[str, Any]) -> None:
    """Raises UniqueViolation for what is on the list already."""
    await insert(connection, "safe_list", values)


async def remove_safe(connection: Connection, account_id: int, phone_number: str) -> None:
    await connection.execute(
        "DELETE FROM safe_list WHERE account_id = $1 AND phone_number = $2",
        account_id,
        phone_number,
    )


async def sent_since(pool: ConnectionPool, account_id: int, since: Id, *, inbound: int) -> int:
    """Outbound messages of an account with an id from `since` on."""
    return int(
        await pool.fetchval(
            "SELECT count(*) FROM messages WHERE account_id = $1 AND id >= $2 AND direction <> $3",
            account_id,
            since,
            inbound,
        )
    )
