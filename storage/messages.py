"""Messages: written in batches, read by SID and by list.

The accept batch is one COPY, which is one transaction of its own: when `insert` returns,
every row is committed. Rows are tuples in the order of COLUMNS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypedDict
from uuid import UUID

from storage import partitions
from storage.database import Connection, ConnectionPool
from storage.ids import Id, moment_of
from storage.lists import Lists
from storage.records import columns
from storage.times import LATEST

WAITS = 0  # in the column `waiting` of what is not claimed yet; NULL in all others'


class NewMessageRow(TypedDict):
    id: Id
    account_id: int
    service_id: int | None
    sender_id: int | None
    carrier_id: int | None
    direction: int
    status: int
    encoding: int | None
    segments: int
    flags: int
    priority: int
    reference: int | None
    error_code: int | None
    callbacks_done: int
    waiting: int | None
    queued_at: datetime | None
    sent_at: datetime | None
    done_at: datetime | None
    expires_at: datetime | None
    recipient: str
    sender: str | None
    body: str
    submitted_body: str | None
    callback_url: str | None
    done_date: str | None
    tlvs: bytes | None
    handling: int | None
    send_at: datetime | None
    extras: dict[str, Any] | None
    rule: int | None
    operation_id: Id | None
    price: Decimal | None


class MessageRow(NewMessageRow):
    carrier_tlvs: bytes | None


class _SliceRow(MessageRow):
    fits: bool
    place: int


class OutboundRow(TypedDict):
    """What a reconciliation needs of a message."""

    id: Id
    status: int
    error_code: int | None
    flags: int
    reference: int | None
    sender: str | None
    recipient: str


class WaitingRow(TypedDict):
    """Where a message waits."""

    id: Id
    service_id: int | None
    sender_id: int | None


class FlaggedRow(TypedDict):
    """What a message's SID is made of."""

    id: Id
    flags: int


COLUMNS = tuple(NewMessageRow.__annotations__)

# Bits of `flags` that a write from memory, which may be late, leaves as the row has them: marks
# that stay once they are set (a possible duplicate, an erased text), and what is to be done once,
# and was done in the row (texts and numbers forgotten, media fetched). The others are as memory
# says.
ERASED: Final = 512
STAYING: Final = 1 | ERASED
ENDING: Final = 8 | 16 | 64
FLAGS: Final = f"((u.flags | (m.flags & {STAYING})) & (m.flags | (~{ENDING})))"
ENDED: Final = 5  # the lowest status of what has ended: none of them follows another

# The batch's own lowest and highest id let the executor prune partitions before it starts.
UPDATE = f"""
UPDATE messages AS m
   SET status = u.status, error_code = u.error_code, callbacks_done = u.callbacks_done,
       waiting = u.waiting, flags = {FLAGS}, sent_at = u.sent_at, done_at = u.done_at,
       done_date = u.done_date, carrier_tlvs = u.carrier_tlvs
  FROM unnest($1::uuid[], $2::smallint[], $3::int[], $4::smallint[], $5::smallint[], $6::int[],
              $7::timestamptz[], $8::timestamptz[], $9::text[], $10::bytea[])
    AS u (id, status, error_code, callbacks_done, waiting, flags, sent_at, done_at, done_date,
          carrier_tlvs)
 WHERE m.id = u.id AND m.id >= $11 AND m.id <= $12 AND u.status >= m.status
   AND (m.status < {ENDED} OR m.status = u.status)
"""

_SUBMITTED = """submitted AS (
    INSERT INTO submissions (carrier_id, carrier_message_id, message_id, segment, receipt, at)
    SELECT * FROM unnest($13::int[], $14::text[], $15::uuid[], $16::smallint[], $17::smallint[],
                         $18::timestamptz[])
)"""

# Both in one statement, which is a transaction of its own: three round trips fewer than apart.
UPDATE_AND_SUBMIT = f"WITH {_SUBMITTED} {UPDATE}"

