"""`python -m bench lists`: what one tenant's lists cost another.

One account has hundreds of thousands of messages of today, and forty callers that ask for those to
a number that nobody has: each looks at all of them. Another account asks for its newest message
meanwhile, one request after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import aiohttp
import uvloop

from bench.load.scale import store
from bench.load.sides import Tandem
from bench.load.stage import BenchError, Stage
from gateway.playground.world import until_terminated

NOBODY: Final = "%2B441632000000"
ALONE: Final = 100  # requests of the other account before and while
MOST_S: Final = 0.050


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench lists", description=__doc__)
    parser.add_argument("--stored", type=int, default=400_000)
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=Path(".tandem"), help="for the data")
    parsed = parser.parse_args()
    try:
        return uvloop.run(until_terminated(lambda: _run(parsed), 130))
    except BenchError as error:
        print(f"bench lists: {error}", file=sys.stderr)
        return 1


async def _run(parsed: argparse.Namespace) -> int:
    async with Stage(parsed.folder) as stage:
        return await stage.guard(_measure(parsed, stage))


async def _measure(parsed: argparse.Namespace, stage: Stage) -> int:
    tandem = Tandem(stage, "lists")
    tandem.database_url = await stage.database("bench_lists")
    await store(tandem.database_url, parsed.stored)
    await tandem.start()
    heavy = f"/2010-04-01/Accounts/{tandem.account_sid}/Messages.json?To={NOBODY}"
    async with tandem.session() as session, tandem.session() as others:
        async with session.post("/2010-04-01/Accounts.json", data={}) as response:
            other = await response.json()
        light = f"/2010-04-01/Accounts/{other['sid']}/Messages.json?PageSize=1"
        credentials = aiohttp.encode_basic_auth(other["sid"], other["auth_token"])
        headers = {"Authorization": credentials}
        async with aiohttp.ClientSession(tandem.base_url, headers=headers) as own:
            alone = [await _timed(own, light) for _ in range(ALONE)]
            single = [await _timed(session, heavy) for _ in range(3)]
            until = time.monotonic() + parsed.seconds
            callers = [
                asyncio.create_task(_ask_on(others, heavy, until)) for _ in range(parsed.callers)
            ]
            await asyncio.sleep(1)
            beside = []
            while time.monotonic() < until - 1:
                beside.append(await _timed(own, light))
                await asyncio.sleep(0.02)
            lists = [time_s for times in await asyncio.gather(*callers) for time_s in times]
    print(f"{parsed.stored:,} messages of today; a list that finds none: {_shown(single)}")
    print(f"another account's newest message, alone: {_shown(alone)}")
    print(f"the same beside {parsed.callers} callers:        {_shown(beside)}")
    print(f"{len(lists)} lists of the {parsed.callers} callers:  {_shown(lists)}")
    good = median(beside) < MOST_S
    print(f"under {MOST_S * 1000:.0f} ms at the median: {'yes' if good else 'NO'}")
    return 0 if good else 1


async def _ask_on(session: aiohttp.ClientSession, path: str, until: float) -> list[float]:
    times = []
    while time.monotonic() < until:
        times.append(await _timed(session, path))
    return times


async def _timed(session: aiohttp.ClientSession, path: str) -> float:
    began = time.perf_counter()
    async with session.get(path) as response:
        if response.status != 200:
            raise BenchError(f"{path}: {response.status} {await response.text()}")
        await response.read()
    return time.perf_counter() - began


def _shown(times: list[float]) -> str:
    ordered = sorted(times)
    late = quantiles(ordered, n=100)[98] if len(ordered) > 1 else ordered[0]
    return f"median {median(ordered) * 1000:,.1f} ms, 99 % {min(late, ordered[-1]) * 1000:,.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
