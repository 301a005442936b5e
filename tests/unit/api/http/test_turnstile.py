"""Lists wait for their turn: so many of an account at once, first come, first served."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.http.errors import ApiError
from gateway.api.http.limits import Turnstile

A, B, C, D = 1, 2, 3, 4


class Crowd:
    """Those who want a turn, and who has one."""

    def __init__(self, turnstile: Turnstile) -> None:
        self.inside: list[str] = []
        self._turnstile = turnstile
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, account: int, name: str) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._one(account, name))
        await self._settle()

    async def leaves(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await self._settle()

    async def gives_up(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await self._settle()

    async def _one(self, account: int, name: str) -> None:
        async with self._turnstile.turn(account):
            self.inside.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.inside.remove(name)

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_an_account_has_so_many_turns_and_the_others_of_it_wait_in_order() -> None:
    turnstile = Turnstile(2, 10, 5)
    crowd = Crowd(turnstile)
    for name in ("a1", "a2", "a3", "a4"):
        await crowd.comes(A, name)
    await crowd.comes(B, "b1")
    assert crowd.inside == ["a1", "a2", "b1"]
    await crowd.leaves("a2")
    assert crowd.inside == ["a1", "b1", "a3"]
    for name in ("a1", "b1", "a3", "a4"):
        await crowd.leaves(name)
    assert turnstile.idle


async def test_accounts_take_turns_at_what_all_share() -> None:
    turnstile = Turnstile(2, 10, 3)
    crowd = Crowd(turnstile)
    for account, letter in ((A, "a"), (B, "b"), (C, "c"), (D, "d")):
        for number in range(3):
            await crowd.comes(account, f"{letter}{number}")
    assert crowd.inside == ["a0", "a1", "b0"]
    order = []
    for _ in range(9):
        first = crowd.inside[0]
        await crowd.leaves(first)
        order.append(crowd.inside[-1])
    assert {name[0] for name in order[:4]} == {"a", "b", "c", "d"}
    assert sorted(order) == ["a2", "b1", "b2", "c0", "c1", "c2", "d0", "d1", "d2"]
    while crowd.inside:
        await crowd.leaves(crowd.inside[0])
    assert turnstile.idle


async def test_who_gives_up_keeps_nobody_waiting() -> None:
    turnstile = Turnstile(1, 10, 5)
    crowd = Crowd(turnstile)
    for name in ("a1", "a2", "a3", "a4"):
        await crowd.comes(A, name)
    await crowd.gives_up("a2")
    crowd._ends["a1"].set()  # a3 is given the turn, and is gone at the same moment
    await asyncio.sleep(0)
    await crowd.gives_up("a3")
    assert crowd.inside == ["a4"]
    await crowd.leaves("a4")
    assert turnstile.idle


async def test_one_too_many_that_wait_is_refused() -> None:
    turnstile = Turnstile(1, 1, 5)
    crowd = Crowd(turnstile)
    await crowd.comes(A, "a1")
    await crowd.comes(A, "a2")
    with pytest.raises(ApiError, match="1 lists wait") as caught:
        async with turnstile.turn(A):
            pass
    assert (caught.value.status, caught.value.code) == (429, 20429)
    await crowd.comes(B, "b1")
    assert crowd.inside == ["a1", "b1"]
