"""After the database was restored from a backup: what may be sent twice waits for the operator.

A restored database believes that what was sent since the backup is still to be sent. Nobody can
tell from it what left: so everything outbound that is unfinished is held, and the operator decides
of each message, of some, or of all (docs/reliability.md#after-a-restore-from-a-backup):

    hold     before the gateway is started: nothing that is held leaves by itself
    release  it was not sent, or may be sent twice: it waits again, marked a possible duplicate
    close    it was sent, or shall not be: `failed`, 30410

Not held: what is scheduled for a time that has not come, which nobody can have sent, and what has
ended, or been answered by the carrier.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from gateway.backlog.owed_sweep import RECENT_S
from gateway.channels.connector import TIMEOUT
from gateway.messages.message import Direction, Flag, Status
from gateway.messages.rows import sid_of_row
from gateway.observe.alerts import Alert, Alerts, new_sid, row_of
from gateway.runtime.times import shown
from storage import alerts as alert_rows
from storage import restore as rows
from storage import session_lock
from storage.database import Connection, ConnectionPool
from storage.ids import Id, id_at, id_from_bytes, id_from_hex
from storage.migrate import migrate, migrations, version

HELD_AFTER_RESTORE: Final = 99004  # an alert of ours
LEAVES_S: Final = 5.0  # the server may see late that a process has ended
LOOK_EVERY_S: Final = 0.1
SID = re.compile(r"(?:SM|MM)([0-9a-f]{32})")
NAMED: Final = 5  # SIDs in a text of ours
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
CODES: Final = rows.StoredNumbers(
    inbound=Direction.INBOUND,
    sending=Status.SENDING,
    scheduled=Status.SCHEDULED,
    queued=Status.QUEUED,
)


class RestoreRefused(Exception):
    """Nothing was changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What a hold did."""

    counts: Mapping[Status, int]  # messages held by it, by the status that they had
    scheduled: int  # not held: their time has not come
    before: rows.RestoreRow | None = None  # an earlier hold that covers this one: nothing was done


@dataclass(frozen=True, slots=True)
class Selection:
    """Which held messages are meant: by SID, or by all the other conditions together."""

    sids: Sequence[str] = ()
    account: str | None = None
    since: datetime | None = None  # accepted
    before: datetime | None = None  # accepted; not at this very time

    def chosen(self) -> rows.Chosen:
        """Raises Refused for what is no SID."""
        return rows.Chosen(
            [_id(sid) for sid in self.sids] if self.sids else None,
            self.account,
            _first_id(self.since) if self.since else None,
            _first_id(self.before) if self.before else None,
        )


async def hold(
    connection: Connection,
    *,
    as_of: datetime,
    now: datetime,
    random: Random,
    leaves_s: float,
) -> Hold:
    """Hold what may have been sent since `as_of`, the moment of the backup.

    That is all that waits and has no future time, and all that was claimed and has no recorded
    answer. One transaction, with its alert. A second run for the same moment, or an earlier one,
    changes nothing: what has come or was released since must not be held by it.

    Raises Refused: a moment that has not come; a database without our tables; one that a gateway
    uses; one with unfinished messages that are younger than the backup is said to be, since those
    would leave. Raises SchemaError for a database that is newer than this program.
    """
    if as_of > now:
        raise RestoreRefused(f"{shown(as_of)} has not come: say of which moment the backup is")
    if await version(connection) is None:
        raise RestoreRefused("this database has no Tandem tables: is it the one that was restored?")
    await _alone(connection, leaves_s)
    try:
        await rows.begin(connection)
        try:
            await migrate(connection)
            return await _hold(connection, as_of, now, random)
        finally:
            await rows.end(connection)
    finally:
        await session_lock.give_back(connection)


async def _hold(connection: Connection, as_of: datetime, now: datetime, random: Random) -> Hold:
    claimed_since = id_at((as_of - timedelta(seconds=RECENT_S)).timestamp())
    async with connection.transaction():
        scheduled = await rows.left(connection, CODES, now=now)
        before = await rows.last(connection)
        if before is not None and as_of <= before["as_of"]:
            return Hold({}, scheduled, before)
        await _as_old_as_said(connection, as_of, now, claimed_since)
        counts = await rows.hold(
            connection, CODES, as_of=as_of, now=now, claimed_since=claimed_since
        )
        held = sum(counts.values())
        if held:
            await alert_rows.write(connection, [row_of(_alert(held, as_of, now, random))])
    return Hold({Status(status): number for status, number in counts.items()}, scheduled)


async def _alone(connection: Connection, leaves_s: float) -> None:
    """Return with the right to the database, when no gateway has it. Raises Refused."""
    loop = asyncio.get_running_loop()
    until = loop.time() + leaves_s
    while not await session_lock.take(connection, [session_lock.GATEWAY]) or (
        await session_lock.holders(connection)  # workers that are just ending
    ):
        if loop.time() >= until:
            [holder, *_] = await session_lock.holders(connection)
            await session_lock.give_back(connection)
            raise RestoreRefused(
                f"a gateway is using this database ({holder}): stop it first."
                " What it has sent again by now, nobody can take back"
            )
        await asyncio.sleep(LOOK_EVERY_S)


async def _as_old_as_said(
    connection: Connection, as_of: datetime, now: datetime, claimed_since: Id
) -> None:
    """Whoever says a moment that is too early would leave out what came after it."""
    than = _first_id(as_of + MILLISECOND)
    found = await rows.younger(connection, CODES, now=now, claimed_since=claimed_since, than=than)
    if found is not None:
        messages, last = found
        raise RestoreRefused(
            f"{messages} unfinished messages were accepted after {shown(as_of)}, the last at"
            f" {shown(last)}: the backup is younger than that, or a gateway has run on this"
            f" database since. To hold them too, say --as-of {shown(last)}"
        )


def _alert(held: int, as_of: datetime, now: datetime, random: Random) -> Alert:
    text = f"{_still(held)} (backup of {shown(as_of)}): `tandem restore list` shows them"
    return Alert(new_sid(random), now.timestamp(), HELD_AFTER_RESTORE, "warning", text)


def _still(held: int) -> str:
    return f"{held} messages are held after a restore from a backup"


async def remind_of_held(pool: ConnectionPool, alerts: Alerts) -> None:
    """At the start of a gateway: what is held goes on being held, and is spoken of."""
    held = await rows.count(pool)
    if held:
        text = f"{_still(held)}, until the operator decides: `tandem restore list` shows them"
        alerts.alert(HELD_AFTER_RESTORE, text, subject="restore")


async def held(connection: Connection, account: str | None = None) -> list[rows.HeldRow]:
    """What is held, in order of acceptance. Raises Refused where nothing can be held."""
    await _fits(connection)
    return await rows.held(connection, account)


async def release(connection: Connection, selection: Selection) -> int:
    """Send these after all; how many. They may arrive twice, and are marked so.

    Each waits again as it did. One that was claimed waits for another claim, whatever its carrier's
    policy (docs/reliability.md#the-one-ambiguity) says: this is the operator's word. Validity and
    blocks are checked before it is sent, as for every other: it may still end with 30036 or 21610.

    Raises Refused, having released nothing, where one of the SIDs is not held.
    """
    await _fits(connection)
    async with connection.transaction():
        released = await rows.release(
            connection,
            CODES,
            selection.chosen(),
            flag=Flag.POSSIBLE_DUPLICATE,
        )
        _all_of(selection, released)
    await rows.tell(connection)
    return len(released)


async def close(
    connection: Connection, selection: Selection, *, now: datetime, random: Random
) -> int:
    """End these unsent; how many. Their callbacks are owed, each failure is an alert.

    They end as `failed` with 30410, as where an answer was lost and the policy is not to send
    again: the app learns that nobody knows what became of the message, which is true. No other
    ending is offered. `canceled` would say that it never left, `sent` and `delivered` that a
    carrier took it; this database can witness neither, and a carrier's own list is not a receipt.

    Raises Refused, having closed nothing, where one of the SIDs is not held.
    """
    await _fits(connection)
    async with connection.transaction():
        closed = await rows.close(
            connection, selection.chosen(), failed=Status.FAILED, code=TIMEOUT
        )
        _all_of(selection, {row["id"] for row in closed})
        await alert_rows.write(connection, [row_of(_failed(row, now, random)) for row in closed])
    await rows.tell(connection)
    return len(closed)


def _failed(row: rows.ClosedRow, now: datetime, random: Random) -> Alert:
    return Alert(
        new_sid(random),
        now.timestamp(),
        TIMEOUT,
        "error",
        "",
        sid_of_row(row),
        row["account_id"],
        row["service"],
    )


async def _fits(connection: Connection) -> None:
    """Raises Refused for a database that this program's tables are not in."""
    current, known = await version(connection), len(migrations())
    if current is None:
        raise RestoreRefused("this database has no Tandem tables: is it the right one?")
    if current != known:
        what = "which brings it up to date" if current < known else "with the newer version"
        raise RestoreRefused(
            f"the database has schema {current}, this version of Tandem knows {known}:"
            f" begin with `tandem restore hold`, {what}"
        )


def _all_of(selection: Selection, ended: set[Id]) -> None:
    missing = [sid for sid in selection.sids if _id(sid) not in ended]
    if missing:
        named = ", ".join(missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
        raise RestoreRefused(f"not held: {named}; nothing was changed")


def _first_id(at: datetime) -> Id:
    """The lowest id of a moment, exactly: ids have whole milliseconds, floats do not."""
    milliseconds = (at - EPOCH) // MILLISECOND
    return id_from_bytes((milliseconds << 80).to_bytes(16, "big"))


def _id(sid: str) -> Id:
    match = SID.fullmatch(sid)
    if match is None:
        raise RestoreRefused(f"{sid} is not the SID of a message; nothing was changed")
    return id_from_hex(match[1])
