"""Whose events of conversations are told next, on a real Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage import conversation_events as rows
from storage.database import ConnectionPool, prepare_connection

MANY, FEW = 1, 2  # accounts


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[ConnectionPool]:
    async with asyncpg.create_pool(
        database_url, min_size=1, max_size=2, init=prepare_connection
    ) as some:
        yield some


async def owe(pool: ConnectionPool, account_id: int, conversations: range, each: int = 1) -> None:
    async with pool.acquire() as connection:
        for conversation in conversations:
            for _ in range(each):
                await rows.insert(connection, conversation, account_id, "http://a/", "POST", [])


async def claimed(pool: ConnectionPool, most: int, under_way: dict[int, int]) -> Counter[int]:
    events = await rows.claim(pool, most, 16, under_way)
    assert len({event["conversation_id"] for event in events}) == len(events)
    return Counter(event["account_id"] for event in events)


async def test_an_account_has_as_many_under_way_as_its_limit_and_not_one_more(
    pool: ConnectionPool,
) -> None:
    await owe(pool, MANY, range(40), each=2)
    await owe(pool, FEW, range(100, 103))
    assert await claimed(pool, 64, {}) == {MANY: 16, FEW: 3}
    assert await claimed(pool, 64, {MANY: 16, FEW: 3}) == {}
    assert await claimed(pool, 64, {MANY: 15}) == {MANY: 1}
    assert await claimed(pool, 64, {}) == {MANY: 16}


async def test_where_there_is_room_for_few_accounts_take_turns(pool: ConnectionPool) -> None:
    await owe(pool, MANY, range(40))
    await owe(pool, FEW, range(100, 103))
    assert await claimed(pool, 4, {}) == {MANY: 2, FEW: 2}
    assert await claimed(pool, 4, {MANY: 8}) == {FEW: 1, MANY: 3}
