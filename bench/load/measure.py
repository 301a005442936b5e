"""One run of one row on one side: how fast it was carried, and what it cost."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from bench.load.requests import Work
from bench.load.sides import Side
from bench.load.stage import POLL_S, RECEIPTED, SILENT, BenchError, Stage
from gateway.loadtest import schedule
from gateway.loadtest.generator import Generator, Plan, Result
from gateway.loadtest.sends import RECIPIENTS, Recipients, Sends

CARRY_S: Final = 180.0  # a run that is not carried by then ends the benchmark
CALLBACKS: Final = 2  # per message: taken by the carrier, and delivered
STILL_S: Final = 0.4
STILL_LOOKS: Final = 4  # so many such times in turn with next to no CPU: the work behind is done
STILL_SHARE: Final = 0.06  # of a core: an idle gateway with its database
SETTLE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Run:
    """What a side did with one load."""

    messages: int
    accepted_per_second: float
    # From the first request to the last submit_sm_resp, or the last callback.
    carried_per_second: float
    # User and system time of all its processes, its database among them, per message.
    cpu_us: float
    # Of the load generator, per request.
    generator_cpu_us: float
    percentiles_ms: dict[str, float]
    buckets: list[tuple[int, int]] = field(repr=False)

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "buckets"}


async def carry(
    side: Side, stage: Stage, work: Work, messages: int, connections: int, random: Random
) -> Run | None:
    """Send as fast as answers come; return when all is carried and written. None: not its work.

    Raises BenchError when something was refused or got lost.
    """
    sends = _sends(side, work, random)
    if sends is None:
        return None
    submits, callbacks = await stage.submits(), await stage.callbacks()
    before = side.cpu_s()
    result = await Generator(
        side.base_url, Plan(messages, connections, timeout_s=60.0), sends
    ).run()
    _check(side, result)
    try:
        async with asyncio.timeout(CARRY_S):
            while await stage.submits() < submits + messages:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(POLL_S)
            if work.callbacks:
                owed = callbacks + CALLBACKS * messages
                while await stage.callbacks() < owed:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise BenchError(
            f"{side.name}: {await stage.submits() - submits} submits and"
            f" {await stage.callbacks() - callbacks} callbacks of {messages} messages"
            f" after {CARRY_S:.0f} s"
        ) from None
    elapsed_s = time.monotonic() - result.started_at
    await settled(side)
    return _run(result, messages, messages / elapsed_s, side.cpu_s() - before)


async def at_rate(
    side: Side,
    stage: Stage,
    work: Work,
    per_second: float,
    seconds: float,
    connections: int,
    random: Random,
) -> Run | None:
    """Send at a rate, as callers who know nothing of each other; the latencies are what counts."""
    sends = _sends(side, work, random)
    if sends is None:
        return None
    requests = max(int(per_second * seconds / sends.bulk), 1)
    times = schedule.poisson(per_second / sends.bulk, requests, random)
    messages = requests * sends.bulk
    before = side.cpu_s()
    plan = Plan(messages, connections, times, timeout_s=60.0)
    result = await Generator(side.base_url, plan, sends).run()
    _check(side, result)
    await settled(side)
    return _run(result, messages, result.accepted_per_second, side.cpu_s() - before)


async def settled(side: Side) -> None:
    """Return when a side does next to nothing: what is written behind is written.

    Waiting for a slow disk takes no CPU either, and is not the end of it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLE_S
    before, still = side.cpu_s(), 0
    while loop.time() < deadline and still < STILL_LOOKS:
        await asyncio.sleep(STILL_S)
        now = side.cpu_s()
        still = still + 1 if now - before <= STILL_S * STILL_SHARE else 0
        before = now


def _sends(side: Side, work: Work, random: Random) -> Sends | None:
    prefix = RECEIPTED if work.callbacks else SILENT
    return side.sends(work, Recipients(prefix, random.randrange(RECIPIENTS)))


def _check(side: Side, result: Result) -> None:
    if not result.clean:
        refused = ", ".join(f"{n} with {key}" for key, n in result.refused.most_common(3))
        raise BenchError(f"{side.name}: {result.unanswered} unanswered, refused: {refused or 0}")


def _run(result: Result, messages: int, carried_per_second: float, cpu_s: float) -> Run:
    latency = result.latency
    return Run(
        messages,
        result.accepted_per_second,
        carried_per_second,
        cpu_s / messages * 1e6,
        result.cpu_us,
        {f"p{percent:g}": latency.percentile_ms(percent) for percent in (50, 90, 99, 99.9)},
        list(latency.buckets()),
    )
