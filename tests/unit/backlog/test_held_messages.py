"""After a restore from a backup: what is held, and how it is released and closed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import asyncpg
import pytest
from testing import WAIT_S

from gateway.backlog import backup_hold
from gateway.backlog.backup_hold import HELD_AFTER_RESTORE, RestoreRefused, Selection
from gateway.backlog.owed_sweep import RECENT_S
from gateway.channels.connector import TIMEOUT
from gateway.messages.message import Direction, Flag, Message, Status, created_at
from gateway.messages.rows import insert_row, moment
from storage import message_changes, messages, schedule, session_lock
from storage import restore as restore_rows
from storage.database import Connection, ConnectionPool, open_connection
from storage.ids import BELOW_ALL, Id, id_at, id_from_bytes
from storage.migrate import SchemaError, migrations

NOW = datetime(2026, 11, 24, 21, tzinfo=UTC)
AS_OF = NOW - timedelta(hours=1)
SECOND = timedelta(seconds=1)
MILLISECOND = timedelta(milliseconds=1)
ACCOUNT = "AC" + "1" * 32
URL = "https://app.example/status"
CHANCE = Random(2)

Store = Callable[..., Awaitable[Message]]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await open_connection(database_url)
    for sid in (ACCOUNT, "AC" + "2" * 32):
        await connection.execute(
            "INSERT INTO accounts (sid, friendly_name, auth_token) VALUES ($1, 'one', 'x')", sid
        )
    yield connection
    await connection.close()


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[ConnectionPool]:
    """Connections of somebody who is no gateway."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        yield pool


@pytest.fixture
def store(connection: Connection) -> Store:
    """Store a message that was accepted a minute before the backup, or when it is said."""
    random = Random(1)

    async def store(
        status: Status, *, at: datetime = AS_OF - timedelta(minutes=1), **more: Any
    ) -> Message:
        random_bits = random.getrandbits(80).to_bytes(10, "big")
        first = id_at(at.timestamp() + 0.0005).bytes[:6]
        message = Message(
            id_from_bytes(first + random_bits),
            more.pop("account_id", 1),
            "+441632960675",
            "a text",
            callback_url=URL,
        )
        message.waiting = status < Status.SENDING
        message.segments = 1
        message.status = status
        message.valid_until = (NOW + SECOND).timestamp()
        for name, value in more.items():
            setattr(message, name, value)
        await messages.insert(connection, [insert_row(message)])
        return message

    return store


async def hold(
    connection: Connection, as_of: datetime = AS_OF, now: datetime = NOW
) -> dict[Status, int]:
    done = await backup_hold.hold(connection, as_of=as_of, now=now, random=CHANCE, leaves_s=0.0)
    return dict(done.counts)


async def close(connection: Connection, selection: Selection) -> int:
    return await backup_hold.close(connection, selection, now=NOW, random=CHANCE)


async def row_of(connection: Connection, message: Message) -> asyncpg.Record:
    [row] = await messages.by_ids(connection, [message.id])
    return row


async def everything(connection: Connection) -> list[tuple[Any, ...]]:
    """All messages and all that is known of holds."""
    return [
        tuple(row)
        for table in ("messages", "held_messages", "restores")
        for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1")
    ]


async def unfinished(connection: Connection, now: datetime = NOW) -> set[Id]:
    """What a restart takes up."""
    rows = await messages.unfinished(
        connection,
        after=BELOW_ALL,
        since=id_at(now.timestamp() - RECENT_S),
        inbound=Direction.INBOUND,
        claimed_status=Status.SENDING,
        scheduled_status=Status.SCHEDULED,
        most=100,
    )
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)
    return set(ids)


# Holding --------------------------------------------------------------------------------------


async def test_what_may_have_been_sent_is_held_and_nothing_else(
    connection: Connection, store: Store
) -> None:
    due, future = NOW.timestamp(), (NOW + MILLISECOND).timestamp()
    held = [
        await store(Status.ACCEPTED),
        await store(Status.QUEUED, sender_id=7),
        await store(Status.SENDING, sender_id=7, queued_at=AS_OF.timestamp()),
        await store(Status.SCHEDULED, send_at=due),
        await store(Status.QUEUED, direction=Direction.OUTBOUND_REPLY),
    ]
    for message in (
        await store(Status.SCHEDULED, send_at=future),
        await store(Status.SENT, sent_at=1.0),
        *[await store(status, done_at=1.0) for status in Status if status.final],
        await store(Status.RECEIVED, direction=Direction.INBOUND),
    ):
        held_not = await row_of(connection, message)
        assert held_not["status"] == message.status
    done = await backup_hold.hold(connection, as_of=AS_OF, now=NOW, random=CHANCE, leaves_s=0.0)
    assert done.counts == {
        Status.ACCEPTED: 1,
        Status.SCHEDULED: 1,
        Status.QUEUED: 2,
        Status.SENDING: 1,
    }
    assert (done.scheduled, done.before) == (1, None)
    assert [row["id"] for row in await backup_hold.held(connection)] == sorted(
        (message.id for message in held), key=lambda id: id.bytes
    )
    inert = await connection.fetch("SELECT * FROM messages WHERE waiting IS NULL AND status < 3")
    assert {row["id"] for row in inert} == {message.id for message in held}


