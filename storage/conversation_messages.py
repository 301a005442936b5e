"""Messages of conversations, and what became of each at its recipients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from storage import config
from storage.database import Connection, ConnectionPool
from storage.erasure import erase_events
from storage.ids import Id
from storage.keyset import rising
from storage.lists import Lists
from storage.records import DatedRow, ResourceRow, columns


class ConversationMessageRow(ResourceRow):
    conversation_id: int
    index: int
    author: str
    participant: str | None
    body: str
    attributes: str


class ConversationReceiptRow(DatedRow):
    sid: str
    participant: str
    message_sid: str
    status: str
    error_code: int


class ChangedReceiptRow(TypedDict):
    id: int
    sid: str
    participant: str
    message_sid: str
    known: str | None
    status: int
    error_code: int
    was_sent: bool
    im: str
    conversation_id: int


# No index for one that is closed: a message without an index is refused by its column, and so is
# whatever the same transaction would have sent.
TAKE_INDEX = """
UPDATE conversations
   SET next_index = next_index + 1, updated_at = now(), date_inactive = now() + inactive_after,
       date_closed = now() + closed_after
 WHERE id = $1 AND state <> 'closed'
RETURNING next_index - 1
"""

PAGE = rising(f"""
SELECT {columns(ConversationMessageRow)} FROM conversation_messages
 WHERE conversation_id = $1 AND index @PAST $2 ORDER BY index @ORDER LIMIT $3
""")

TALLY = """
SELECT im_id, status, count(*) FROM conversation_receipts
 WHERE im_id = ANY ($1::bigint[]) GROUP BY im_id, status
"""

RECEIPTS = rising(f"""
SELECT {columns(ConversationReceiptRow)} FROM conversation_receipts
 WHERE im_id = $1 AND status IS NOT NULL
   AND ($2::text IS NULL OR id @PAST (SELECT id FROM conversation_receipts WHERE sid = $2))
 ORDER BY id @ORDER LIMIT $3
""")

# What was heard of messages since: those named, or (null) of all that more may be heard of.
CHANGED = """
SELECT r.id, r.sid, r.participant, r.message_sid, r.status AS known,
       m.status, coalesce(m.error_code, 0) AS error_code, m.sent_at IS NOT NULL AS was_sent,
       i.sid AS im, i.conversation_id
  FROM conversation_receipts AS r
  JOIN messages AS m ON m.id = r.message_id
  JOIN conversation_messages AS i ON i.id = r.im_id
 WHERE r.open AND r.id > $2 AND ($1::uuid[] IS NULL OR r.message_id = ANY ($1))
 ORDER BY r.id LIMIT $3
"""

# Only from the status that was read: of two processes, one tells it.
SET_RECEIPT = f"""
UPDATE conversation_receipts SET status = $3, error_code = $4, open = $5, updated_at = now()
 WHERE id = $1 AND open AND status IS NOT DISTINCT FROM $2
RETURNING {columns(DatedRow)}
"""

# Messages that were not accepted after all take what they were sent for with them, and that it is
# told of.
RELEASE = """
WITH untold AS (DELETE FROM conversation_events WHERE messages && $1::uuid[])
DELETE FROM conversation_messages WHERE id IN
 (SELECT im_id FROM conversation_receipts WHERE message_id = ANY ($1::uuid[]))
