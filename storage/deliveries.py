"""Deliveries: inbound parts, and what nobody could use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from storage.ids import Id
from storage.keyset import falling
from storage.pool import Connection, Pool, Row

KEPT_COLUMNS = (
    "carrier_id",
    "at",
    "reason",
    "carrier_message_id",
    "source",
    "destination",
    "esm_class",
    "data_coding",
    "payload",
    "tlvs",
)
PART_COLUMNS = (
    "carrier_id",
    "source",
    "destination",
    "reference",
    "total",
    "part",
    "digest",
    "connection",
    "esm_class",
    "data_coding",
    "payload",
    "tlvs",
    "at",
    "message_id",
)

UNMATCHED = "SELECT * FROM kept_deliveries WHERE reason = 'unmatched' AND at >= $1 ORDER BY id"

KEPT = falling("""
SELECT * FROM kept_deliveries
 WHERE carrier_id = $1 AND ($2::text IS NULL OR reason = $2) AND ($3::bigint IS NULL OR id @PAST $3)
 ORDER BY id @ORDER LIMIT $4
""")

SETTLE = """
UPDATE kept_deliveries SET reason = $3
 WHERE reason = 'unmatched' AND carrier_id = ANY($1::int[]) AND carrier_message_id = ANY($2::text[])
"""

RECENT_PARTS = """
SELECT p.* FROM inbound_parts p
  JOIN unnest($1::int[], $2::text[], $3::text[]) AS wanted (carrier_id, source, destination)
    ON p.carrier_id = wanted.carrier_id AND p.source = wanted.source
   AND p.destination = wanted.destination
 WHERE p.at >= $4
"""

OPEN_PARTS = "SELECT * FROM inbound_parts WHERE message_id IS NULL ORDER BY at"

CLOSE_PARTS = """
UPDATE inbound_parts p SET message_id = u.message_id
  FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::smallint[], $6::uuid[])
    AS u (carrier_id, source, destination, reference, total, message_id)
 WHERE p.carrier_id = u.carrier_id AND p.source = u.source AND p.destination = u.destination
   AND p.reference = u.reference AND p.total = u.total AND p.message_id IS NULL
"""

FORGET_PARTS = "DELETE FROM inbound_parts WHERE message_id IS NOT NULL AND at < $1"


async def keep(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` in the order of KEPT_COLUMNS."""
    await connection.copy_records_to_table("kept_deliveries", records=rows, columns=KEPT_COLUMNS)


async def unmatched(connection: Connection, since: datetime) -> list[Row]:
    """Receipts that were still waiting for their message when the process ended."""
    return await connection.fetch(UNMATCHED, since)


async def settle(connection: Connection, keys: Sequence[tuple[int, str]], reason: str) -> None:
    """Receipts that waited found their message, or are given up."""
    await connection.execute(
        SETTLE, [carrier for carrier, _ in keys], [name for _, name in keys], reason
    )


async def kept(
    pool: Pool,
    carrier_id: int,
    *,
    reason: str | None,
    before: int | None,
    most: int,
    back: bool = False,
) -> list[Row]:
    """At most `most` kept deliveries of a carrier, newest first, below the id `before`."""
    return await pool.fetch(KEPT.of(back), carrier_id, reason, before, most)


async def recent_parts(
    connection: Connection, wanted: Sequence[tuple[int, str, str]], since: datetime
) -> list[Row]:
    """Parts between these (carrier, source, destination), to recognise what was sent again."""
    carriers, sources, destinations = zip(*wanted, strict=True)
    return await connection.fetch(RECENT_PARTS, carriers, sources, destinations, since)


async def insert_parts(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` in the order of PART_COLUMNS."""
    await connection.copy_records_to_table("inbound_parts", records=rows, columns=PART_COLUMNS)


async def open_parts(connection: Connection) -> list[Row]:
    """Parts of messages that are not whole."""
    return await connection.fetch(OPEN_PARTS)


async def close_parts(
    connection: Connection, closed: Sequence[tuple[int, str, str, int, int, Id]]
) -> None:
    """(carrier, source, destination, reference, total, message): these are whole now."""
    await connection.execute(CLOSE_PARTS, *zip(*closed, strict=True))


async def forget_parts(connection: Connection, before: datetime) -> None:
    """Drop parts that no SMSC will send again."""
    await connection.execute(FORGET_PARTS, before)


async def forget_kept(connection: Connection, before: datetime) -> None:
    """Drop kept deliveries that nobody looked into for so long."""
    await connection.execute("DELETE FROM kept_deliveries WHERE at < $1", before)