async def test_nothing_that_reads_rows_takes_up_what_is_held(
    connection: Connection, store: Store, pool: ConnectionPool
) -> None:
    """Each statement that looks for something to do, with one that it would have found before."""
    before = (NOW - SECOND).timestamp()
    due = await store(Status.SCHEDULED, send_at=before, service_id=1)
    queued = await store(
        Status.QUEUED, sender_id=7, queued_at=before, service_id=1, valid_until=before
    )
    claimed = await store(Status.SENDING, sender_id=7, queued_at=before, service_id=1)
    accepted = await store(Status.ACCEPTED, service_id=1)
    every = [due, queued, claimed, accepted]

    async def found() -> set[Id]:
        ids = [message.id for message in every]
        some = await unfinished(connection)
        since = id_at(NOW.timestamp() - RECENT_S)
        some |= {
            row["id"]
            for rows in (
                await messages.owed(
                    pool, after=BELOW_ALL, since=since, inbound=Direction.INBOUND, most=100
                ),
                await messages.waiting(connection, 7, Status.QUEUED, 100),
                await messages.overdue(connection, NOW, Status.QUEUED, 100),
                await schedule.due(
                    connection, scheduled=Status.SCHEDULED, until=NOW, without=[], most=100
                ),
                await message_changes.owe_callbacks_again(
                    pool, 1, min(ids), max(ids), inbound=Direction.INBOUND, url=None, most=100
                ),
            )
            for row in rows
        }
        assert await schedule.counts(connection, scheduled=Status.SCHEDULED) in ({1: 1}, {})
        return some

    assert await found() == {message.id for message in every}
    await hold(connection)
    assert await found() == set()
    for message in every:
        assert await messages.claim(connection, [message.id], Status.SENDING) == set()
        assert (
            await message_changes.cancel(
                pool, 1, message.id, canceled=Status.CANCELED, inbound=Direction.INBOUND
            )
            is None
        )
        assert not await message_changes.delete(pool, 1, message.id, first_final=Status.DELIVERED)
    assert await messages.claimed(connection, [one.id for one in every], Status.SENDING) == set()


async def test_a_claim_is_held_from_three_days_before_the_backup_on(
    connection: Connection, store: Store
) -> None:
    """As a restart would have taken it up, had it come at the moment of the backup."""
    since = AS_OF - timedelta(seconds=RECENT_S)
    recent = await store(Status.SENDING, at=since + MILLISECOND)
    let_in = await store(
        Status.SENDING, at=since - SECOND, send_at=(since + MILLISECOND).timestamp()
    )
    await store(Status.SENDING, at=since - MILLISECOND)
    await store(Status.SENDING, at=since - SECOND, send_at=since.timestamp())
    assert await hold(connection) == {Status.SENDING: 2}
    assert {row["id"] for row in await backup_hold.held(connection)} == {recent.id, let_in.id}


async def test_a_second_hold_holds_nothing_twice_and_says_so(
    connection: Connection, store: Store
) -> None:
    first = await store(Status.QUEUED)
    await store(Status.QUEUED)
    assert await hold(connection) == {Status.QUEUED: 2}
    await backup_hold.release(connection, Selection((first.sid,)))
    kept = await everything(connection)
    for as_of in (AS_OF, AS_OF - SECOND):
        done = await backup_hold.hold(connection, as_of=as_of, now=NOW, random=CHANCE, leaves_s=0.0)
        assert done.before is not None
        assert (done.counts, done.before["as_of"], done.before["messages"]) == ({}, AS_OF, 1)
    assert await everything(connection) == kept


async def test_a_later_backup_is_held_anew_with_what_was_released_before(
    connection: Connection, store: Store
) -> None:
    released, held = await store(Status.SENDING), await store(Status.QUEUED)
    await hold(connection)
    await backup_hold.release(connection, Selection((released.sid,)))
    assert await hold(connection, AS_OF + MILLISECOND) == {Status.QUEUED: 1}
    was = {row["id"]: (row["status"], row["as_of"]) for row in await backup_hold.held(connection)}
    assert was == {
        released.id: (Status.QUEUED, AS_OF + MILLISECOND),
        held.id: (Status.QUEUED, AS_OF),
    }


