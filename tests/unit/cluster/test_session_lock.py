"""The right to a database, on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from testing import WAIT_S

from gateway.cluster.session_lock import GatewayLock, TakenOver, WorkerIdentity, keys_of
from gateway.cluster.worker_slot import WorkerSlot
from storage import session_lock
from storage.database import Connection, open_connection


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Connection]:
    connection = await open_connection(database_url)
    yield connection
    await connection.close()


async def gets(one: GatewayLock) -> None:
    await asyncio.wait_for(one.wait(), WAIT_S)
    assert one.held


async def has(one: GatewayLock) -> bool:
    """Whether it gets the right though another has it."""
    waiting = asyncio.create_task(one.wait())
    await asyncio.wait((waiting,), timeout=0.3)
    waiting.cancel()
    return one.held


async def end_holder(server: Connection) -> None:
    """As an administrator, or a server that restarts, does."""
    [holder, *_] = await session_lock.holders(server)
    await session_lock.end_session(server, holder.pid)


async def test_one_has_it_and_the_other_follows(database_url: str) -> None:
    first, second = (GatewayLock(database_url, n, keys_of(None)) for n in (1, 2))
    await first.wait()
    assert not await has(second)
    waiting = asyncio.create_task(second.wait())
    first.close()
    await asyncio.wait_for(waiting, WAIT_S)
    assert second.held
    second.close()


async def test_a_gateway_excludes_its_like_and_the_first_of_workers(
    database_url: str, tmp_path: object
) -> None:
    whole = GatewayLock(database_url, 10, keys_of(None))
    await whole.wait()
    supervisor = GatewayLock(database_url, 11, keys_of(None)[:1])
    [zero, one] = (
        GatewayLock(database_url, 20 + n, keys_of(WorkerIdentity(WorkerSlot(n, 2), tmp_path)))  # type: ignore[arg-type]
        for n in range(2)
    )
    assert not await has(supervisor)
    assert not await has(zero)
    whole.close()
    for each in (supervisor, zero, one):
        await gets(each)
    for each in (supervisor, zero, one):
        each.close()


async def test_those_who_share_exclude_only_those_who_do_not(database_url: str) -> None:
    shared = [GatewayLock(database_url, n, keys_of(None), shared=True) for n in (1, 2)]
    for one in shared:
        await gets(one)
    whole = GatewayLock(database_url, 10, keys_of(None))
    assert not await has(whole)
    for one in (*shared, whole):
        one.close()


async def test_a_session_that_ends_is_renewed_and_nothing_is_given_out_meanwhile(
    database_url: str, server: Connection
) -> None:
    one = GatewayLock(database_url, 1, keys_of(None))
    await one.wait()
    heard: list[bool] = []
    again = asyncio.Event()

    def changed(held: bool) -> None:
        heard.append(held)
        if held:
            again.set()

    one.changed = changed
    keeping = asyncio.create_task(one.run())
    await asyncio.sleep(0)
    await end_holder(server)
    await asyncio.wait_for(again.wait(), WAIT_S)
    assert heard == [False, True]
    keeping.cancel()
    one.close()


async def test_who_finds_another_there_ends(database_url: str, server: Connection) -> None:
    first = GatewayLock(database_url, 1, keys_of(None))
    await first.wait()
    heard: list[bool] = []
    first.changed = heard.append
    other = await session_lock.open_session(database_url, 2)
    taking = asyncio.create_task(  # it stands in line, so the lock is its own at once
        other.execute(
            "SELECT pg_advisory_lock($1, $2)", session_lock.LOCK_CLASS, session_lock.GATEWAY
        )
    )
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await server.fetchval(waits):
        pass
    await end_holder(server)
    await taking
    with pytest.raises(TakenOver, match="tandem/2/tenure"):
        await asyncio.wait_for(first.run(), 60)
    assert heard == [False]
    first.close()
    await other.close()


async def test_a_former_session_of_ours_is_ended(database_url: str, server: Connection) -> None:
    """Its connection broke, and the server does not know: it holds our own lock against us."""
    ghost = await session_lock.open_session(database_url, 1)
    assert await session_lock.take(ghost, keys_of(None))
    one = GatewayLock(database_url, 1, keys_of(None))
    await asyncio.wait_for(one.wait(), WAIT_S)
    [holder, *_] = await session_lock.holders(server)
    assert holder.name == "tandem/1/tenure"
    one.close()
    ghost.terminate()
