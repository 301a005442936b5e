"""API keys and second tokens: changed rarely, read with the configuration."""

from __future__ import annotations

from typing import Any

from storage.config import insert, update
from storage.database import Connection


async def operators(connection: Connection) -> tuple[str, str] | None:
    """SID and token of the oldest parent account, for a command of the operator's; None: none."""
    row = await connection.fetchrow(
        "SELECT sid, auth_token FROM accounts WHERE owner_id IS NULL ORDER BY id LIMIT 1"
    )
    return tuple(row) if row is not None else None


async def insert_key(connection: Connection, values: dict[str, Any]) -> None:
    await insert(connection, "api_keys", values)


async def rename_key(connection: Connection, key_id: int, friendly_name: str) -> None:
    await update(connection, "api_keys", key_id, {"friendly_name": friendly_name})


async def delete_key(connection: Connection, key_id: int) -> None:
    await connection.execute("DELETE FROM api_keys WHERE id = $1", key_id)


async def set_secondary(connection: Connection, account_id: int, token: str | None) -> bool:
    """Give the account a second token, or take it away. False: it has one (has none) already."""
    status = await connection.execute(
        "UPDATE accounts SET secondary_token = $2, updated_at = now()"
        " WHERE id = $1 AND (secondary_token IS NULL) = ($2::text IS NOT NULL)",
        account_id,
        token,
    )
    return status == "UPDATE 1"


async def promote_secondary(connection: Connection, account_id: int) -> bool:
    """The second token becomes the only one. False: there is none."""
    status = await connection.execute(
        "UPDATE accounts SET auth_token = secondary_token, secondary_token = NULL,"
        " updated_at = now() WHERE id = $1 AND secondary_token IS NOT NULL",
        account_id,
    )
    return status == "UPDATE 1"
