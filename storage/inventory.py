"""Numbers on offer: what the operator has, without what accounts took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from storage.database import Connection, ConnectionPool, Row
from storage.keyset import rising
from storage.lists import Lists

COLUMNS = (
    *("address", "type", "country", "area_code", "locality", "region"),
    *("carrier_id", "sms", "mms", "voice"),
)

# 0 and 1: long codes and toll-free numbers (gateway.routing.sender_pool.SenderKind).
_FREE = "NOT EXISTS (SELECT FROM senders AS s WHERE s.address = i.address AND s.kind IN (0, 1))"

_SEARCH = rising(f"""
SELECT i.* FROM inventory AS i
 WHERE {_FREE}
   AND ($1::text IS NULL OR i.country = $1)
   AND ($2::text IS NULL OR i.type = $2)
   AND ($3::text IS NULL OR i.area_code = $3)
   AND ($4::text IS NULL OR i.address LIKE $4)
   AND ($5::text IS NULL OR i.region = $5)
   AND ($6::text IS NULL OR lower(i.locality) = lower($6))
   AND ($7::boolean IS NULL OR i.sms = $7)
   AND ($8::boolean IS NULL OR i.mms = $8)
   AND ($9::boolean IS NULL OR i.voice = $9)
   AND ($10::text IS NULL OR i.address @PAST $10)
 ORDER BY i.address @ORDER
 LIMIT $11
""")


async def add(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Put numbers on offer, in the order of COLUMNS; a known one takes its new description."""
    places = ", ".join(f"${index}" for index in range(1, len(COLUMNS) + 1))
    changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in COLUMNS[1:])
    await connection.executemany(
        f"INSERT INTO inventory ({', '.join(COLUMNS)}) VALUES ({places})"
        f" ON CONFLICT (address) DO UPDATE SET {changes}",
        rows,
    )


async def remove(connection: Connection, address: str) -> bool:
    """No longer on offer; whoever has it keeps it. False: it was not."""
    status = await connection.execute("DELETE FROM inventory WHERE address = $1", address)
    return status == "DELETE 1"


async def search(
    source: ConnectionPool | Connection | Lists,
    *,
    country: str | None = None,
    type: str | None = None,
    area_code: str | None = None,
    pattern: str | None = None,
    region: str | None = None,
    locality: str | None = None,
    sms: bool | None = None,
    mms: bool | None = None,
    voice: bool | None = None,
    after: str | None = None,
    back: bool = False,
    most: int = 50,
) -> list[Row]:
    """Numbers on offer, by address; `pattern` is for LIKE."""
    return await source.fetch(
        _SEARCH.of(back),
        country,
        type,
        area_code,
        pattern,
        region,
        locality,
        sms,
        mms,
        voice,
        after,
        most,
    )


async def find(source: ConnectionPool | Connection, address: str) -> Row | None:
    """The description of a number, taken or not."""
    return await source.fetchrow("SELECT * FROM inventory WHERE address = $1", address)


async def countries(pool: ConnectionPool) -> list[Row]:
    """Where numbers are on offer, with their types."""
    return await pool.fetch(
        "SELECT i.country, array_agg(DISTINCT i.type) AS types FROM inventory AS i"
        f" WHERE {_FREE} GROUP BY i.country ORDER BY i.country"
    )