"""

# An inbound message that was erased meanwhile has nothing to say any more. An erasure that is under
# way is waited for, and one that comes later finds what is stored here.
STILL_OWED = "SELECT 1 FROM messages WHERE id = $1 AND handling IS NOT NULL FOR SHARE"

LOCK = f"""
SELECT {columns(ConversationMessageRow)} FROM conversation_messages WHERE id = $1 FOR UPDATE
"""

# The messages that it came as, and went out as: its text is theirs.
SOURCES = """
SELECT inbound_id FROM conversation_messages WHERE id = $1 AND inbound_id IS NOT NULL
UNION ALL
SELECT message_id FROM conversation_receipts WHERE im_id = $1
"""


async def insert(connection: Connection, values: dict[str, Any]) -> ConversationMessageRow:
    """Add a message at the end; `index` is taken here.

    Raises UniqueViolation for an inbound message that is there, and what BadRow names when the
    conversation is closed or gone, or the inbound message erased.
    """
    index = None
    inbound_id = values.get("inbound_id")
    if inbound_id is None or await connection.fetchval(STILL_OWED, inbound_id):
        index = await connection.fetchval(TAKE_INDEX, values["conversation_id"])
    await config.insert(connection, "conversation_messages", {**values, "index": index})
    row = await one(connection, values["conversation_id"], values["sid"])
    assert row is not None
    return row


async def insert_receipts(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    """Rows of (sid, im_id, participant, message_id, message_sid)."""
    await connection.executemany(
        "INSERT INTO conversation_receipts (sid, im_id, participant, message_id, message_sid)"
        " VALUES ($1, $2, $3, $4, $5)",
        rows,
    )


async def came(connection: Connection | ConnectionPool, inbound_id: Id) -> bool:
    """Whether an inbound message is in a conversation."""
    found = await connection.fetchval(
        "SELECT 1 FROM conversation_messages WHERE inbound_id = $1", inbound_id
    )
    return found is not None


async def one(
    connection: Connection | ConnectionPool, conversation_id: int, sid: str
) -> ConversationMessageRow | None:
    return await connection.fetchrow(
        f"SELECT {columns(ConversationMessageRow)} FROM conversation_messages"
        " WHERE conversation_id = $1 AND sid = $2",
        conversation_id,
        sid,
    )


async def page(
    pool: ConnectionPool | Lists, conversation_id: int, after: int | None, most: int, *, down: bool
) -> list[ConversationMessageRow]:
    """By index; `down`: the highest first."""
    if after is None:
        after = 2**31 - 1 if down else -1
    return await pool.fetch(PAGE.of(down), conversation_id, after, most)


async def update(connection: Connection, im_id: int, values: dict[str, Any]) -> None:
    if values:
        await config.update(connection, "conversation_messages", im_id, values)


async def locked(connection: Connection, im_id: int) -> ConversationMessageRow | None:
    """The row as it is now; it stays so until the transaction ends."""
    return await connection.fetchrow(LOCK, im_id)


async def sources(connection: Connection, im_id: int) -> list[Id]:
    """The ids, in `messages`, of those that have its text."""
    return [row[0] for row in await connection.fetch(SOURCES, im_id)]


async def delete(connection: Connection, row: ConversationMessageRow) -> None:
    """A message goes with its text: apps that are still to be told of it are told without."""
    await connection.execute("DELETE FROM conversation_messages WHERE id = $1", row["id"])
    await erase_events(connection, row["conversation_id"], row["sid"])


async def tally(pool: ConnectionPool, im_ids: Sequence[int]) -> dict[int, dict[str | None, int]]:
    """How many receipts of each message have which status."""
    found: dict[int, dict[str | None, int]] = {}
    for im_id, status, many in await pool.fetch(TALLY, im_ids):
        found.setdefault(im_id, {})[status] = many
    return found


async def receipts(
    pool: ConnectionPool | Lists, im_id: int, after: str | None, most: int, *, back: bool = False
) -> list[ConversationReceiptRow]:
    return await pool.fetch(RECEIPTS.of(back), im_id, after, most)


async def receipt(pool: ConnectionPool, im_id: int, sid: str) -> ConversationReceiptRow | None:
    return await pool.fetchrow(
        f"SELECT {columns(ConversationReceiptRow)} FROM conversation_receipts"
        " WHERE im_id = $1 AND sid = $2 AND status IS NOT NULL",
        im_id,
        sid,
    )


async def changed(
    connection: Connection, message_ids: Sequence[Id] | None, after: int, most: int
) -> list[ChangedReceiptRow]:
    return await connection.fetch(CHANGED, message_ids, after, most)


async def set_receipt(
    connection: Connection,
    receipt_id: int,
    known: str | None,
    status: str,
    error_code: int,
    *,
    open: bool,
) -> DatedRow | None:
    """The receipt's dates; None when somebody else was first."""
    return await connection.fetchrow(SET_RECEIPT, receipt_id, known, status, error_code, open)


async def release(connection: Connection, message_ids: Sequence[Id]) -> None:
    await connection.execute(RELEASE, message_ids)
