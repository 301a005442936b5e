"""Link shortening: the domains, and the links that messages were sent with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from storage.config import insert, update
from storage.database import Connection, ConnectionPool
from storage.ids import Id

COLUMNS = ("code", "account_id", "domain_name", "message_id", "url", "until")


async def insert_domain(connection: Connection, values: dict[str, Any]) -> None:
    """Raises UniqueViolation for a name that is taken."""
    await insert(connection, "link_domains", values)


async def update_domain(connection: Connection, domain_id: int, values: dict[str, Any]) -> None:
    await update(connection, "link_domains", domain_id, values)


async def delete_domain(connection: Connection, domain_id: int) -> None:
    """A domain's services shorten no more; its links work again if it comes back in time."""
    await connection.execute("DELETE FROM link_domains WHERE id = $1", domain_id)


async def tie(connection: Connection, service_id: int, domain_id: int | None) -> None:
    """Have the service's links shortened with this domain, or with none."""
    await connection.execute(
        "UPDATE services SET link_domain_id = $2 WHERE id = $1", service_id, domain_id
    )


async def keep(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Store links, in the order of COLUMNS, in the caller's transaction."""
    await connection.copy_records_to_table("short_links", records=rows, columns=COLUMNS)


async def find(
    pool: ConnectionPool, account_id: int, domain_name: str, code: str, now: datetime
) -> tuple[str, Id] | None:
    """The URL and the message of a link that has not ended yet."""
    return await pool.fetchrow(
        "SELECT url, message_id FROM short_links"
        " WHERE code = $1 AND domain_name = $2 AND account_id = $3 AND until > $4",
        code,
        domain_name,
        account_id,
        now,
    )


async def urls(pool: ConnectionPool, account_id: int, codes: Sequence[str]) -> dict[str, str]:
    """What these links of an account were made from, by code."""
    found = await pool.fetch(
        "SELECT code, url FROM short_links WHERE account_id = $1 AND code = ANY ($2::text[])",
        account_id,
        codes,
    )
    return dict(found)


async def purge(connection: Connection, now: datetime, most: int) -> int:
    """Forget links that have ended; how many."""
    status = await connection.execute(
        "DELETE FROM short_links WHERE code IN"
        " (SELECT code FROM short_links WHERE until <= $1 LIMIT $2)",
        now,
        most,
    )
    return int(status.removeprefix("DELETE "))
