"""After a restore from a backup: what may have been sent since is taken out of every stage's sight.

A held row is `waiting IS NULL` with a status before the claim, and without a callback URL. Nothing
that reads rows to act on them takes that up: what waits is read by `waiting IS NOT NULL`, what was
claimed by its status, what owes callbacks by its URL. `held_messages` knows what the row had.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypedDict

from storage.database import Connection, ConnectionPool
from storage.ids import Id, moment_of
from storage.messages import FlaggedRow
from storage.migrate import ADVISORY_LOCK

# Rung after a release or a close is committed; without a payload.
TAKEN_UP: Final = "tandem_taken_up"
LONG_S: Final = 3_600.0  # for one statement over everything that is unfinished

# Three parts, each by its own index, as in storage.messages.UNFINISHED: what waits, of whatever
# age, but for what is scheduled for later; what was claimed; that of what was scheduled earlier.
_DOUBTFUL = """
SELECT id, status, waiting, callback_url FROM messages
 WHERE waiting IS NOT NULL AND direction <> $1
   AND (status <> $3 OR coalesce(send_at, $4) <= $4)
UNION ALL
SELECT id, status, waiting, callback_url FROM messages
 WHERE waiting IS NULL AND direction <> $1 AND status = $2 AND id > $5
UNION ALL
SELECT id, status, waiting, callback_url FROM messages
 WHERE waiting IS NULL AND direction <> $1 AND status = $2 AND id <= $5 AND send_at > $6
"""

YOUNGER = f"""
SELECT id, count(*) OVER () AS messages FROM ({_DOUBTFUL}) AS doubtful
 WHERE id >= $7 ORDER BY id DESC LIMIT 1
"""

LEFT = """
SELECT count(*) FROM messages
 WHERE waiting IS NOT NULL AND direction <> $1 AND status = $2 AND send_at > $3
"""

LAST = """
SELECT r.as_of, r.held_at,
       (SELECT count(*) FROM held_messages WHERE ended_at IS NULL) AS messages
  FROM restores AS r ORDER BY r.as_of DESC LIMIT 1
"""

RESTORED = "INSERT INTO restores (as_of) VALUES ($1)"

# One that was held after an earlier restore, and released, is held anew. Casts, because nothing
# else says of which types the parameters of this restore are.
HOLD = f"""
WITH doubtful AS ({_DOUBTFUL}), kept AS (
    INSERT INTO held_messages (message_id, as_of, status, waiting, callback_url)
    SELECT id, $7::timestamptz, status, waiting, callback_url FROM doubtful
    ON CONFLICT (message_id) DO UPDATE
       SET as_of = EXCLUDED.as_of, held_at = EXCLUDED.held_at, status = EXCLUDED.status,
           waiting = EXCLUDED.waiting, callback_url = EXCLUDED.callback_url,
           ended_at = NULL, released = NULL
), inert AS (
    UPDATE messages AS m
       SET waiting = NULL, callback_url = NULL,
           status = CASE WHEN m.status = $2 THEN $8::smallint ELSE m.status END
      FROM doubtful AS d WHERE m.id = d.id
)
SELECT status, count(*) AS messages FROM doubtful GROUP BY status ORDER BY status
"""

HELD = """
SELECT m.id, m.flags, a.sid AS account, s.sid AS service, m.sender, m.recipient, h.status,
       m.expires_at, m.segments, h.as_of
  FROM held_messages AS h
  JOIN messages AS m ON m.id = h.message_id
  JOIN accounts AS a ON a.id = m.account_id
  LEFT JOIN services AS s ON s.id = m.service_id
 WHERE h.ended_at IS NULL AND ($1::text IS NULL OR a.sid = $1)
 ORDER BY m.id
"""

COUNT = "SELECT count(*) FROM held_messages WHERE ended_at IS NULL"

# Whoever else is deciding about the same messages is waited for, and has decided.
_CHOSEN = """
SELECT h.* FROM held_messages AS h
  JOIN messages AS m ON m.id = h.message_id
  JOIN accounts AS a ON a.id = m.account_id
 WHERE h.ended_at IS NULL AND ($1::uuid[] IS NULL OR h.message_id = ANY ($1))
   AND ($2::text IS NULL OR a.sid = $2)
   AND ($3::uuid IS NULL OR h.message_id >= $3) AND ($4::uuid IS NULL OR h.message_id < $4)
   FOR UPDATE OF h
"""

RELEASE = f"""
WITH chosen AS ({_CHOSEN}), back AS (
    UPDATE messages AS m
       SET status = CASE WHEN c.status = $5 THEN $6::smallint ELSE c.status END,
           waiting = coalesce(c.waiting, 0), flags = m.flags | $7::int,
           callback_url = c.callback_url
      FROM chosen AS c WHERE m.id = c.message_id
    RETURNING m.id
)
UPDATE held_messages AS h SET ended_at = now(), released = true
  FROM back WHERE h.message_id = back.id