# What most rows see after their insert, and nothing else: one segment was taken by the carrier.
# Arrays are dear, and this takes four of them.
_SENT_NAMES = """
INSERT INTO submissions (carrier_id, carrier_message_id, message_id, segment, at)
SELECT carrier_id, name, id, 1, to_timestamp(at) FROM sent
"""
_SENT_ROWS = """
UPDATE messages AS m SET status = {status}, sent_at = to_timestamp(sent.at) FROM sent
 WHERE m.id = sent.id AND m.id >= {low} AND m.id <= {high} AND m.status <= {status}
"""
_SENT = """
sent AS (
    SELECT * FROM unnest({ids}::uuid[], {at}::float8[], {carriers}::int[], {names}::text[])
        AS u (id, at, carrier_id, name)
)"""


def _sent(first: int) -> tuple[str, str]:
    """The list of what was sent, and the update of its rows; from parameter `first` on."""
    names = ("ids", "at", "carriers", "names", "low", "high", "status")
    places = {name: f"${first + number}" for number, name in enumerate(names)}
    return _SENT.format(**places), _SENT_ROWS.format(**places)


SENT = "WITH {0}, named AS ({2}) {1}".format(*_sent(1), _SENT_NAMES)
SENT_AND_UPDATE = "WITH {0}, named AS ({2}), moved AS ({1}), {3} {4}".format(
    *_sent(19), _SENT_NAMES, _SUBMITTED, UPDATE
)

# Only what still waits can be claimed: the claim is what makes a message go once.
CLAIM = """
UPDATE messages SET status = $2, waiting = NULL
 WHERE id = ANY($1::uuid[]) AND waiting IS NOT NULL AND id >= $3 AND id <= $4
RETURNING id
"""

CLAIMED = "SELECT id FROM messages WHERE id = ANY($1::uuid[]) AND status = $2"

UNCLAIM = """
UPDATE messages SET status = $3, waiting = 0 WHERE id = ANY($1::uuid[]) AND status = $2
"""

FETCH = "SELECT * FROM messages WHERE id = $1 AND account_id = $2"

_OWES = """
(callback_url IS NOT NULL
 AND callbacks_done < (queued_at IS NOT NULL AND service_id IS NOT NULL)::int
                      + (sent_at IS NOT NULL)::int + (done_at IS NOT NULL)::int)
"""

# What was accepted long ago, and was held after a restore from a backup until recently.
_HELD_UNTIL = """
id IN (SELECT message_id FROM held_messages WHERE ended_at > {since})
AND coalesce(send_at <= {since}, true)
"""

# Four parts, each by its own index: what waits, of whatever age; what is recent and was claimed
# without a recorded answer, or owes a status callback; and that of what was scheduled earlier and
# let in recently, or held until recently. What is still scheduled is the scheduler's.
UNFINISHED = f"""
SELECT * FROM (
    SELECT * FROM messages WHERE waiting IS NOT NULL AND status <> $6 AND id > $1
    UNION ALL
    SELECT * FROM messages
     WHERE waiting IS NULL AND id > greatest($1::uuid, $2::uuid) AND direction <> $3
       AND (status = $4 OR {_OWES})
    UNION ALL
    SELECT * FROM messages
     WHERE waiting IS NULL AND id > $1 AND id <= $2 AND send_at > $7
       AND (status = $4 OR {_OWES})
    UNION ALL
    SELECT * FROM messages
     WHERE waiting IS NULL AND id > $1 AND id <= $2 AND {_HELD_UNTIL.format(since="$7")}
       AND (status = $4 OR {_OWES})
) AS unfinished
 ORDER BY id
 LIMIT $5
"""

OWED = f"""
SELECT * FROM (
    SELECT * FROM messages WHERE id > $1 AND id > $2 AND direction <> $3 AND {_OWES}
    UNION ALL
    SELECT * FROM messages WHERE id > $1 AND id <= $2 AND send_at > $5 AND {_OWES}
    UNION ALL
    SELECT * FROM messages
     WHERE id > $1 AND id <= $2 AND {_HELD_UNTIL.format(since="$5")} AND {_OWES}
) AS owing
 ORDER BY id
 LIMIT $4
"""

