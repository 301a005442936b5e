"""Alerts: the debugger's entries, append only, forgotten after a while."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypedDict

from storage.database import Connection, ConnectionPool
from storage.ids import Id
from storage.keyset import falling
from storage.lists import Lists
from storage.messages import ERASED
from storage.records import columns


class AlertRow(TypedDict):
    sid: str
    at: datetime
    code: int
    level: str
    text: str
    resource: str | None
    service: str | None
    request_method: str | None
    request_url: str | None
    request_variables: str | None
    request_headers: str | None
    response_status: int | None
    response_headers: str | None
    response_body: str | None


COLUMNS = (*AlertRow.__annotations__, "account_id", "messages")

# Those without an account are about the gateway itself: the operator's.
FETCH = f"""
SELECT {columns(AlertRow)} FROM alerts
 WHERE sid = $1 AND (account_id = $2 OR ($3 AND account_id IS NULL))
"""

PAGE = falling(f"""
SELECT {columns(AlertRow)} FROM alerts
 WHERE (account_id = $1 OR ($7 AND account_id IS NULL))
   AND ($2::text IS NULL OR id @PAST (SELECT id FROM alerts WHERE sid = $2))
   AND ($3::text IS NULL OR level = $3)
   AND ($4::timestamptz IS NULL OR at >= $4)
   AND ($5::timestamptz IS NULL OR at <= $5)
 ORDER BY id @ORDER
 LIMIT $6
""")

FORGET = "DELETE FROM alerts WHERE at < $1"
FORGET_REPLIES = "DELETE FROM alert_replies WHERE at < $1"

# An app's answer may come when what it quotes is erased. Erasures hold the lock shared: those that
# are under way are waited for here, and those that come later find what is written here.
LOCK_CLASS: Final = 7402
EXCLUDE = f"SELECT pg_advisory_xact_lock({LOCK_CLASS}, 0)"
ERASING = f"SELECT pg_advisory_xact_lock_shared({LOCK_CLASS}, 0)"
REPLIES = "SELECT reply_id, inbound_id FROM alert_replies WHERE inbound_id = ANY($1::uuid[])"
# A recipient that is forgotten ends in XXXX.
THERE = f"""
SELECT id FROM messages
 WHERE id = ANY($1::uuid[]) AND flags & {ERASED} = 0 AND right(recipient, 4) <> 'XXXX'
"""
# An alert without its text says what its code means. Of a URL an app's answer may have named the
# path; who was asked stays. What is none of the request's (null) stays none.
_NOTHING_QUOTED = """
UPDATE alerts
   SET text = '',
       request_url = CASE WHEN request_url IS NOT NULL
           THEN coalesce(substring(request_url FROM '^[A-Za-z]+://[^/?#]*'), '') END,
       request_variables = left(request_variables, 0),
       response_headers = left(response_headers, 0),
       response_body = left(response_body, 0)
 WHERE {which}
"""
LEAVE_OUT = _NOTHING_QUOTED.format(which="sid = ANY($1::text[])")
# Those that do not name messages are by versions that did not: they have an exchange.
ERASE = _NOTHING_QUOTED.format(
    which="request_method IS NOT NULL AND resource = ANY($1::text[]) OR messages && $2::uuid[]"
)
ANSWERED = "SELECT inbound_id FROM alert_replies WHERE reply_id = ANY($1::uuid[])"
LINK = """
INSERT INTO alert_replies (reply_id, inbound_id) SELECT unnest($1::uuid[]), $2
ON CONFLICT DO NOTHING
"""


async def insert(
    pool: ConnectionPool,
    rows: Iterable[Sequence[Any]],
    quoting: Mapping[str, Collection[Id]] = MappingProxyType({}),
) -> set[str]:
    """Write `rows` in the order of COLUMNS.

    `quoting`: the messages whose text an alert may quote, by its SID. Of what was erased meanwhile
    nothing is written; the SIDs of those alerts.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not quoting:
            await write(connection, rows)
            return set()
        await connection.execute(EXCLUDE)
        late = await _erased(connection, quoting)
        await write(connection, rows)
        if late:
            await connection.execute(LEAVE_OUT, list(late))
        return late


async def _erased(connection: Connection, quoting: Mapping[str, Collection[Id]]) -> set[str]:
    """The SIDs of alerts one of whose messages, or of the replies to them, is gone or empty."""
    ids = {id for quoted in quoting.values() for id in quoted}
    replies: dict[Id, set[Id]] = {}
    for reply_id, inbound_id in await connection.fetch(REPLIES, list(ids)):
        replies.setdefault(inbound_id, set()).add(reply_id)
    every = ids.union(*replies.values())
    there = {row[0] for row in await connection.fetch(THERE, list(every))}
    return {
        sid
        for sid, quoted in quoting.items()
        if not there.issuperset(set(quoted).union(*(replies.get(id, ()) for id in quoted)))
    }


async def erase(connection: Connection, ids: Sequence[Id]) -> None:
    """Take from alerts what may quote these messages, in the transaction that erases them."""
    await connection.execute(ERASING)
    answered = [row[0] for row in await connection.fetch(ANSWERED, ids)]
    about = [*ids, *answered]
    await connection.execute(ERASE, [kind + id.hex for id in about for kind in ("SM", "MM")], about)


async def link_replies(connection: Connection, inbound_id: Id, replies: Sequence[Id]) -> None:
    """An alert of an inbound message may quote these replies to it."""
    await connection.execute(LINK, replies, inbound_id)


async def write(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """The same, in the caller's transaction."""
    await connection.copy_records_to_table("alerts", records=rows, columns=COLUMNS)


async def fetch(
    pool: ConnectionPool, account_id: int, sid: str, *, operator: bool
) -> AlertRow | None:
    return await pool.fetchrow(FETCH, sid, account_id, operator)


async def page(
    pool: ConnectionPool | Lists,
    account_id: int,
    *,
    most: int,
    before: str | None,
    back: bool = False,
    level: str | None,
    since: datetime | None,
    until: datetime | None,
    operator: bool,
) -> list[AlertRow]:
    """At most `most` alerts of an account, newest first, older than the one named `before`.

    With `operator`, those about the gateway itself too.
    """
    return await pool.fetch(PAGE.of(back), account_id, before, level, since, until, most, operator)


async def forget(pool: ConnectionPool, before: datetime) -> None:
    await pool.execute(FORGET, before)
    await pool.execute(FORGET_REPLIES, before)