RETURNING h.message_id AS id
"""

CLOSE = f"""
WITH chosen AS ({_CHOSEN}), ended AS (
    UPDATE messages AS m
       SET status = $5::smallint, error_code = $6::int, done_at = now(),
           callback_url = c.callback_url
      FROM chosen AS c WHERE m.id = c.message_id
    RETURNING m.id, m.flags, m.account_id, m.service_id
), marked AS (
    UPDATE held_messages AS h SET ended_at = now(), released = false
      FROM ended WHERE h.message_id = ended.id
)
SELECT e.id, e.flags, e.account_id, s.sid AS service
  FROM ended AS e LEFT JOIN services AS s ON s.id = e.service_id
"""


class RestoreRow(TypedDict):
    as_of: datetime
    held_at: datetime
    messages: int  # that are still held


class HeldRow(FlaggedRow):
    account: str
    service: str | None
    sender: str | None
    recipient: str
    status: int
    expires_at: datetime | None
    segments: int
    as_of: datetime


class ClosedRow(FlaggedRow):
    account_id: int
    service: str | None


class StoredNumbers(NamedTuple):
    """What the gateway's numbers are."""

    inbound: int
    sending: int
    scheduled: int
    queued: int


class Chosen(NamedTuple):
    """Which held messages are meant: all conditions together; none of them: all that is held."""

    ids: Sequence[Id] | None = None
    account: str | None = None  # its SID
    since: Id | None = None
    before: Id | None = None


async def begin(connection: Connection) -> None:
    """Let no gateway start until `end`: each migrates first, under this lock."""
    await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)


async def end(connection: Connection) -> None:
    """What `begin` began. A session that ends has ended it."""
    await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)


async def last(connection: Connection) -> RestoreRow | None:
    """The restore with the latest `as_of`."""
    return await connection.fetchrow(LAST)


async def younger(
    connection: Connection, codes: StoredNumbers, *, now: datetime, claimed_since: Id, than: Id
) -> tuple[int, datetime] | None:
    """How many doubtful messages have this id or a later one, and when the last was accepted."""
    rows = await connection.fetch(
        YOUNGER, *_doubtful(codes, now, claimed_since), than, timeout=LONG_S
    )
    return next(((messages, moment_of(id)) for id, messages in rows), None)


async def left(connection: Connection, codes: StoredNumbers, *, now: datetime) -> int:
    """Messages that are scheduled for later."""
    return int(await connection.fetchval(LEFT, codes.inbound, codes.scheduled, now))


async def hold(
    connection: Connection,
    codes: StoredNumbers,
    *,
    as_of: datetime,
    now: datetime,
    claimed_since: Id,
) -> dict[int, int]:
    """Hold everything doubtful; how many had which status. In the caller's transaction.

    What was claimed is looked for from `claimed_since` on.
    """
    await connection.execute(RESTORED, as_of)
    rows = await connection.fetch(
        HOLD, *_doubtful(codes, now, claimed_since), as_of, codes.queued, timeout=LONG_S
    )
    return dict(rows)


def _doubtful(codes: StoredNumbers, now: datetime, claimed_since: Id) -> tuple[Any, ...]:
    return (
        codes.inbound,
        codes.sending,
        codes.scheduled,
        now,
        claimed_since,
        moment_of(claimed_since),
    )


async def held(connection: Connection, account: str | None = None) -> list[HeldRow]:
    """What is held, in order of acceptance, with the status that each had."""
    return await connection.fetch(HELD, account, timeout=LONG_S)


async def count(pool: ConnectionPool) -> int:
    """Messages that are held."""
    return int(await pool.fetchval(COUNT))


async def release(
    connection: Connection, codes: StoredNumbers, chosen: Chosen, *, flag: int
) -> set[Id]:
    """Let these wait again, marked with `flag`; those that were held. In the caller's transaction.

    What was claimed waits, as the others did.
    """
    rows = await connection.fetch(
        RELEASE, *chosen, codes.sending, codes.queued, flag, timeout=LONG_S
    )
    return {row[0] for row in rows}


async def close(
    connection: Connection, chosen: Chosen, *, failed: int, code: int
) -> list[ClosedRow]:
    """End these; those that were held."""
    return await connection.fetch(CLOSE, *chosen, failed, code, timeout=LONG_S)


async def listen(connection: Connection, rang: Callable[[], object]) -> None:
    """Call `rang` whenever something was released or closed."""

    def heard(connection: Connection, process_id: int, channel: str, payload: object) -> None:
        rang()

    await connection.add_listener(TAKEN_UP, heard)


async def tell(connection: Connection) -> None:
    """Wake whoever listens. After the commit: a NOTIFY inside holds up every other commit."""
    await connection.execute(f"NOTIFY {TAKEN_UP}")