async def test_a_hold_is_an_alert_of_the_operator_with_the_number(
    connection: Connection, store: Store
) -> None:
    assert await hold(connection, AS_OF - SECOND) == {}
    assert await connection.fetch("SELECT * FROM alerts") == []
    await store(Status.QUEUED)
    await hold(connection)
    [alert] = await connection.fetch("SELECT * FROM alerts")
    assert (alert["code"], alert["account_id"], alert["at"]) == (HELD_AFTER_RESTORE, None, NOW)
    assert alert["text"].startswith("1 messages are held")


async def test_a_backup_from_before_an_upgrade_is_brought_up_to_date(
    connection: Connection, store: Store
) -> None:
    await store(Status.QUEUED)
    await connection.execute(
        "DROP TABLE held_messages, restores, deleted_messages, beats;"
        "DELETE FROM schema_version WHERE version >= 26;"
        # What came after it.
        "ALTER TABLE accounts DROP COLUMN messages_per_second, DROP COLUMN mms_per_second,"
        " DROP COLUMN toll_free_mms_per_second"
    )
    with pytest.raises(
        RestoreRefused, match=r"schema 25.*`tandem restore hold`, which brings it up"
    ):
        await backup_hold.held(connection)
    assert await hold(connection) == {Status.QUEUED: 1}


# Refusals -------------------------------------------------------------------------------------


async def test_a_moment_that_has_not_come_is_refused(connection: Connection, store: Store) -> None:
    message = await store(Status.QUEUED)
    kept = await everything(connection)
    with pytest.raises(RestoreRefused, match="has not come"):
        await hold(connection, NOW + MILLISECOND)
    assert await everything(connection) == kept
    assert await hold(connection, NOW) == {Status.QUEUED: 1}
    assert (await row_of(connection, message))["waiting"] is None


async def test_a_backup_younger_than_it_is_said_to_be_is_refused(
    connection: Connection, store: Store
) -> None:
    """What was accepted after the moment would leave, and may have left before."""
    await store(Status.QUEUED, at=AS_OF)
    await store(Status.QUEUED, at=AS_OF + MILLISECOND)
    last = await store(Status.QUEUED, at=AS_OF + 2 * MILLISECOND)
    await store(Status.SENT, at=AS_OF + SECOND, sent_at=1.0)  # it cannot leave again
    await store(Status.SCHEDULED, at=AS_OF + SECOND, send_at=(NOW + SECOND).timestamp())
    kept = await everything(connection)
    with pytest.raises(RestoreRefused) as refused:
        await hold(connection)
    assert await everything(connection) == kept
    assert str(refused.value).startswith("2 unfinished messages were accepted after")
    said = re.search(r"--as-of (\S+)$", str(refused.value))
    assert said is not None
    proposed = datetime.fromisoformat(said[1])
    assert proposed.timestamp() == created_at(last.id)
    assert await hold(connection, proposed) == {Status.QUEUED: 3}


async def test_a_database_without_our_tables_is_refused(empty_database_url: str) -> None:
    connection = await open_connection(empty_database_url)
    for asked in (
        hold(connection),
        backup_hold.held(connection),
        backup_hold.release(connection, Selection()),
        close(connection, Selection()),
    ):
        with pytest.raises(RestoreRefused, match="no Tandem tables"):
            await asked
    assert await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    await connection.close()


async def test_a_database_of_a_newer_version_is_refused(connection: Connection) -> None:
    newer = len(migrations()) + 1
    await connection.execute("INSERT INTO schema_version VALUES ($1, 'from the future')", newer)
    with pytest.raises(SchemaError, match=f"schema {newer}"):
        await hold(connection)
    with pytest.raises(RestoreRefused, match="with the newer version"):
        await backup_hold.held(connection)


async def test_a_database_that_a_gateway_uses_is_refused_and_one_it_has_left_is_not(
    connection: Connection, store: Store, database_url: str
) -> None:
    await store(Status.QUEUED)
    kept = await everything(connection)
    other = await session_lock.open_session(database_url, 12345678)
    assert await session_lock.take(other, [session_lock.GATEWAY])
    with pytest.raises(RestoreRefused, match=r"a gateway is using this database \(tandem/12345678"):
        await hold(connection)
    assert await everything(connection) == kept
    await other.close()
    done = await backup_hold.hold(connection, as_of=AS_OF, now=NOW, random=CHANCE, leaves_s=WAIT_S)
    assert sum(done.counts.values()) == 1


