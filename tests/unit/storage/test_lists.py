"""Lists of messages: what a plain query would find, however they are read."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from databases import Databases

from storage import messages, partitions
from storage.database import open_connection, prepare_connection
from storage.lists import BY_INDEX, Lists, ListTooLong
from storage.migrate import migrate

pytestmark = pytest.mark.slow

TODAY = date(2026, 11, 24)
BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROWS = 400
ACCOUNT, OTHER = 1, 2
NUMBERS = ("+441632960001", "+441632960002", "+441632960003")
NOBODY = "+441632000000"

INSERT = """
INSERT INTO messages (id, account_id, service_id, direction, status, segments, sent_at,
                      recipient, sender, body, operation_id)
SELECT u.*, 'x', NULL FROM unnest($1::uuid[], $2::int[], $3::int[], $4::smallint[],
                            $5::smallint[], $6::smallint[], $7::timestamptz[], $8::text[],
                            $9::text[]) AS u
"""


def _row(random: Random, at: datetime) -> tuple[Any, ...]:
    id = UUID(int=(int(at.timestamp() * 1000) << 80) | random.getrandbits(80))
    later = timedelta(seconds=random.choice((0, 0.4, 30, 40 * 3600)))
    return (
        id,
        random.choice((ACCOUNT, ACCOUNT, ACCOUNT, OTHER)),
        random.choice((None, 7, 8)),
        random.choice((0, 1)),
        5,
        1,
        random.choice((None, at + later, at + later)),
        random.choice(NUMBERS),
        random.choice((None, *NUMBERS)),
    )


@pytest.fixture(scope="module")
async def pool(databases: Databases) -> AsyncIterator[Any]:
    """Three and a half days of messages: two that are over and have indexes, one that has one of
    the two, the day that is written, and some in no day's partition.
    """
    url = await databases.take()
    async with asyncpg.create_pool(url, min_size=1, max_size=2, init=prepare_connection) as some:
        async with some.acquire() as connection:
            for day in (22, 24):
                await partitions.ensure_partitions(connection, date(2026, 11, day))
            random = Random(5)
            spans = sorted(random.uniform(0, 3.5 * 86_400) for _ in range(ROWS))
            rows = [_row(random, BEGIN + timedelta(seconds=span)) for span in spans]
            rows += [_row(random, BEGIN - timedelta(days=30, seconds=n)) for n in range(20)]
            await connection.execute(INSERT, *map(list, zip(*rows, strict=True)))
            await partitions.index_past_days(connection, TODAY)
            await connection.execute("DROP INDEX messages_20261122_sender")
        yield some
    databases.give_back(url)


async def _plainly(pool: Any, back: bool, most: int, before: Any, **filters: Any) -> list[UUID]:
    rows = await pool.fetch("SELECT * FROM messages WHERE account_id = $1 ORDER BY id", ACCOUNT)

    def wanted(row: Any) -> bool:
        sent, since, until = row["sent_at"], filters["sent_from"], filters["sent_before"]
        return (
            all(
                filters[name] in (None, row[name]) for name in ("service_id", "recipient", "sender")
            )
            and (since is None or (sent is not None and sent >= since))
            and (until is None or (sent is not None and sent < until))
            and (before is None or (row["id"] > before if back else row["id"] < before))
        )

    found = [row["id"] for row in rows if wanted(row)]
    return (found if back else found[::-1])[:most]


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=lambda size: f"slices of {size}")
async def test_a_list_is_what_a_plain_query_would_find(pool: Any, size: int) -> None:
    """Of each filter, both ways, from any row; over days with an index and without."""
    lists, random = Lists(pool, 60.0, size), Random(size)
    ids = [row["id"] for row in await pool.fetch("SELECT id FROM messages ORDER BY id")]
    moments = (None, BEGIN + timedelta(days=1), BEGIN + timedelta(days=3))
    every = list(
        itertools.product(
            (None, 7), (None, NUMBERS[0], NOBODY), (None, NUMBERS[1]), moments, moments
        )
    )
    for filters in random.sample(every, 12 if size == 1 else 40):
        names = ("service_id", "recipient", "sender", "sent_from", "sent_before")
        given = dict(zip(names, filters, strict=True))
        for back in (False, True):
            before = random.choice(ids) if back else random.choice((None, *random.sample(ids, 3)))
            most = random.choice((1, 2, 11, 1_001))
            found = await messages.page(
                lists, ACCOUNT, most=most, before=before, back=back, **given
            )
            expected = await _plainly(pool, back, most, before, **given)
            assert [row["id"] for row in found] == expected, (given, back, before, most)


async def test_only_days_that_are_over_have_indexes_for_lists(pool: Any) -> None:
    found = await pool.fetch(
        "SELECT tablename, indexname FROM pg_indexes WHERE indexname ~ '[0-9]_(recipient|sender)$'"
    )
    assert {row["tablename"] for row in found} == {
        "messages_20261121",
        "messages_20261122",
        "messages_20261123",
    }
    stretches = await partitions.indexed_stretches(Lists(pool, 60.0))
    assert [messages.Stretch(*ids) for ids in stretches] == [
        messages.Stretch(_first(21), _first(22) - 1),
        messages.Stretch(_first(23), _first(24) - 1),
    ]


def _first(day: int) -> int:
    return partitions.lower_bound(date(2026, 11, day)).int


async def test_a_filter_reads_a_day_that_is_over_by_its_index(pool: Any) -> None:
    """However little the server knows of the day."""
    day = datetime(2026, 11, 23, tzinfo=UTC)
    random = Random(3)
    rows = [
        (_row(random, day + timedelta(seconds=n))[0], 3, None, 1, 5, 1, None, NUMBERS[0], None)
        for n in range(3_000)
    ]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(INSERT, *map(list, zip(*rows, strict=True)))
        await connection.execute(BY_INDEX)
        statement = messages.ALL_OF.format(fits="recipient = $4", order="DESC", most=50)
        bounds = UUID(int=_first(23)), UUID(int=_first(24) - 1)
        plan = await connection.fetch("EXPLAIN " + statement, 3, *bounds, NOBODY)
    assert "messages_20261123_recipient" in "\n".join(row[0] for row in plan)


async def test_an_index_that_an_attempt_left_broken_is_made_anew(
    empty_database_url: str,
) -> None:
    connection = await open_connection(empty_database_url)
    await migrate(connection)
    await partitions.ensure_partitions(connection, TODAY)
    for id in (1, 2):
        await connection.execute(
            "INSERT INTO messages (id, account_id, direction, status, segments, recipient, body)"
            " VALUES ($1, 1, 1, 0, 1, '+1', 'x')",
            UUID(int=_first(23) + id),
        )
    with pytest.raises(asyncpg.UniqueViolationError):  # which leaves it there, not valid
        await connection.execute(
            "CREATE UNIQUE INDEX CONCURRENTLY messages_20261123_recipient"
            " ON messages_20261123 (recipient)"
        )
    for _ in range(2):
        await partitions.index_past_days(connection, TODAY)
        made = await connection.fetch(
            "SELECT indexdef FROM pg_indexes JOIN pg_index"
            " ON indexrelid = indexname::regclass WHERE indisvalid AND NOT indisunique"
            " AND tablename = 'messages_20261123' AND indexname ~ '_(recipient|sender)$'"
        )
        assert sorted(row[0].partition("btree")[2] for row in made) == [
            " (account_id, recipient, id)",
            " (account_id, sender, id)",
        ]
    await connection.close()


async def test_one_process_makes_indexes_at_a_time(pool: Any) -> None:
    async with pool.acquire() as first, pool.acquire() as second:
        await first.execute("SELECT pg_advisory_lock($1)", partitions.INDEX_LOCK)
        await partitions.index_past_days(second, date(2026, 11, 25))
        assert await second.fetchval("SELECT to_regclass('messages_20261124_sender')") is None
        await first.execute("SELECT pg_advisory_unlock($1)", partitions.INDEX_LOCK)


async def test_a_list_ends_when_its_time_is_over(pool: Any) -> None:
    """One statement that takes too long, and many that do together."""
    lists = Lists(pool, 0.05)
    with pytest.raises(ListTooLong):
        await lists.fetch("SELECT pg_sleep(60)")
    assert await pool.fetchval("SHOW statement_timeout") == "0"  # the pool's others have none
    with pytest.raises(ListTooLong):
        await messages.page(Lists(pool, 1e-9, 1), ACCOUNT, most=5, sent_from=BEGIN)
