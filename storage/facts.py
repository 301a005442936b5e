"""What operators know of carriers and countries: tables as CSV, registrations of sender IDs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

from storage.config import insert, update
from storage.database import Connection, ConnectionPool


class FactTableRow(TypedDict):
    content: str
    updated_at: datetime


async def contents(pool: ConnectionPool) -> dict[str, str]:
    """Every table that is not as packaged."""
    return dict(await pool.fetch("SELECT name, content FROM fact_tables"))


async def one(pool: ConnectionPool, name: str) -> FactTableRow | None:
    query = "SELECT content, updated_at FROM fact_tables WHERE name = $1"
    return await pool.fetchrow(query, name)


async def put(connection: Connection, name: str, content: str) -> None:
    """A new row each time: its revision differs."""
    await remove(connection, name)
    await connection.execute(
        "INSERT INTO fact_tables (name, content) VALUES ($1, $2)", name, content
    )


async def remove(connection: Connection, name: str) -> bool:
    status = await connection.execute("DELETE FROM fact_tables WHERE name = $1", name)
    return status == "DELETE 1"


async def insert_registration(connection: Connection, values: dict[str, Any]) -> None:
    """Raises UniqueViolation for an ID that is registered for that country already."""
    await insert(connection, "sender_registrations", values)


async def update_registration(connection: Connection, id: int, status: str) -> None:
    await update(connection, "sender_registrations", id, {"status": status})


async def delete_registration(connection: Connection, id: int) -> None:
    await connection.execute("DELETE FROM sender_registrations WHERE id = $1", id)


async def close_countries(
    connection: Connection, account_id: int, countries: Sequence[str]
) -> None:
    await update(connection, "accounts", account_id, {"closed_countries": list(countries)})
