"""Advanced Opt-Out configurations: changed under a lock, read by the row."""

from __future__ import annotations

from typing import Any, TypedDict

from storage import config
from storage.database import Connection
from storage.records import columns


class OptOutConfigRow(TypedDict):
    service_id: int | None
    enabled: bool
    keywords: list[dict[str, Any]]
    messages: list[dict[str, Any]]


LOCKED = f"SELECT {columns(OptOutConfigRow)} FROM opt_out_configs WHERE id = $1 FOR UPDATE"


async def insert(connection: Connection, values: dict[str, Any]) -> None:
    """Raises UniqueViolation when the service has one."""
    await config.insert(connection, "opt_out_configs", values)


async def locked(connection: Connection, config_id: int) -> OptOutConfigRow | None:
    """The row as it is now, nobody else's to change until the transaction ends."""
    return await connection.fetchrow(LOCKED, config_id)


async def update(connection: Connection, config_id: int, values: dict[str, Any]) -> None:
    """Raises UniqueViolation when the service has another one."""
    await config.update(connection, "opt_out_configs", config_id, values)


async def delete(connection: Connection, config_id: int) -> None:
    await connection.execute("DELETE FROM opt_out_configs WHERE id = $1", config_id)
