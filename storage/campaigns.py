"""A2P campaigns: stored records, one for a service."""

from __future__ import annotations

from typing import Any

from storage.database import Connection, ConnectionPool
from storage.records import DatedRow, columns


class CampaignRow(DatedRow):
    sid: str
    fields: dict[str, Any]


INSERT = f"""
INSERT INTO campaigns (sid, account_id, service_id, fields) VALUES ($1, $2, $3, $4)
RETURNING {columns(CampaignRow)}
"""

OF_SERVICE = f"SELECT {columns(CampaignRow)} FROM campaigns WHERE service_id = $1"

UPDATE = """
UPDATE campaigns SET fields = $2, updated_at = now() WHERE service_id = $1
"""

DELETE = "DELETE FROM campaigns WHERE service_id = $1 AND sid = $2"


async def insert(
    pool: ConnectionPool, sid: str, account_id: int, service_id: int, fields: dict[str, Any]
) -> CampaignRow:
    """Raises UniqueViolation when the service has one."""
    row: CampaignRow | None = await pool.fetchrow(INSERT, sid, account_id, service_id, fields)
    assert row is not None
    return row


async def of_service(pool: ConnectionPool, service_id: int) -> CampaignRow | None:
    return await pool.fetchrow(OF_SERVICE, service_id)


async def update(connection: Connection, service_id: int, fields: dict[str, Any]) -> None:
    await connection.execute(UPDATE, service_id, fields)


async def delete(connection: Connection, service_id: int, sid: str) -> None:
    await connection.execute(DELETE, service_id, sid)
