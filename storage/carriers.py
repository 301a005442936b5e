"""Carriers: their settings, and their passwords as the gateway encrypted them."""

from __future__ import annotations

from typing import Any, TypedDict

from storage.database import Connection
from storage.records import columns


class CarrierRow(TypedDict):
    name: str
    settings: dict[str, Any]
    password: bytes | None
    from_file: dict[str, Any] | None


ALL = f"SELECT {columns(CarrierRow)} FROM carriers ORDER BY id"

ADOPT = """
INSERT INTO carriers (name, settings, password, from_file) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE
   SET settings = $2, password = $3, from_file = $4, updated_at = now()
"""

INSERT = "INSERT INTO carriers (name, settings, password) VALUES ($1, $2, $3) RETURNING sid"

UPDATE = """
UPDATE carriers SET settings = $2, password = $3, updated_at = now() WHERE id = $1
"""

DELETE = "DELETE FROM carriers WHERE id = $1"


async def all_(connection: Connection) -> list[CarrierRow]:
    return await connection.fetch(ALL)


async def adopt(
    connection: Connection,
    name: str,
    settings: dict[str, Any],
    password: bytes | None,
    from_file: dict[str, Any],
) -> None:
    """Make the carrier, or make it what the configuration file says of it."""
    await connection.execute(ADOPT, name, settings, password, from_file)


async def insert(
    connection: Connection, name: str, settings: dict[str, Any], password: bytes | None
) -> str:
    """Raises UniqueViolation when there is one of that name. Returns its SID."""
    return str(await connection.fetchval(INSERT, name, settings, password))


async def update(
    connection: Connection, carrier_id: int, settings: dict[str, Any], password: bytes | None
) -> None:
    await connection.execute(UPDATE, carrier_id, settings, password)


async def delete(connection: Connection, carrier_id: int) -> None:
    """Raises BadRow while senders belong to it."""
    await connection.execute(DELETE, carrier_id)
