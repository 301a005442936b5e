"""Connections to apps' servers: both limits, who goes first, and that none is ever lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from testing import WAIT_S

from gateway.runtime.clock import SystemClock
from gateway.webhooks.connections import AppServer, Connections
from gateway.webhooks.host_queues import ACCOUNT_BOUND, HostQueues


def taken(order: list[int], account: int, needed: bool = True) -> bool:
    if needed:
        order.append(account)
    return needed


def test_an_account_gets_as_many_as_its_limit_and_not_one_more() -> None:
    connections = Connections(most=10, most_of_account=3)
    assert [connections.enter(1) for _ in range(4)] == [True, True, True, False]
    assert connections.enter(2)
    connections.leave(1)
    assert connections.enter(1)
    assert connections.under_way == 4


def test_all_accounts_together_get_as_many_as_the_total_and_not_one_more() -> None:
    connections = Connections(most=4, most_of_account=3)
    assert [connections.enter(account) for account in (1, 1, 1, 2)] == [True] * 4
    assert not connections.enter(2)
    assert not connections.enter(3)
    connections.leave(1)
    assert connections.enter(3)


def test_where_the_total_is_taken_who_has_least_under_way_goes_first() -> None:
    connections = Connections(most=4, most_of_account=4)
    for account in (1, 1, 1, 2):
        assert connections.enter(account)
    order: list[int] = []
    for account in (1, 1, 2, 3, 4):
        connections.wait(account, lambda account=account: taken(order, account))  # type: ignore[misc]
    for account in (1, 1, 1, 2):
        connections.leave(account)
    assert order == [3, 4, 1, 2]
    assert connections.waiting == 1


def test_who_needs_a_connection_no_more_passes_it_on() -> None:
    connections = Connections(most=1, most_of_account=1)
    order: list[int] = []
    assert connections.enter(1)
    connections.wait(2, lambda: False)
    connections.wait(3, lambda: taken(order, 3))
    connections.leave(1)
    assert order == [3]
    assert (connections.under_way, connections.of(2), connections.waiting) == (1, 0, 0)


@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.lists(st.tuples(st.booleans(), st.integers(1, 5), st.booleans()), max_size=80),
)
def test_no_limit_is_passed_nobody_waits_for_nothing_and_all_end(
    most: int, most_of_account: int, steps: list[tuple[bool, int, bool]]
) -> None:
    connections = Connections(most, most_of_account)
    under_way: list[int] = []
    waiting: Counter[int] = Counter()

    def granted(account: int, needed: bool) -> bool:
        waiting[account] -= 1
        return taken(under_way, account, needed)

    def check() -> None:
        of = Counter(under_way)
        assert connections.under_way == len(under_way) <= most
        assert all(connections.of(account) == of[account] <= most_of_account for account in of)
        assert connections.waiting == waiting.total()
        if len(under_way) < most:
            assert all(of[account] == most_of_account for account in +waiting)

    for begins, account, needed in steps:
        if begins and connections.enter(account):
            under_way.append(account)
        elif begins:
            waiting[account] += 1
            connections.wait(account, lambda a=account, n=needed: granted(a, n))  # type: ignore[misc]
        elif under_way:
            connections.leave(under_way.pop(0))
        check()
    while under_way:
        connections.leave(under_way.pop(0))
        check()
    assert not +waiting


async def test_one_that_is_given_up_while_it_waits_takes_nothing() -> None:
    connections = Connections(most=1, most_of_account=1)
    assert connections.enter(1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), connections.one(2):
            raise AssertionError("there was no room")
    connections.leave(1)
    assert connections.under_way == 0
    async with connections.one(2):
        assert connections.of(2) == 1
    assert connections.under_way == 0


def test_the_silent_receivers_that_are_known_are_bounded() -> None:
    connections = Connections(most_silent=2)
    for account in range(4):
        connections.heard(AppServer(account, "host"), answered=False)
    assert connections.silent == 2
    assert connections.is_silent(AppServer(3, "host"))
    connections.heard(AppServer(3, "host"), answered=True)
    assert connections.silent == 1


class Work:
    """Jobs (receiver, number) that end when the test says so."""

    def __init__(self, connections: Connections, per_host: int = 64) -> None:
        self.begun: list[AppServer] = []
        self.open: dict[AppServer, list[asyncio.Future[None]]] = {}
        self.changed = asyncio.Event()
        self.spilled = 0
        self.host_queues: HostQueues[tuple[AppServer, int]] = HostQueues(
            "test",
            SystemClock(),
            Random(1),
            connections,
            per_host=per_host,
            work=self._work,
            spilled=self._spilled,
            sweep=self._sweep,
            broke=lambda job, why: None,
        )

    async def _work(self, job: tuple[AppServer, int]) -> None:
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open.setdefault(job[0], []).append(end)
        self.begun.append(job[0])
        self.changed.set()
        await end

    def _spilled(self, job: tuple[AppServer, int]) -> None:
        self.spilled += 1

    async def _sweep(self) -> bool:
        return False

    def end(self, receiver: AppServer) -> None:
        self.open[receiver].pop(0).set_result(None)

    async def until(self, receiver: AppServer, number: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.begun.count(receiver) < number:
                self.changed.clear()
                await self.changed.wait()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_account_whose_servers_all_hang_leaves_the_others_theirs() -> None:
    connections = Connections(most=10, most_of_account=4)
    work = Work(connections)
    running = asyncio.create_task(work.host_queues.run())
    for number in range(1500):
        work.host_queues.line_up(
            AppServer(1, f"hangs-{number}"), (AppServer(1, f"hangs-{number}"), 0)
        )
    await settled()
    assert connections.of(1) == len(work.begun) == 4
    well = AppServer(2, "well")
    for number in range(20):
        work.host_queues.line_up(well, (well, number))
    for number in range(1, 21):
        await work.until(well, number)
        work.end(well)
    assert connections.of(1) == 4
    running.cancel()
    await asyncio.wait((running,))
    assert connections.under_way == 0


async def test_a_lane_with_much_to_do_makes_room_after_each_job() -> None:
    """Of the same account, and of another that has less."""
    connections = Connections(most=1, most_of_account=1)
    work = Work(connections)
    running = asyncio.create_task(work.host_queues.run())
    long, other, short = AppServer(1, "long"), AppServer(1, "other"), AppServer(2, "short")
    for number in range(10):
        work.host_queues.line_up(long, (long, number))
    await work.until(long, 1)
    work.host_queues.line_up(other, (other, 0))
    work.host_queues.line_up(short, (short, 0))
    for receiver, number in ((long, 1), (long, 2), (short, 1), (other, 1)):
        await work.until(receiver, number)
        work.end(receiver)
    await work.until(long, 3)
    running.cancel()
    await asyncio.wait((running,))


async def test_a_silent_receiver_gets_one_probe_at_a_time_until_it_answers() -> None:
    connections = Connections()
    work = Work(connections, per_host=8)
    receiver, elsewhere = AppServer(1, "silent"), AppServer(2, "silent")
    running = asyncio.create_task(work.host_queues.run())
    for number in range(40):
        work.host_queues.line_up(receiver, (receiver, number))
        work.host_queues.line_up(elsewhere, (elsewhere, number))
    await work.until(receiver, 8)
    connections.heard(receiver, answered=False)
    for _ in range(8):
        work.end(receiver)
    await work.until(receiver, 9)
    await settled()
    assert work.begun.count(receiver) == 9
    assert work.begun.count(elsewhere) == 8  # another account's calls to it are its own
    work.end(receiver)
    await work.until(receiver, 10)
    connections.heard(receiver, answered=True)
    work.end(receiver)
    await work.until(receiver, 18)
    running.cancel()
    await asyncio.wait((running,))


async def test_what_one_account_has_in_memory_is_bounded_over_all_its_servers() -> None:
    work = Work(Connections())
    for number in range(ACCOUNT_BOUND):
        receiver = AppServer(1, f"host-{number % 1000}")
        assert work.host_queues.line_up(receiver, (receiver, number))
    late = AppServer(1, "late")
    assert not work.host_queues.line_up(late, (late, 0))
    assert work.spilled == 1
    assert work.host_queues.line_up(AppServer(2, "late"), (AppServer(2, "late"), 0))
