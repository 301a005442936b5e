"""Deliveries: inbound parts, and what nobody could use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from storage.alerts import EXCLUDE
from storage.database import Connection, ConnectionPool
from storage.ids import Id
from storage.keyset import falling
from storage.lists import Lists
from storage.messages import ERASED
from storage.records import columns


class StoredDeliveryRow(TypedDict):
    source: str
    destination: str
    esm_class: int
    data_coding: int
    payload: bytes
    tlvs: bytes


class KeptDeliveryRow(StoredDeliveryRow):
    id: int
    at: datetime
    reason: str
    carrier_message_id: str | None


class TypedDeliveryRow(StoredDeliveryRow):
    """A delivery as it can be looked at again, with the types of its addresses."""

    carrier_id: int
    source_ton: int
    source_npi: int
    destination_ton: int
    destination_npi: int


class OpenPartRow(TypedDeliveryRow):
    id: Id


class EarlierPartRow(TypedDict):
    place: int
    id: Id
    connection: str
    message_id: Id | None
    number: int


ERASED_OF = f"""
SELECT id, flags & {ERASED} <> 0 AS text, right(recipient, 4) = 'XXXX' AS recipient
  FROM messages WHERE id = ANY($1::uuid[])
"""

KEPT_COLUMNS = (
    *("carrier_id", "at", "reason", "carrier_message_id", "source", "destination"),
    *("esm_class", "data_coding", "payload", "tlvs", "message_id"),
)
PART_COLUMNS = (
    *("id", "carrier_id", "source", "destination", "reference", "total", "part", "digest"),
    *("connection", "esm_class", "data_coding", "payload", "tlvs", "at", "message_id", "number"),
    *("source_ton", "source_npi", "destination_ton", "destination_npi"),
)
# What is kept has no types of number.
UNMATCHED = f"""
SELECT carrier_id, {columns(StoredDeliveryRow)}, 0 AS source_ton, 0 AS source_npi,
       0 AS destination_ton, 0 AS destination_npi
  FROM kept_deliveries WHERE reason = 'unmatched' AND at >= $1 ORDER BY id
"""

KEPT = falling(f"""
SELECT {columns(KeptDeliveryRow)} FROM kept_deliveries
 WHERE carrier_id = $1 AND ($2::text IS NULL OR reason = $2) AND ($3::bigint IS NULL OR id @PAST $3)
 ORDER BY id @ORDER LIMIT $4
""")

SETTLE = """
UPDATE kept_deliveries k SET reason = $6, message_id = u.message_id
  FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::uuid[])
    AS u (carrier_id, carrier_message_id, source, destination, message_id)
 WHERE k.reason = 'unmatched' AND k.carrier_id = u.carrier_id
   AND k.carrier_message_id = u.carrier_message_id
   AND k.source = u.source AND k.destination = u.destination
"""

# By the octets, which stand in either place; `long` is the parameter that they are in.
LINK = """
UPDATE kept_deliveries k SET message_id = u.message_id
  FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::bytea[], $6::bytea[], $7::uuid[])
    AS u (carrier_id, source, destination, data_coding, payload, long, message_id)
 WHERE k.reason IN ('set aside', 'unknown number', 'another carrier''s number')
   AND k.source = u.source AND k.destination = u.destination AND k.carrier_id = u.carrier_id
   AND k.data_coding = u.data_coding AND k.message_id IS NULL
   AND (k.payload = u.payload OR k.payload = '' AND position(u.long IN k.tlvs) > 0)
"""

# As many of each as there are deliveries that may repeat them, oldest first.
GONE_PARTS = """
SELECT wanted.place, p.id, p.connection, p.message_id, p.number
  FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::int[], $6::int[], $7::int[],
              $8::int[])
       WITH ORDINALITY
    AS wanted (carrier_id, source, destination, digest, reference, total, part, most, place)
 CROSS JOIN LATERAL (
       SELECT q.id, q.connection, q.message_id, q.number, q.at FROM inbound_parts q
        WHERE q.source = wanted.source AND q.destination = wanted.destination
          AND q.digest = wanted.digest AND q.carrier_id = wanted.carrier_id
          AND q.reference = wanted.reference AND q.total = wanted.total AND q.part = wanted.part
          AND q.at >= $10 AND NOT q.settled AND q.connection <> ALL ($9::text[])
        ORDER BY q.at, q.connection, q.number
        LIMIT wanted.most) p
 ORDER BY wanted.place, p.at, p.connection, p.number