async def test_no_gateway_starts_during_a_hold(
    connection: Connection, pool: ConnectionPool, store: Store
) -> None:
    """Its first step is to migrate, and that lock is taken."""
    await restore_rows.begin(connection)
    free = "SELECT pg_try_advisory_lock($1)"
    assert await pool.fetchval(free, restore_rows.ADVISORY_LOCK) is False
    await restore_rows.end(connection)
    await store(Status.QUEUED)
    with pytest.raises(RestoreRefused):
        await hold(connection, NOW + SECOND)
    await hold(connection)
    assert await pool.fetchval(free, restore_rows.ADVISORY_LOCK) is True


# Releasing ------------------------------------------------------------------------------------


async def test_what_is_released_waits_as_it_did_marked_as_a_possible_duplicate(
    connection: Connection, store: Store
) -> None:
    every = {
        await store(Status.ACCEPTED, service_id=1, flags=Flag.AWAITS_MEDIA): Status.ACCEPTED,
        await store(Status.SCHEDULED, send_at=1.0): Status.SCHEDULED,
        await store(Status.QUEUED, sender_id=7): Status.QUEUED,
        await store(Status.SENDING, sender_id=7): Status.QUEUED,
    }
    rows = {message: dict(await row_of(connection, message)) for message in every}
    await hold(connection)
    assert await backup_hold.release(connection, Selection()) == 4
    for message, status in every.items():
        row = dict(await row_of(connection, message))
        changed = {"status": status, "waiting": 0}
        assert row == rows[message] | changed | {"flags": message.flags | Flag.POSSIBLE_DUPLICATE}
    assert await backup_hold.held(connection) == []
    waiting = {one.id for one, status in every.items() if status is not Status.SCHEDULED}
    assert await unfinished(connection) == waiting
    [due] = await schedule.due(
        connection, scheduled=Status.SCHEDULED, until=NOW, without=[], most=100
    )
    assert {due["id"]} == {message.id for message in every} - waiting


async def test_some_are_released_by_sid_by_account_or_by_when_they_were_accepted(
    connection: Connection, store: Store
) -> None:
    at = AS_OF - timedelta(minutes=5) + 123 * MILLISECOND
    first = await store(Status.QUEUED, at=at - MILLISECOND)
    second = await store(Status.QUEUED, at=at)
    third = await store(Status.QUEUED, at=at + MILLISECOND, account_id=2)
    snapshot = await store(Status.QUEUED, at=at + SECOND, flags=Flag.MEDIA)
    await hold(connection)

    async def left() -> list[Id]:
        return [row["id"] for row in await backup_hold.held(connection)]

    assert await backup_hold.release(connection, Selection(before=at)) == 1
    assert await left() == [second.id, third.id, snapshot.id]
    assert (
        await backup_hold.release(connection, Selection(account=ACCOUNT, before=at + SECOND)) == 1
    )
    assert await left() == [third.id, snapshot.id]
    assert await backup_hold.release(connection, Selection(since=at + SECOND)) == 1
    assert await left() == [third.id]
    assert await backup_hold.release(connection, Selection(account=ACCOUNT)) == 0
    assert await backup_hold.release(connection, Selection((third.sid, third.sid))) == 1
    assert await left() == []
    assert snapshot.sid.startswith("MM")
    assert (await row_of(connection, first))["waiting"] == 0


async def test_what_is_not_held_is_neither_released_nor_closed(
    connection: Connection, store: Store
) -> None:
    held, sent = await store(Status.QUEUED), await store(Status.SENT)
    released = await store(Status.QUEUED)
    await hold(connection)
    await backup_hold.release(connection, Selection((released.sid,)))
    kept = await everything(connection)
    for wrong, text in (
        (sent.sid, f"not held: {sent.sid}; nothing was changed"),
        (released.sid, f"not held: {released.sid}"),
        ("SM" + "0" * 32, "not held: SM0"),
        ("hello", "hello is not the SID of a message"),
        (held.sid.upper(), "is not the SID of a message"),
    ):
        for selection in (Selection((held.sid, wrong)), Selection((wrong,))):
            with pytest.raises(RestoreRefused, match=re.escape(text)):
                await backup_hold.release(connection, selection)
            with pytest.raises(RestoreRefused, match=re.escape(text)):
                await close(connection, selection)
    assert await everything(connection) == kept
    many = tuple("SM" + f"{number:032x}" for number in range(6))
    with pytest.raises(RestoreRefused, match=f"{many[4]}, …; nothing"):
        await close(connection, Selection(many))


