"""What an account does to one of its messages: cancel, redact, delete, tell its outcome."""

from __future__ import annotations

from collections.abc import Sequence

from storage.database import Connection, ConnectionPool
from storage.erasure import erase_copies, erase_recipients
from storage.ids import Id
from storage.messages import ERASED, MessageRow
from storage.records import DatedRow, columns


class FeedbackRow(DatedRow):
    outcome: str


# The same condition as a claim's: whichever of the two commits first has the message.
CANCEL = """
UPDATE messages SET status = $3, waiting = NULL, done_at = now()
 WHERE id = $1 AND account_id = $2 AND waiting IS NOT NULL AND direction <> $4
RETURNING *
"""

# What another has locked, which claims it or gives it a sender just now, is left out: whoever waits
# for one row while it has others could wait for ever.
CANCEL_MANY = """
UPDATE messages SET status = $3, waiting = NULL, done_at = now()
 WHERE id = ANY (ARRAY(
           SELECT id FROM messages
            WHERE id = ANY($1::uuid[]) AND account_id = $2 AND waiting IS NOT NULL
              AND direction <> $4
            ORDER BY id FOR UPDATE SKIP LOCKED))
   AND waiting IS NOT NULL
RETURNING *
"""

WAITING = "SELECT id FROM messages WHERE id = ANY($1::uuid[]) AND waiting IS NOT NULL ORDER BY id"

# An app that has not heard of an inbound message yet does not any more: it would hear the text.
REDACT = f"""
UPDATE messages SET body = '', submitted_body = NULL, handling = NULL, flags = flags | {ERASED}
 WHERE id = $1 AND account_id = $2 AND status >= $3
RETURNING *
"""

DELETE = """
WITH gone AS (
    DELETE FROM messages WHERE id = $1 AND account_id = $2 AND status >= $3
    RETURNING id, reference
)
INSERT INTO deleted_messages (message_id, reference) SELECT id, reference FROM gone
ON CONFLICT DO NOTHING
"""

_SOME = """
ARRAY(SELECT id FROM messages
       WHERE account_id = $1 AND id >= $2 AND id <= $3 AND {which}
       ORDER BY id LIMIT $4)
"""

CALLBACKS_AGAIN = f"""
UPDATE messages SET callbacks_done = 0
 WHERE id = ANY ({
    _SOME.format(
        which="direction <> $5 AND callback_url IS NOT NULL"
        " AND ($6::text IS NULL OR starts_with(callback_url, $6))"
    )
})
RETURNING *
"""

# The bits above those of what is owed count, so that a clearing under way, of what was owed before,
# leaves this alone.
WEBHOOK_AGAIN = f"""
UPDATE messages SET handling = (((coalesce(handling, 0)::int + 32) & 32767) | $6)::smallint
 WHERE id = ANY ({_SOME.format(which="direction = $5")})
RETURNING *
"""

FEEDBACK = f"""
INSERT INTO message_feedback (message_id, account_id, outcome) VALUES ($1, $2, $3)
ON CONFLICT (message_id) DO UPDATE SET outcome = EXCLUDED.outcome, updated_at = now()
RETURNING {columns(FeedbackRow)}
"""

# The text may go when the carrier has it; the recipient when no callback will name it any more.
FORGET = f"""
UPDATE messages AS m
   SET body = CASE WHEN u.text THEN '' ELSE m.body END,
       submitted_body = CASE WHEN u.text THEN NULL ELSE m.submitted_body END,
       recipient = CASE WHEN u.address THEN left(m.recipient, -4) || 'XXXX' ELSE m.recipient END,
       flags = m.flags & ~(CASE WHEN u.text THEN $1 ELSE 0 END
                           | CASE WHEN u.address THEN $2 ELSE 0 END)
               | CASE WHEN u.text THEN {ERASED} ELSE 0 END
  FROM (SELECT id,
               flags & $1 <> 0 AND (sent_at IS NOT NULL OR done_at IS NOT NULL) AS text,
               flags & $2 <> 0 AND done_at IS NOT NULL
               AND (callback_url IS NULL
                    OR done_at < now() - $4 * interval '1 second'
                    OR callbacks_done >= (queued_at IS NOT NULL AND service_id IS NOT NULL)::int
                                         + (sent_at IS NOT NULL)::int + 1) AS address
          FROM messages WHERE flags & 24 <> 0 ORDER BY id) AS u
 WHERE m.id = u.id AND (u.text OR u.address)
   AND m.id IN (SELECT id FROM messages WHERE flags & 24 <> 0 ORDER BY id LIMIT $3)
RETURNING m.id, u.text, u.address
"""


