"""Alerts: the debugger's entries, append only."""

from __future__ import annotations

from storage.pool import Pool, Row

INSERT = """
INSERT INTO alerts (account_id, code, level, text, resource) VALUES ($1, $2, $3, $4, $5)
"""


async def insert(
    pool: Pool, *, account_id: int | None, code: int, level: str, text: str, resource: str | None
) -> None:
    await pool.execute(INSERT, account_id, code, level, text, resource)


async def newest(pool: Pool, most: int) -> list[Row]:
    return await pool.fetch("SELECT * FROM alerts ORDER BY id DESC LIMIT $1", most)