"""

SAME_PARTS = """
SELECT wanted.place, p.id, p.connection, p.message_id, p.number
  FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::int[])
       WITH ORDINALITY
    AS wanted (carrier_id, source, destination, digest, connection, number, place)
  JOIN inbound_parts p
    ON p.source = wanted.source AND p.destination = wanted.destination
   AND p.digest = wanted.digest AND p.number = wanted.number
   AND p.connection = wanted.connection AND p.carrier_id = wanted.carrier_id
 WHERE p.at >= $7 AND NOT p.settled
"""

OPEN_PARTS = f"""
SELECT {columns(OpenPartRow)} FROM inbound_parts WHERE message_id IS NULL ORDER BY at
"""

CLOSE_PARTS = """
UPDATE inbound_parts p SET message_id = u.message_id
  FROM unnest($1::uuid[], $2::uuid[]) AS u (id, message_id)
 WHERE p.id = u.id
"""

MOVE_PARTS = """
UPDATE inbound_parts p SET connection = u.connection, number = u.number
  FROM unnest($1::uuid[], $2::text[], $3::int[]) AS u (id, connection, number)
 WHERE p.id = u.id
"""

# A delivery that was handed on is stored under `owner:holder.connection`.
SETTLE_PARTS = """
WITH arrived AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::bytea[])
        AS u (source, destination, own, handed, number, digest)
), whole AS (
    DELETE FROM inbound_parts p USING arrived u
     WHERE p.source = u.source AND p.destination = u.destination
       AND p.digest = u.digest AND p.number = u.number
       AND (p.connection = u.own OR split_part(p.connection, ':', 2) = u.handed)
       AND p.message_id IS NOT NULL
)
UPDATE inbound_parts p SET settled = true FROM arrived u
 WHERE p.source = u.source AND p.destination = u.destination
   AND p.digest = u.digest AND p.number = u.number
   AND (p.connection = u.own OR split_part(p.connection, ':', 2) = u.handed)
   AND p.message_id IS NULL
