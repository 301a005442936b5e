"""What apps told of their recipients."""

from __future__ import annotations

from collections.abc import Sequence

from storage.database import ConnectionPool

UPSERT = """
INSERT INTO contacts (account_id, contact, country, zip_code, correlation_id)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
    ON CONFLICT (account_id, contact)
    DO UPDATE SET country = excluded.country, zip_code = excluded.zip_code,
                  correlation_id = excluded.correlation_id, updated_at = now()
"""


async def upsert(
    pool: ConnectionPool, account_id: int, contacts: Sequence[tuple[str, str, str, str]]
) -> None:
    """Store (contact, country, zip code, correlation id), each contact once."""
    await pool.execute(UPSERT, account_id, *zip(*contacts, strict=True))
