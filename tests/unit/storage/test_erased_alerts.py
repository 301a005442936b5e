"""What an alert may quote goes with the messages it is of, whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from testing import WAIT_S

from gateway.messages.message import Flag
from gateway.observe.alerts import Alert, Exchange, row_of
from storage import alerts, message_changes
from storage.database import ConnectionPool, prepare_connection
from storage.messages import ERASED

INBOUND, REPLY, OTHER, GONE = (UUID(int=number) for number in (1, 2, 3, 4))
ACCOUNT, FINAL = 1, 5


def alert(number: int, *messages: UUID, resource: str = "CH1") -> Alert:
    exchange = Exchange(
        "POST", "http://app:80/hers?text=hers", "Body=hers", "", 500, "X=hers", "hers"
    )
    return Alert(
        f"NO{number}", 0.0, 11200, "error", "to hers", resource, ACCOUNT, None, exchange, messages
    )


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[ConnectionPool]:
    pool = await asyncpg.create_pool(database_url, min_size=1, init=prepare_connection)
    now = datetime.now(UTC)
    await pool.executemany(
        "INSERT INTO messages"
        " (id, account_id, direction, status, segments, recipient, body, done_at)"
        " VALUES ($1, $2, 0, $3, 1, '+441632960001', 'hers', $4)",
        [(id, ACCOUNT, FINAL, now) for id in (INBOUND, REPLY, OTHER)],
    )
    yield pool
    await pool.close()


async def redact(pool: ConnectionPool, id: UUID) -> None:
    assert await message_changes.redact(pool, ACCOUNT, id, first_final=FINAL) is not None


async def store(pool: ConnectionPool, *given: Alert) -> set[str]:
    quoting = {alert.sid: alert.messages for alert in given if alert.messages}
    return await alerts.insert(pool, map(row_of, given), quoting)


async def quoting(pool: ConnectionPool) -> set[str]:
    """The SIDs of alerts in which a text still stands."""
    rows = await pool.fetch("SELECT * FROM alerts")
    return {row["sid"] for row in rows if "hers" in str(dict(row))}


def test_the_mark_is_the_same_here_and_there() -> None:
    assert ERASED == Flag.ERASED


async def test_what_is_written_after_an_erasure_quotes_nothing(pool: ConnectionPool) -> None:
    await redact(pool, INBOUND)
    given = [alert(1, INBOUND), alert(2, OTHER), alert(3, GONE), alert(4, OTHER, INBOUND), alert(5)]
    assert await store(pool, *given) == {"NO1", "NO3", "NO4"}
    assert await quoting(pool) == {"NO2", "NO5"}


async def test_what_was_written_before_it_is_erased_with_it(pool: ConnectionPool) -> None:
    of_before = alert(4, resource=f"SM{INBOUND.hex}")  # by a version that did not name messages
    given = [alert(1, INBOUND), alert(2, OTHER), alert(3, OTHER, INBOUND), of_before]
    assert not await store(pool, *given)
    await redact(pool, INBOUND)
    assert await quoting(pool) == {"NO2"}


@pytest.mark.parametrize("first", ["alert", "erasure"])
async def test_an_alert_without_an_exchange_is_erased_with_its_messages(
    pool: ConnectionPool, first: str
) -> None:
    given = [replace(alert(1, INBOUND), exchange=None), replace(alert(2, OTHER), exchange=None)]
    if first == "alert":
        assert not await store(pool, *given)
    await redact(pool, INBOUND)
    if first == "erasure":
        assert await store(pool, *given) == {"NO1"}
    assert await quoting(pool) == {"NO2"}
    row = await pool.fetchrow("SELECT * FROM alerts WHERE sid = 'NO1'")
    assert (row["text"], row["request_url"], row["request_variables"]) == ("", None, None)


async def test_what_is_told_of_an_erased_alert_is_what_is_stored(pool: ConnectionPool) -> None:
    """Of a URL the host and its port are left."""
    given = alert(1, INBOUND)
    await store(pool, given)
    await redact(pool, INBOUND)
    row = await pool.fetchrow("SELECT * FROM alerts")
    assert row["request_url"] == "http://app:80"
    told = given.without_texts()
    assert tuple(row[name] for name in alerts.COLUMNS[3:-2]) == row_of(told)[3:-2]


@pytest.mark.parametrize("first", ["alert", "erasure"])
@pytest.mark.parametrize("how", ["redacted", "deleted"])
async def test_a_reply_takes_what_the_alerts_of_its_inbound_message_quote(
    pool: ConnectionPool, first: str, how: str
) -> None:
    async with pool.acquire() as connection:
        await alerts.link_replies(connection, INBOUND, [REPLY])
    if first == "alert":
        assert not await store(pool, alert(1, INBOUND), alert(2, OTHER))
    if how == "redacted":
        await redact(pool, REPLY)
    else:
        assert await message_changes.delete(pool, ACCOUNT, REPLY, first_final=FINAL)
    if first == "erasure":
        assert await store(pool, alert(1, INBOUND), alert(2, OTHER)) == {"NO1"}
    assert await quoting(pool) == {"NO2"}


async def test_an_alert_waits_for_an_erasure_that_is_under_way(pool: ConnectionPool) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(message_changes.REDACT, INBOUND, ACCOUNT, FINAL)
        await alerts.erase(connection, [INBOUND])
        writing = asyncio.create_task(store(pool, alert(1, INBOUND)))
        await waits_for_a_lock(pool)
        assert not writing.done()
        await transaction.commit()
    assert await writing == {"NO1"}
    assert await quoting(pool) == set()


async def test_an_erasure_waits_for_an_alert_that_is_being_written(pool: ConnectionPool) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(alerts.EXCLUDE)
        await alerts.write(connection, [row_of(alert(1, INBOUND))])
        erasing = asyncio.create_task(redact(pool, INBOUND))
        await waits_for_a_lock(pool)
        assert not erasing.done()
        await transaction.commit()
    await erasing
    assert await quoting(pool) == set()


async def waits_for_a_lock(pool: ConnectionPool) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await waiting(pool):
            await asyncio.sleep(0.01)


async def waiting(pool: ConnectionPool) -> Any:
    return await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