"""

FORGET_PARTS = """
DELETE FROM inbound_parts WHERE message_id IS NOT NULL AND (settled OR at < $1)
"""


async def keep(
    connection: Connection,
    rows: Iterable[Sequence[Any]],
    about: Iterable[Collection[Id]] | None = None,
) -> list[int]:
    """Write `rows` in the order of KEPT_COLUMNS.

    A carrier may say again what was erased. `about`: for each row the messages whose text it may
    quote. Where one is gone, or its text is, the text is left out; the ends of the addresses, where
    one is gone or its recipient is forgotten. Returns the places of those rows.
    """
    rows = list(rows)
    quoted = list(about) if about is not None else [()] * len(rows)
    ids = {id for some in quoted for id in some}
    if not ids:
        await _write_kept(connection, rows)
        return []
    async with connection.transaction():
        await connection.execute(EXCLUDE)  # of erasures: one under way is waited for
        states = {row["id"]: row for row in await connection.fetch(ERASED_OF, list(ids))}
        forgotten = {id for id in ids if id not in states or states[id]["recipient"]}
        erased = forgotten | {id for id, state in states.items() if state["text"]}
        left_out = [place for place, some in enumerate(quoted) if not erased.isdisjoint(some)]
        for place in left_out:
            rows[place] = _left_out(rows[place], not forgotten.isdisjoint(quoted[place]))
        await _write_kept(connection, rows)
    return left_out


async def _write_kept(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    await connection.copy_records_to_table("kept_deliveries", records=rows, columns=KEPT_COLUMNS)


def _left_out(row: Sequence[Any], addresses: bool) -> tuple[Any, ...]:
    """A row without the text, and without the ends of its addresses."""
    fields = dict(zip(KEPT_COLUMNS, row, strict=True)) | {"payload": b"", "tlvs": b""}
    if addresses:
        fields |= {name: fields[name][:-4] + "XXXX" for name in ("source", "destination")}
    return tuple(fields.values())


async def unmatched(connection: Connection, since: datetime) -> list[TypedDeliveryRow]:
    """Receipts that were still waiting for their message when the process ended."""
    return await connection.fetch(UNMATCHED, since)


async def link(
    connection: Connection, stored: Sequence[tuple[int, str, str, int, bytes, bytes, Id]]
) -> None:
    """What was kept of (carrier, source, destination, data_coding, payload, the same as a
    message_payload) is of a message now: it goes with its text.
    """
    await connection.execute(LINK, *zip(*stored, strict=True))


async def settle(
    connection: Connection, waited: Sequence[tuple[int, str, str, str, Id | None]], reason: str
) -> None:
    """Receipts (carrier, id, source, destination) found their message, or are given up (None)."""
    await connection.execute(SETTLE, *zip(*waited, strict=True), reason)


async def kept(
    pool: ConnectionPool | Lists,
    carrier_id: int,
    *,
    reason: str | None,
    before: int | None,
    most: int,
    back: bool = False,
) -> list[KeptDeliveryRow]:
    """At most `most` kept deliveries of a carrier, newest first, below the id `before`."""
    return await pool.fetch(KEPT.of(back), carrier_id, reason, before, most)


async def gone_parts(
    connection: Connection,
    wanted: Sequence[tuple[int, str, str, bytes, int, int, int, int]],
    live: Sequence[str],
    since: datetime,
) -> list[EarlierPartRow]:
    """Unsettled parts that came since by connections other than `live`.

    Each of `wanted` is (carrier, source, destination, digest, reference, total, part, how many at
    most); `place` of a row counts from 1 in it.
    """
    return await connection.fetch(GONE_PARTS, *zip(*wanted, strict=True), live, since)


async def same_parts(
    connection: Connection, wanted: Sequence[tuple[int, str, str, bytes, str, int]], since: datetime
) -> list[EarlierPartRow]:
    """The very parts of these (carrier, source, destination, digest, connection, number)."""
    return await connection.fetch(SAME_PARTS, *zip(*wanted, strict=True), since)


async def insert_parts(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` in the order of PART_COLUMNS."""
    await connection.copy_records_to_table("inbound_parts", records=rows, columns=PART_COLUMNS)


async def open_parts(connection: Connection) -> list[OpenPartRow]:
    """Parts of messages that are not whole."""
    return await connection.fetch(OPEN_PARTS)


async def close_parts(connection: Connection, closed: Mapping[Id, Id]) -> None:
    """Parts are whole now: the message of each."""
    await connection.execute(CLOSE_PARTS, list(closed), list(closed.values()))


async def move_parts(connection: Connection, moved: Mapping[Id, tuple[str, int]]) -> None:
    """Parts came again, and are answered there: (connection, number)."""
    connections, numbers = zip(*moved.values(), strict=True)
    await connection.execute(MOVE_PARTS, list(moved), connections, numbers)


async def settle_parts(
    connection: Connection, arrived: Sequence[tuple[str, str, str, str, int, bytes]]
) -> None:
    """Our answers to these have arrived: (source, destination, connection, the same as another
    worker names it, number, digest).
    """
    await connection.execute(SETTLE_PARTS, *zip(*arrived, strict=True))


async def forget_parts(connection: Connection, before: datetime) -> None:
    """Drop parts that no SMSC will send again."""
    await connection.execute(FORGET_PARTS, before)


async def forget_kept(connection: Connection, before: datetime) -> None:
    """Drop kept deliveries that nobody looked into for so long."""
    await connection.execute("DELETE FROM kept_deliveries WHERE at < $1", before)
