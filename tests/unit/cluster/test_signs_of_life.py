"""Who gives signs of life keeps the right; who gives none loses it before another takes it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from testing import until

from gateway.cluster.session_lock import (
    GAP_S,
    HOLDER_S,
    TAKER_S,
    GatewayLock,
    Lookout,
    TakenOver,
    elapsed,
    keys_of,
    new_run,
)
from storage import session_lock
from storage.database import Connection, Database, open_connection

PATIENCE_S = 120.0

StartTenure = Callable[..., Awaitable[GatewayLock]]


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Connection]:
    connection = await open_connection(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def start_tenure(database_url: str) -> AsyncIterator[StartTenure]:
    """Waits until one has the right."""
    some: list[GatewayLock] = []

    async def start(
        run: int, now: Callable[[], float] = elapsed, *, shared: bool = False
    ) -> GatewayLock:
        one = GatewayLock(database_url, run, keys_of(None), shared=shared, now=now)
        some.append(one)
        await asyncio.wait_for(one.wait(), PATIENCE_S)
        return one

    yield start
    for one in some:
        one.close()


def seen(*looks: tuple[float, int]) -> Lookout:
    """What somebody saw of run 1: when, and how many signs."""
    lookout = Lookout()
    for at, signs in looks:
        lookout.saw({1: signs}, at)
    return lookout


def steadily(until_s: float, signs: Callable[[float], int]) -> Lookout:
    return seen(*((at / 4, signs(at / 4)) for at in range(int(until_s * 4) + 1)))


def test_a_run_whose_signs_stand_still_for_long_enough_is_silent() -> None:
    assert not steadily(2.5, lambda at: 7).silent(1, 2.5)
    assert steadily(3.0, lambda at: 7).silent(1, TAKER_S)


def test_one_that_counts_on_is_not_and_neither_is_one_that_was_never_seen() -> None:
    lookout = steadily(60.0, lambda at: int(at / 2))
    assert not lookout.silent(1, 60.0)
    assert not lookout.silent(2, 1e9)
    assert not lookout.silent(None, 1e9)  # an older version, or an operator's command


def test_whoever_had_no_answer_meanwhile_has_seen_nothing() -> None:
    """The server stood still, or the one who looks: for both it looks as if the other did."""
    looks = [(0.0, 7), (0.5, 7), (0.5 + GAP_S + 2.0, 7)]
    assert not seen(*looks).silent(1, 3.6)
    assert seen(*looks, *((3.5 + n / 4, 7) for n in range(12))).silent(1, 3.5 + TAKER_S)


def test_a_run_that_gave_its_first_sign_late_is_waited_for_from_then_on() -> None:
    lookout = steadily(3.0, lambda at: 7)
    lookout.saw({1: 8}, 3.1)
    assert not lookout.silent(1, 5.0)
    lookout.saw({}, 5.1)
    lookout.saw({1: 8}, 5.2)  # after a crash of the server all begin anew
    assert not lookout.silent(1, 6.0)


def test_the_holder_stops_before_the_taker_may_begin() -> None:
    """With room for a clock that is a fifth too fast, and another as much too slow."""
    assert HOLDER_S * 1.2 < TAKER_S * 0.8


def test_each_life_of_a_process_has_a_number_of_its_own() -> None:
    runs = {new_run() for _ in range(1_000)}
    assert len(runs) == 1_000
    assert all(0 < run < session_lock.MOST_RUN for run in runs)


async def test_a_holder_that_is_frozen_is_taken_over_and_all_its_sessions_end(
    database_url: str, server: Connection, start_tenure: StartTenure
) -> None:
    frozen = await session_lock.open_session(database_url, 1)
    assert await session_lock.take(frozen, keys_of(None))
    await session_lock.sign(frozen, 1)
    accepting = await Database(database_url, 1, lambda: True).open("accept")
    await accepting.execute("SELECT pg_advisory_lock(7400, 5)")  # of a recipient
    await start_tenure(2)
    [holder, *_] = await session_lock.holders(server)
    assert holder.run == 2
    assert await server.fetchval("SELECT pg_try_advisory_lock(7400, 5)")
    await until(lambda: frozen.is_closed() and accepting.is_closed(), seconds=PATIENCE_S)


async def test_a_holder_that_lives_is_waited_for(
    server: Connection, start_tenure: StartTenure
) -> None:
    first = await start_tenure(1)
    second = asyncio.create_task(start_tenure(2))
    signs = "SELECT n FROM beats WHERE run = 1"
    begun = await server.fetchval(signs)
    async with asyncio.timeout(PATIENCE_S):
        while await server.fetchval(signs) < begun + 8:  # longer than TAKER_S
            await asyncio.sleep(0.05)
    assert first.confirmed()
    assert not second.done()
    first.close()
    await second


async def test_a_former_version_that_gives_no_signs_is_waited_for(
    database_url: str, server: Connection, start_tenure: StartTenure
) -> None:
    old = await open_connection(database_url)
    await old.execute("SELECT set_config('application_name', 'tandem 5f0c9a1e', false)")
    assert await session_lock.take(old, keys_of(None))
    second = asyncio.create_task(start_tenure(2))
    await asyncio.wait((second,), timeout=TAKER_S + 0.5)
    assert not second.done()
    assert not old.is_closed()
    await old.close()
    await second


async def test_what_is_not_confirmed_is_told_at_once_and_confirmed_again_by_the_next_answer(
    start_tenure: StartTenure,
) -> None:
    """The process stood still: by its clock, longer than it may work without an answer."""
    ahead = 0.0
    one = await start_tenure(1, lambda: elapsed() + ahead)
    heard: list[bool] = []
    one.changed = heard.append
    assert one.confirmed()
    ahead = HOLDER_S
    assert not one.confirmed()
    await until(one.confirmed, seconds=PATIENCE_S)
    await until(lambda: heard == [True], seconds=PATIENCE_S)  # the session was never given up


async def test_a_session_that_does_not_answer_is_given_up(
    server: Connection, start_tenure: StartTenure
) -> None:
    one = await start_tenure(1)
    heard: list[bool] = []
    one.changed = heard.append
    async with server.transaction():
        await server.execute("LOCK TABLE beats IN ACCESS EXCLUSIVE MODE")
        await until(lambda: heard[:1] == [False], seconds=PATIENCE_S)
        assert not one.confirmed()
    await until(one.confirmed, seconds=PATIENCE_S)


async def test_whoever_comes_back_and_hears_that_another_worked_meanwhile_ends(
    database_url: str, server: Connection, start_tenure: StartTenure
) -> None:
    """The other has ended, too, so that the lock is free: but what is in memory is old."""
    one = await start_tenure(1)
    other = await session_lock.open_session(database_url, 2)
    await session_lock.note(other, keys_of(None), 2)
    await other.close()
    [holder, *_] = await session_lock.holders(server)
    await session_lock.end_session(server, holder.pid)
    with pytest.raises(TakenOver, match="run 2 has worked"):
        await asyncio.wait_for(one.run(), PATIENCE_S)
    assert not one.confirmed()


async def test_after_a_crash_of_the_server_which_forgets_the_signs_its_gateway_goes_on(
    server: Connection, start_tenure: StartTenure
) -> None:
    one = await start_tenure(1)
    await server.execute("TRUNCATE beats")
    [holder, *_] = await session_lock.holders(server)
    await session_lock.end_session(server, holder.pid)
    await until(lambda: not one.held, seconds=PATIENCE_S)
    await until(one.confirmed, seconds=PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):  # it writes itself down with its next sign
        while await server.fetchval("SELECT n FROM beats WHERE run = -1") != 1:
            await asyncio.sleep(0.02)


async def test_who_takes_the_right_ends_what_former_runs_left_and_nothing_else(
    database_url: str, server: Connection, start_tenure: StartTenure
) -> None:
    gone = Database(database_url, 1, lambda: True)
    left = [await gone.open(stage) for stage in ("accept", "write", "pool")]
    kept = [
        await session_lock.open_session(database_url, 3),  # one that stands by
        await open_connection(database_url),  # an operator's command
        await Database(database_url, 2, lambda: True).open("start"),
    ]
    await start_tenure(2)
    await until(lambda: all(one.is_closed() for one in left), seconds=PATIENCE_S)
    for one in (*kept, server):
        assert await one.fetchval("SELECT 1") == 1
    for one in kept:
        await one.close()


async def test_those_who_share_end_nothing_of_each_other(
    database_url: str, start_tenure: StartTenure
) -> None:
    await start_tenure(1, shared=True)
    other = await Database(database_url, 5, lambda: True).open("accept")
    await start_tenure(2, shared=True)
    assert await other.fetchval("SELECT 1") == 1
    await other.close()


async def test_before_the_first_migration_the_lock_alone_is_the_right(
    empty_database_url: str,
) -> None:
    one = GatewayLock(empty_database_url, 1, keys_of(None))
    await one.wait()
    await asyncio.sleep(0)
    assert one.confirmed()
    one.close()


async def test_a_run_that_has_lost_the_right_opens_no_session(database_url: str) -> None:
    answers = itertools.chain([True, True], itertools.repeat(False))
    database = Database(database_url, 1, lambda: next(answers))
    await (await database.open("accept")).close()
    pool = await database.open_pool(most=2)  # opens one
    async with pool.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
        with pytest.raises(ConnectionError, match="not confirmed"):
            await pool.acquire()
    with pytest.raises(ConnectionError, match="not confirmed"):
        await database.open("accept")
    pool.terminate()
