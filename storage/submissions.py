"""Submissions: which message and segment a carrier's id belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from storage.database import Connection
from storage.ids import Id

COLUMNS = ("carrier_id", "carrier_message_id", "message_id", "segment", "receipt", "at")

FIND = """
SELECT s.carrier_id, s.carrier_message_id, s.message_id, s.segment
  FROM submissions s
  JOIN unnest($1::int[], $2::text[]) AS wanted (carrier_id, carrier_message_id)
    ON s.carrier_id = wanted.carrier_id AND s.carrier_message_id = wanted.carrier_message_id
 WHERE s.at >= $3
 ORDER BY s.at DESC
"""

MARK = """
UPDATE submissions s SET receipt = u.receipt
  FROM unnest($1::uuid[], $2::smallint[], $3::smallint[]) AS u (message_id, segment, receipt)
 WHERE s.message_id = u.message_id AND s.segment = u.segment
"""

OF_MESSAGES = """
SELECT message_id, segment, receipt FROM submissions
 WHERE message_id = ANY($1::uuid[])
"""


async def insert(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` in the order of COLUMNS."""
    await connection.copy_records_to_table("submissions", records=rows, columns=COLUMNS)


async def find(
    connection: Connection, wanted: Sequence[tuple[int, str]], since: datetime
) -> list[tuple[int, str, Id, int]]:
    """Submissions with these (carrier, its message id) pairs, with message and segment, newest
    first.
    """
    return await connection.fetch(
        FIND, [carrier for carrier, _ in wanted], [name for _, name in wanted], since
    )


async def mark_receipts(connection: Connection, marks: Sequence[tuple[Id, int, int]]) -> None:
    """Note the receipt of a segment: (message, segment, message_state)."""
    ids, segments, receipts = zip(*marks, strict=True)
    await connection.execute(MARK, ids, segments, receipts)


async def of_messages(
    connection: Connection, ids: Sequence[Id]
) -> list[tuple[Id, int, int | None]]:
    """Message, segment and receipt of what was submitted of these messages."""
    return await connection.fetch(OF_MESSAGES, ids)