async def cancel(
    pool: ConnectionPool, account_id: int, message_id: Id, *, canceled: int, inbound: int
) -> MessageRow | None:
    """Take back a message that still waits; None when it does not (any more)."""
    return await pool.fetchrow(CANCEL, message_id, account_id, canceled, inbound)


async def cancel_many(
    pool: ConnectionPool, account_id: int, ids: Sequence[Id], *, canceled: int, inbound: int
) -> list[MessageRow]:
    """Take back those that still wait, and that nobody has locked just now; by id."""
    rows = await pool.fetch(CANCEL_MANY, ids, account_id, canceled, inbound)
    return sorted(rows, key=_age)


async def waiting(pool: ConnectionPool, ids: Sequence[Id]) -> list[Id]:
    """The messages that wait, so far as is committed; by id."""
    return [row[0] for row in await pool.fetch(WAITING, ids)]


async def redact(
    pool: ConnectionPool, account_id: int, message_id: Id, *, first_final: int
) -> MessageRow | None:
    """Remove the text of a message with a final status, and its copies; None when there is no
    such message.
    """
    async with pool.acquire() as connection, connection.transaction():
        row: MessageRow | None = await connection.fetchrow(
            REDACT, message_id, account_id, first_final
        )
        if row is not None:
            await erase_copies(connection, [message_id])
    return row


async def delete(
    pool: ConnectionPool, account_id: int, message_id: Id, *, first_final: int
) -> bool:
    """Remove a message with a final status, its feedback and media; whether there was one.

    That it was there is kept for a while (`storage.deletions`).
    """
    async with pool.acquire() as connection, connection.transaction():
        status = await connection.execute(DELETE, message_id, account_id, first_final)
        if status == "INSERT 0 1":
            await connection.execute("DELETE FROM media WHERE message_id = $1", message_id)
            await erase_copies(connection, [message_id])
            await erase_recipients(connection, [message_id])
        await connection.execute(
            "DELETE FROM message_feedback WHERE message_id = $1 AND account_id = $2",
            message_id,
            account_id,
        )
    return status == "INSERT 0 1"


async def tell_outcome(
    pool: ConnectionPool, account_id: int, message_id: Id, outcome: str
) -> FeedbackRow:
    row: FeedbackRow | None = await pool.fetchrow(FEEDBACK, message_id, account_id, outcome)
    assert row is not None, "an upsert returns its row"
    return row


async def outcome(pool: ConnectionPool, message_id: Id) -> FeedbackRow | None:
    """What was told of a message; None until then."""
    query = f"SELECT {columns(FeedbackRow)} FROM message_feedback WHERE message_id = $1"
    return await pool.fetchrow(query, message_id)


async def forget(
    connection: Connection, *, text_flag: int, address_flag: int, after_s: float, most: int
) -> int:
    """Forget texts and recipients that are not needed any more; how many messages changed.

    A recipient is kept while callbacks are owed, at most `after_s` seconds.
    """
    rows = await connection.fetch(FORGET, text_flag, address_flag, most, after_s)
    if ids := [id for id, text, _ in rows if text]:
        await erase_copies(connection, ids)
    if ids := [id for id, _, address in rows if address]:
        await erase_recipients(connection, ids)
    return len(rows)


async def owe_callbacks_again(
    pool: ConnectionPool,
    account_id: int,
    low: Id,
    high: Id,
    *,
    inbound: int,
    url: str | None,
    most: int,
) -> list[MessageRow]:
    """Forget that the status callbacks of these messages were acknowledged; oldest first."""
    rows = await pool.fetch(CALLBACKS_AGAIN, account_id, low, high, most, inbound, url)
    return sorted(rows, key=_age)


async def owe_webhook_again(
    pool: ConnectionPool, account_id: int, low: Id, high: Id, *, inbound: int, owed: int, most: int
) -> list[MessageRow]:
    """Owe the webhook of these inbound messages once more; oldest first."""
    rows = await pool.fetch(WEBHOOK_AGAIN, account_id, low, high, most, inbound, owed)
    return sorted(rows, key=_age)


def _age(row: MessageRow) -> bytes:
    return row["id"].bytes
