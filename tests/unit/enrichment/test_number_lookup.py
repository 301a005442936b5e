"""The operator's carrier lookup: one question per number, a bounded cache, no waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hooks import Hooks, says, status

from gateway.enrichment.number_lookup import FAILED_KEEP_S, NumberLookup

NUMBER = "+447400123456"


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Raised(list[int]):
    """Takes the place where alerts are raised."""

    def alert(self, code: int, text: str, **more: Any) -> None:
        self.append(code)


clock, raised = Clock(), Raised()


@pytest.fixture
async def lookup(hooks: Hooks) -> AsyncIterator[NumberLookup]:
    raised.clear()
    one = NumberLookup(
        hooks.url("/dip/{number}"),
        clock,
        raised,  # type: ignore[arg-type]
        timeout_s=0.2,
        most=2,
        keep_s=3_600,
    )
    async with one:
        yield one


async def test_an_answer_is_kept(lookup: NumberLookup, hooks: Hooks) -> None:
    hooks.answers[f"/dip/{NUMBER}"] = says('{"carrier": "One"}', "application/json")
    assert lookup.known(NUMBER) is None
    assert await asyncio.gather(*(lookup.carrier(NUMBER) for _ in range(5))) == ["One"] * 5
    assert lookup.known(NUMBER) == "One"
    assert len(hooks.taken) == 1
    clock.now += 3_600
    assert lookup.known(NUMBER) is None


async def test_the_cache_is_bounded(lookup: NumberLookup, hooks: Hooks) -> None:
    for number in ("+441", "+442", "+443"):
        hooks.answers[f"/dip/{number}"] = says('{"carrier": null}', "application/json")
        assert await lookup.carrier(number) == ""
    assert [lookup.known(number) for number in ("+441", "+442", "+443")] == [None, "", ""]
    assert raised == []


async def hangs(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    "answer",
    [hangs, status(500), says("nonsense"), says('{"carrier": 5}')],
    ids=["silence", "an error", "no JSON", "no text"],
)
async def test_a_failure_is_an_unknown_carrier_for_a_minute(
    lookup: NumberLookup, hooks: Hooks, answer: Any
) -> None:
    hooks.answers[f"/dip/{NUMBER}"] = answer
    assert await lookup.carrier(NUMBER) == ""
    clock.now += FAILED_KEEP_S - 1
    assert lookup.known(NUMBER) == ""
    clock.now += 1
    assert lookup.known(NUMBER) is None
    assert raised == [11200]