async def test_a_release_and_a_close_are_told_after_their_commit(
    connection: Connection, store: Store, pool: ConnectionPool
) -> None:
    first, second = await store(Status.QUEUED), await store(Status.QUEUED)
    await hold(connection)
    heard: asyncio.Queue[object] = asyncio.Queue()

    def hear(*heard_of: object) -> None:
        heard.put_nowait(heard_of[3])

    async def told() -> tuple[object, int]:
        """What was told, and how many are held for whoever is told so."""
        async with asyncio.timeout(WAIT_S):
            return await heard.get(), await pool.fetchval(restore_rows.COUNT)

    async with pool.acquire() as listener:
        await listener.add_listener(restore_rows.TAKEN_UP, hear)
        await backup_hold.release(connection, Selection((first.sid,)))
        assert await told() == ("", 1)
        with pytest.raises(RestoreRefused):
            await close(connection, Selection((first.sid,)))
        await close(connection, Selection((second.sid,)))
        assert await told() == ("", 0)
        assert heard.empty()
        await listener.remove_listener(restore_rows.TAKEN_UP, hear)


# Closing --------------------------------------------------------------------------------------


async def test_what_is_closed_has_failed_and_owes_its_callbacks(
    connection: Connection, store: Store
) -> None:
    claimed = await store(Status.SENDING, sender_id=7, queued_at=1.0)
    row = dict(await row_of(connection, claimed))
    other = await store(Status.ACCEPTED)
    await hold(connection)
    assert await close(connection, Selection((claimed.sid,))) == 1
    closed = dict(await row_of(connection, claimed))
    assert closed.pop("done_at") is not None
    del row["done_at"]
    assert closed == row | {"status": Status.FAILED, "error_code": TIMEOUT}
    assert [one["id"] for one in await backup_hold.held(connection)] == [other.id]
    assert await unfinished(connection) == {claimed.id}
    failed = await connection.fetch("SELECT * FROM alerts WHERE code = $1", TIMEOUT)
    assert [(one["resource"], one["account_id"], one["level"]) for one in failed] == [
        (claimed.sid, 1, "error")
    ]


async def test_callbacks_of_what_was_held_for_days_are_owed_all_the_same(
    connection: Connection, store: Store, pool: ConnectionPool
) -> None:
    """A restart looks back three days for what owes callbacks, or was claimed: from then on."""
    long_ago = AS_OF - timedelta(days=2)
    closed, released = (
        await store(Status.QUEUED, at=long_ago),
        await store(Status.QUEUED, at=long_ago, sender_id=7),
    )
    await hold(connection)
    await close(connection, Selection((closed.sid,)))
    await backup_hold.release(connection, Selection((released.sid,)))
    assert await messages.claim(connection, [released.id], Status.SENDING) == {released.id}
    ended: datetime = await pool.fetchval("SELECT max(ended_at) FROM held_messages")
    both = {closed.id, released.id}
    late = ended + timedelta(seconds=RECENT_S)

    async def owed(now: datetime) -> set[Id]:
        rows = await messages.owed(
            pool,
            after=BELOW_ALL,
            since=id_at(now.timestamp() - RECENT_S),
            inbound=Direction.INBOUND,
            most=100,
        )
        return {row["id"] for row in rows}

    assert await unfinished(connection, late - SECOND) == both
    assert await unfinished(connection, late + SECOND) == set()
    assert await owed(late - SECOND) == {closed.id}
    assert await owed(late + SECOND) == set()


async def test_only_one_of_two_operators_has_a_message(
    connection: Connection, store: Store, database_url: str
) -> None:
    message = await store(Status.QUEUED)
    await hold(connection)
    other = await open_connection(database_url)
    transaction = other.transaction()
    await transaction.start()
    ids = [message.id]
    [_] = await restore_rows.close(
        other, restore_rows.Chosen(ids), failed=Status.FAILED, code=TIMEOUT
    )
    releasing = asyncio.create_task(backup_hold.release(connection, Selection((message.sid,))))
    waits = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not await other.fetchval(waits):
        await other.execute("SELECT pg_stat_clear_snapshot()")
    await transaction.commit()
    with pytest.raises(RestoreRefused, match="not held"):
        await releasing
    assert (await row_of(connection, message))["status"] == Status.FAILED
    await other.close()


def test_the_lowest_id_of_a_moment_is_exact() -> None:
    for number in range(0, 5000, 7):
        at = NOW + number * MILLISECOND
        assert moment(created_at(backup_hold._first_id(at))) == at
