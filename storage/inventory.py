"""Numbers on offer: what the operator has, without what accounts took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from storage.database import Connection, ConnectionPool
from storage.keyset import rising
from storage.lists import Lists
from storage.records import columns


class InventoryRow(TypedDict):
    address: str
    type: str
    country: str
    area_code: str | None
    locality: str
    region: str
    carrier_id: int
    sms: bool
    mms: bool
    voice: bool


COLUMNS = tuple(InventoryRow.__annotations__)

# 0 and 1: long codes and toll-free numbers (gateway.routing.sender_pool.SenderKind).
_FREE = "NOT EXISTS (SELECT FROM senders AS s WHERE s.address = i.address AND s.kind IN (0, 1))"

_SEARCH = rising(f"""
SELECT {columns(InventoryRow)} FROM inventory AS i
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
        f"INSERT INTO inventory ({columns(InventoryRow)}) VALUES ({places})"
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
) -> list[InventoryRow]:
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


async def find(source: ConnectionPool | Connection, address: str) -> InventoryRow | None:
    """The description of a number, taken or not."""
    query = f"SELECT {columns(InventoryRow)} FROM inventory WHERE address = $1"
    return await source.fetchrow(query, address)


async def countries(pool: ConnectionPool) -> dict[str, list[str]]:
    """Where numbers are on offer, with their types."""
    rows = await pool.fetch(
        "SELECT i.country, array_agg(DISTINCT i.type) FROM inventory AS i"
        f" WHERE {_FREE} GROUP BY i.country ORDER BY i.country"
    )
    return dict(rows)