# Only what still waits gets a sender: a message canceled in the meantime stays canceled.
ASSIGN = f"""
UPDATE messages AS m
   SET sender_id = u.sender_id, carrier_id = u.carrier_id, sender = u.sender,
       reference = u.reference, segments = u.segments, encoding = u.encoding,
       status = u.status, error_code = u.error_code, waiting = u.waiting,
       queued_at = u.queued_at, done_at = u.done_at, rule = u.rule, flags = {FLAGS},
       price = u.price,
       body = coalesce(u.body, m.body),
       submitted_body = coalesce(u.submitted_body, m.submitted_body)
  FROM unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::int[], $6::smallint[],
              $7::smallint[], $8::smallint[], $9::int[], $10::smallint[], $11::timestamptz[],
              $12::timestamptz[], $13::smallint[], $14::int[], $15::text[], $16::text[],
              $17::numeric[])
    AS u (id, sender_id, carrier_id, sender, reference, segments, encoding, status, error_code,
          waiting, queued_at, done_at, rule, flags, body, submitted_body, price)
 WHERE m.id = u.id AND m.id >= $18 AND m.id <= $19 AND m.waiting IS NOT NULL
RETURNING m.id
"""

# In the order of a sender's queue, by the index that is made for it.
WAITING = """
SELECT * FROM messages WHERE waiting = 0 AND sender_id = $1 AND status = $2
 ORDER BY priority, id LIMIT $3
"""

WAITING_SIZES = """
SELECT sender_id, count(*), sum(segments) FROM messages
 WHERE waiting = 0 AND sender_id = ANY($1::bigint[]) AND status = $2 GROUP BY sender_id
"""

NEWEST = "SELECT id FROM messages WHERE id < $1 ORDER BY id DESC LIMIT 1"

# Of whatever age but the last: what waits in nobody's memory is among them.
OLD_WAITING = f"""
SELECT {columns(WaitingRow)} FROM messages
 WHERE waiting IS NOT NULL AND status <> $1 AND id < $2
   AND (sender_id IS NULL OR sender_id <> ALL($3::bigint[]))
"""

COUNT_OLD_WAITING = """
SELECT count(*) FROM messages WHERE waiting IS NOT NULL AND status <> $1 AND id < $2
"""

OVERDUE = """
SELECT * FROM messages WHERE waiting IS NOT NULL AND expires_at <= $1 AND status = $2
 ORDER BY expires_at LIMIT $3
"""

DELETE = "DELETE FROM messages WHERE id = ANY($1::uuid[]) AND account_id = coalesce($2, account_id)"

BY_IDS = "SELECT * FROM messages WHERE id = ANY($1::uuid[])"

LAST: Final = (1 << 128) - 1  # the highest id
# A message's id may be ahead of the clock that says when it was sent: the clock was set back.
CLOCKS_APART: Final = timedelta(days=2)

# How far the first statements of a list look, in days: a plan over all that there are costs more
# than most pages.
REACH: Final = (8, 128)
A_DAY: Final = 86_400_000 << 80

ALL_OF: Final = """
SELECT * FROM messages
 WHERE account_id = $1 AND id >= $2 AND id <= $3 AND {fits}
 ORDER BY id {order} LIMIT {most:d}
"""

# The last row that is looked at comes along, whatever it is: from there the next slice goes on.
SLICE_OF: Final = """
SELECT * FROM (
    SELECT *, {fits} AS fits, row_number() OVER (ORDER BY id {order}) AS place FROM messages
     WHERE account_id = $1 AND id >= $2 AND id <= $3
     ORDER BY id {order} LIMIT {size:d}
) AS looked_at
 WHERE fits OR place = {size:d}
 ORDER BY id {order} LIMIT {most:d}
"""


OUTBOUND = f"""
SELECT {columns(OutboundRow)} FROM messages
 WHERE direction <> $1 AND id >= $2 ORDER BY id
"""


