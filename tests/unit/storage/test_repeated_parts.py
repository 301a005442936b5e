"""Inbound parts that a delivery may repeat: found by their octets, whatever else is unanswered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from storage import deliveries
from storage.database import Connection

PAIR = (1, "+447700900500", "+447700900101")
LIVE, GONE = "run:simulator/1#2", "run:simulator/1#1"
NOW = datetime.now(UTC)
SINCE = NOW - timedelta(minutes=10)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


async def put(
    connection: Connection, digest: bytes, name: str, numbers: range, *, part: int = 1
) -> None:
    rows = [
        (
            *(UUID(int=(hash((digest, name, part)) % 2**60 << 64) + number), *PAIR, 7, 2, part),
            *(digest, name, 0, 0, b"", b"", NOW, None, number, 1, 1, 1, 1),
        )
        for number in numbers
    ]
    await deliveries.insert_parts(connection, rows)


async def found(connection: Connection, digest: bytes, most: int) -> list[int]:
    wanted = [(*PAIR, digest, 7, 2, 1, most)]
    rows = await deliveries.gone_parts(connection, wanted, [LIVE], SINCE)
    return [row["number"] for row in rows]


async def test_what_has_other_words_is_not_read(connection: Connection) -> None:
    for n in range(40):
        await put(connection, b"%d" % n, GONE, range(50))
    await put(connection, b"mine", GONE, range(3))
    assert await found(connection, b"mine", 10) == [0, 1, 2]
    assert await found(connection, b"new", 10) == []


async def test_as_many_are_read_as_may_be_repeated_oldest_first(connection: Connection) -> None:
    await put(connection, b"same", GONE, range(500))
    assert await found(connection, b"same", 2) == [0, 1]


async def test_what_a_connection_has_that_is_alive_is_no_repetition(
    connection: Connection,
) -> None:
    await put(connection, b"same", LIVE, range(500))
    await put(connection, b"same", GONE, range(500, 501))
    await put(connection, b"same", GONE, range(501, 502), part=2)
    assert await found(connection, b"same", 5) == [500]


async def test_a_delivery_is_found_itself_by_its_connection_and_number(
    connection: Connection,
) -> None:
    await put(connection, b"same", LIVE, range(500))
    wanted = [(*PAIR, b"same", LIVE, 7), (*PAIR, b"same", LIVE, 500), (*PAIR, b"same", GONE, 7)]
    rows = await deliveries.same_parts(connection, wanted, SINCE)
    assert [(row["place"], row["number"]) for row in rows] == [(1, 7)]


async def test_an_answer_that_arrived_settles_its_own_delivery(connection: Connection) -> None:
    await put(connection, b"same", GONE, range(3))
    await deliveries.settle_parts(connection, [(*PAIR[1:], GONE, "run.x", 1, b"same")])
    await deliveries.settle_parts(connection, [(*PAIR[1:], GONE, "run.x", 2, b"other")])
    assert await found(connection, b"same", 5) == [0, 2]
