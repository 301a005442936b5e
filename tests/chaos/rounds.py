"""One round after the other, and the table of what came of them."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg

from .database import Server
from .faults import FAULTS
from .world import Outcome, World

COUNT: Final = 1_200  # plain messages in a round
_numbers = itertools.count(1)


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A Postgres of our own, as durable as a real one."""
    with tempfile.TemporaryDirectory(prefix="tandem-chaos-") as folder:
        one = Server(Path(folder))
        await one.start()
        try:
            yield one
        finally:
            await one.stop()


async def play(one: Server, fault: str, seed: int, *, count: int = COUNT) -> Outcome:
    """One fault in the middle of a load; the same seed draws the same moments."""
    name = f"chaos_{next(_numbers)}"
    connection = await asyncpg.connect(one.url)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    with tempfile.TemporaryDirectory(prefix="tandem-chaos-") as folder:
        async with World(one, name, Path(folder), seed, count, FAULTS[fault].workers) as world:
            await world.start()
            outcome = await _fault_under_load(world, fault)
            outcome.fault, outcome.seed = fault, seed
    connection = await asyncpg.connect(one.url)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()
    return outcome


async def _fault_under_load(world: World, fault: str) -> Outcome:
    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(world.load())
        begin = int(world.count * world.random.uniform(0.1, 0.4))
        while not (len(world.sids) >= begin and world.under_way) and not loading.done():
            await asyncio.sleep(0.005)
        await FAULTS[fault].strike(world)
    outcome = await world.settle()
    outcome.notes += world.problems
    outcome.remarks += world.remarks
    if world.unanswered:
        outcome.remarks.append(f"{world.unanswered} requests ended without an answer")
    if outcome.pause_s > world.most_pause_s:
        outcome.notes.append(f"a pause of {outcome.pause_s:.1f} s, over {world.most_pause_s:.0f}")
    if world.leaves_no_doubt and outcome.marked:
        outcome.notes.append(f"{outcome.marked} messages were left in doubt")
    return outcome


def drawn(rounds: int, seed: int) -> list[tuple[str, int]]:
    """Which fault comes when: each once in a random order, then again."""
    chance = random.Random(seed)
    order: list[str] = []
    while len(order) < rounds:
        some = list(FAULTS)
        chance.shuffle(some)
        order += some
    return [(fault, seed * 1_000 + number) for number, fault in enumerate(order[:rounds])]


def table(outcomes: Sequence[Outcome]) -> str:
    """Faults by row; a count in every column but the first three must be 0, *marked* apart."""
    lines = [
        "| fault | rounds | accepted | lost | doubled (marked) | out of order | opted-out sent"
        " | callbacks wrong | inbound wrong | longest pause |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for fault in FAULTS:
        of = [outcome for outcome in outcomes if outcome.fault == fault]
        if not of:
            continue
        lines.append(
            f"| {fault} | {len(of)} | {sum(o.accepted for o in of)} | {sum(o.lost for o in of)}"
            f" | {sum(o.doubled for o in of)} ({sum(o.marked for o in of)})"
            f" | {sum(o.disordered for o in of)} | {sum(o.opted_out for o in of)}"
            f" | {sum(o.callbacks for o in of)} | {sum(o.inbound for o in of)}"
            f" | {max(o.pause_s for o in of):.1f} s |"
        )
    return "\n".join(lines)