async def tune_for_batches(connection: Connection) -> None:
    """Keep one generic plan by primary key: statistics of a growing day mislead the planner."""
    await connection.execute(
        "SET plan_cache_mode = force_generic_plan; SET enable_hashjoin = off;"
        " SET enable_mergejoin = off; SET enable_seqscan = off; SET jit = off"
    )


async def insert(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` (in the order of COLUMNS) in one COPY; committed on return."""
    await connection.copy_records_to_table("messages", records=rows, columns=COLUMNS)


async def claim(connection: Connection, ids: Sequence[Id], claimed_status: int) -> set[Id]:
    """Take waiting messages for submission; return those that were really ours to take."""
    rows = await connection.fetch(CLAIM, ids, claimed_status, min(ids), max(ids))
    return {row[0] for row in rows}


async def newest(connection: Connection, before: Id) -> Id | None:
    """The highest id of those below `before`; None without any."""
    found: Id | None = await connection.fetchval(NEWEST, before)
    return found


async def claimed(connection: Connection, ids: Sequence[Id], claimed_status: int) -> set[Id]:
    """Which of these are claimed: to be asked after a claim whose commit was not confirmed."""
    rows = await connection.fetch(CLAIMED, ids, claimed_status)
    return {row[0] for row in rows}


async def unclaim(
    connection: Connection, ids: Sequence[Id], claimed_status: int, status: int
) -> None:
    """Let these wait again, if a commit that was not confirmed claimed them: none was written."""
    await connection.execute(UNCLAIM, ids, claimed_status, status)


async def update(connection: Connection, columns: Sequence[Sequence[Any]]) -> None:
    """Write the present state of many messages. `columns` are arrays in the order of UPDATE.

    No row goes back: what was taken to be written may be overtaken by a claim on another
    connection, which it must not undo; and another process may have had the receipt. Nor does it
    lose a mark, and what has ended keeps its end.
    """
    ids = columns[0]
    await connection.execute(UPDATE, *columns, min(ids), max(ids))


async def sent(connection: Connection, columns: Sequence[Sequence[Any]], status: int) -> None:
    """Write that messages of one segment were taken by their carriers, and nothing else of them.

    `columns` are arrays: ids, when (seconds since 1970), carriers, the carriers' ids. No row goes
    back.
    """
    ids = columns[0]
    await connection.execute(SENT, *columns, min(ids), max(ids), status)


async def sent_and_update(
    connection: Connection,
    sent: Sequence[Sequence[Any]],
    status: int,
    columns: Sequence[Sequence[Any]],
    submissions: Sequence[Sequence[Any]],
) -> None:
    """`sent` of some messages, and `update_and_submit` of others; all of it or nothing."""
    ids, sent_ids = columns[0], sent[0]
    await connection.execute(
        SENT_AND_UPDATE,
        *(*columns, min(ids), max(ids)),
        *(map(list, zip(*submissions, strict=True)) if submissions else ([],) * 6),
        *(*sent, min(sent_ids), max(sent_ids), status),
    )


async def update_and_submit(
    connection: Connection, columns: Sequence[Sequence[Any]], submissions: Sequence[Sequence[Any]]
) -> None:
    """`update`, and new rows of `submissions` (in the order of its COLUMNS); both, or neither."""
    ids = columns[0]
    named = zip(*submissions, strict=True)
    await connection.execute(UPDATE_AND_SUBMIT, *columns, min(ids), max(ids), *map(list, named))


async def fetch(pool: ConnectionPool, account_id: int, message_id: Id) -> MessageRow | None:
    return await pool.fetchrow(FETCH, message_id, account_id)


async def by_ids(connection: Connection, ids: Sequence[Id]) -> list[MessageRow]:
    return await connection.fetch(BY_IDS, ids)


async def unfinished(
    connection: Connection,
    *,
    after: Id,
    since: Id,
    inbound: int,
    claimed_status: int,
    scheduled_status: int,
    most: int,
) -> list[MessageRow]:
    """What a restart must take up again, in order of acceptance, a page at a time.

    Waiting rows of any age; rows younger than `since` that were claimed for submission without
    a recorded answer, or whose status callbacks are not all acknowledged.
    """
    return await connection.fetch(
        UNFINISHED, after, since, inbound, claimed_status, most, scheduled_status, moment_of(since)
    )


async def outbound(connection: Connection, *, inbound: int, since: Id) -> list[OutboundRow]:
    """What a reconciliation needs of every outbound message since an id."""
    return await connection.fetch(OUTBOUND, inbound, since)


async def owed(
    pool: ConnectionPool, *, after: Id, since: Id, inbound: int, most: int
) -> list[MessageRow]:
    """Messages younger than `since` whose status callbacks are not all acknowledged, by id."""
    return await pool.fetch(OWED, after, since, inbound, most, moment_of(since))


async def assign(connection: Connection, columns: Sequence[Sequence[Any]]) -> set[Id]:
    """Give stored messages a sender, or the reason why they get none; those that still waited.

    `columns` are arrays in the order of ASSIGN.
    """
    ids = columns[0]
    rows = await connection.fetch(ASSIGN, *columns, min(ids), max(ids))
    return {row[0] for row in rows}


async def waiting(
    connection: Connection, sender_id: int, queued_status: int, most: int
) -> list[MessageRow]:
    """The first `most` of a sender's queue, whoever holds them in memory."""
    return await connection.fetch(WAITING, sender_id, queued_status, most)


async def waiting_sizes(
    connection: Connection, sender_ids: Sequence[int], queued_status: int
) -> dict[int, tuple[int, int]]:
    """Messages and segments of each of these senders whose queue is not empty."""
    rows = await connection.fetch(WAITING_SIZES, sender_ids, queued_status)
    return {sender_id: (messages, segments) for sender_id, messages, segments in rows}


async def exists(pool: ConnectionPool, id: Id) -> bool:
    """Whether a message is there: it may have been deleted."""
    return bool(await pool.fetchval("SELECT true FROM messages WHERE id = $1", id))


async def old_waiting(
    connection: Connection,
    *,
    before: Id,
    scheduled_status: int,
    without_senders: Sequence[int],
    page: int,
) -> AsyncIterator[list[WaitingRow]]:
    """Id, service and sender of all that waits and came before an id, some at a time.

    But for what is scheduled, and what waits for one of these senders. One scan, whose transaction
    is open until the last page is read.
    """
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(
            OLD_WAITING, scheduled_status, before, list(without_senders)
        )
        while rows := await cursor.fetch(page):
            yield rows


async def count_old_waiting(connection: Connection, *, before: Id, scheduled_status: int) -> int:
    """How many wait that came before an id, but for what is scheduled."""
    return int(await connection.fetchval(COUNT_OLD_WAITING, scheduled_status, before))


async def overdue(
    connection: Connection, now: datetime, queued_status: int, most: int
) -> list[MessageRow]:
    """Queued messages whose validity has ended, the oldest end first."""
    return await connection.fetch(OVERDUE, now, queued_status, most)


async def delete(connection: Connection, ids: Sequence[Id], account_id: int | None = None) -> bool:
    """Remove messages; whether there was one to remove."""
    return bool(await connection.execute(DELETE, ids, account_id) != "DELETE 0")


async def page(
    lists: Lists,
    account_id: int,
    *,
    most: int,
    before: Id | None = None,
    back: bool = False,
    service_id: int | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    sent_from: datetime | None = None,
    sent_before: datetime | None = None,
) -> list[MessageRow]:
    """At most `most` messages of an account, newest first, below the id `before`.

    `back`: those above it, the nearest first. Raises ListTooLong.
    """
    low, high = 0, LAST
    if sent_before is not None:  # what is sent was made before that
        high = _first_of(min(sent_before, LATEST - CLOCKS_APART) + CLOCKS_APART) - 1
    if before is not None and back:
        low = before.int + 1
    elif before is not None:
        high = min(high, before.int - 1)
    return await _walk(
        lists,
        account_id,
        Stretch(low, high),
        (
            ("service_id = ${}", service_id),
            ("recipient = ${}", recipient),
            ("sender = ${}", sender),
            ("sent_at >= ${}", sent_from),
            ("sent_at < ${}", sent_before),
        ),
        most=most,
        back=back,
        by_address=recipient is not None or sender is not None,
    )


async def bulk_page(
    lists: Lists, account_id: int, *, before: Id | None, most: int
) -> list[MessageRow]:
    """At most `most` messages of an account's bulk operations, newest first, below `before`.

    Raises ListTooLong.
    """
    stretch = Stretch(0, before.int - 1 if before is not None else LAST)
    filters = (("(operation_id IS NOT NULL) = ${}::boolean", True),)
    return await _walk(lists, account_id, stretch, filters, most=most)


class Stretch(NamedTuple):
    """Ids from one to another, both of them included."""

    low: int
    high: int


async def _walk(
    lists: Lists,
    account_id: int,
    stretch: Stretch,
    filters: Sequence[tuple[str, object]],
    *,
    most: int,
    back: bool = False,
    by_address: bool = False,
) -> list[MessageRow]:
    """What passes the filters, a bounded number of rows at a time.

    A day that is still written has no index for any filter: it would cost each accept, and each
    update its place in the page. `by_address`: those that are over have one.
    """
    given = [(condition, value) for condition, value in filters if value is not None]
    conditions = [condition.format(place) for place, (condition, _) in enumerate(given, start=4)]
    values = [value for _, value in given]
    fits, order = " AND ".join(conditions) or "true", "ASC" if back else "DESC"
    indexed = await partitions.indexed_stretches(lists) if by_address else []
    found: list[MessageRow] = []
    until, now = lists.until(), _first_of(datetime.now(UTC))
    low, high = stretch
    reach = iter(REACH)
    while low <= high and len(found) < most:
        lists.check(until)
        part, whole = _part_of(low, high, back, indexed)
        if (days := next(reach, None)) is not None:
            part = _near(part, back, now, days * A_DAY)
        bounds = account_id, UUID(int=part.low), UUID(int=part.high)
        if whole or not given:
            statement = ALL_OF.format(fits=fits, order=order, most=most - len(found))
            found += await lists.fetch_by_index(statement, *bounds, *values)
            edge = part.high if back else part.low
        else:
            size = lists.slice_rows
            statement = SLICE_OF.format(fits=fits, order=order, size=size, most=most - len(found))
            rows: list[_SliceRow] = await lists.fetch_by_index(statement, *bounds, *values)
            found += [row for row in rows if row["fits"]]
            if rows and rows[-1]["place"] == size:
                edge = rows[-1]["id"].int
            else:
                edge = part.high if back else part.low
        low, high = (edge + 1, high) if back else (low, edge - 1)
    return found


def _part_of(
    low: int, high: int, back: bool, indexed: Sequence[tuple[int, int]]
) -> tuple[Stretch, bool]:
    """What is next of the ids from `low` to `high`, and whether an index has all of it."""
    edge = low if back else high
    for first, last in indexed:  # which rise
        if first <= edge <= last:
            return Stretch(max(low, first), min(high, last)), True
        if back and first > edge:
            return Stretch(low, min(high, first - 1)), False
        if not back and last < edge:
            low = max(low, last + 1)
    return Stretch(low, high), False


def _near(part: Stretch, back: bool, now: int, reach: int) -> Stretch:
    """Of a part the beginning, as far as `reach`; counted from now if that is in it."""
    if back:
        return Stretch(part.low, min(part.high, part.low + reach))
    return Stretch(max(part.low, min(part.high, now) - reach), part.high)


def _first_of(moment: datetime) -> int:
    """The lowest id of a moment."""
    return max(0, int(moment.timestamp() * 1000)) << 80
