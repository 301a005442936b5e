"""The menu: each fault is done to a world in the middle of its load, at a moment from the seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import asyncpg

from .victim import STEPS
from .world import World

Fault = Callable[[World], Awaitable[None]]

PASSES_S: Final = 20.0  # a step that is armed is passed by then
STOP_S: Final = 10.0  # a graceful end takes at most so long


async def _kill(world: World, step: str) -> None:
    """SIGKILL at a named step; started again at once."""
    before = world.deaths
    least = STEPS[step][3]
    await world.restarted_with(step, world.random.randint(1, least))
    world.write_in()  # else the last subscriber may have written before
    armed_at = time.monotonic()
    while world.deaths < before + 2:
        if time.monotonic() - armed_at > PASSES_S:
            world.problems.append(f"the step was not passed in {PASSES_S:.0f} s")
            return
        await asyncio.sleep(0.01)
    world.fault_at = time.time()


async def _kill_in_recovery(world: World) -> None:
    """SIGKILL under load, and once more while what that left is taken up again."""
    world.on_death = lambda: world.gateway.arm("during recovery", 1)  # type: ignore[method-assign]
    before = world.deaths
    await world.gateway.kill()
    world.fault_at = time.time()
    async with asyncio.timeout(30):
        while world.deaths < before + 1:
            await asyncio.sleep(0.01)
        world.on_death = lambda: None  # type: ignore[method-assign]
        while world.deaths < before + 2:
            await asyncio.sleep(0.01)


async def _terminate(world: World) -> None:
    """SIGTERM: what was taken in is answered, nothing is in doubt, and it is over soon."""
    world.leaves_no_doubt = True
    world.fault_at = time.time()
    begun = time.monotonic()
    status = await world.gateway.stop()
    took = time.monotonic() - begun
    if status != 0 or took > STOP_S:
        world.problems.append(f"SIGTERM under load: status {status} after {took:.1f} s")


async def _kill_database(world: World) -> None:
    world.fault_at = time.time()
    world.server.kill()
    await asyncio.sleep(world.random.uniform(0.1, 1.0))
    await world.server.start_again()


async def _restart_database(world: World) -> None:
    world.fault_at = time.time()
    await world.server.restart()


async def _refuse_connections(world: World) -> None:
    world.fault_at = time.time()
    world.wire.refuses = True
    world.wire.cut()
    await asyncio.sleep(1.5)
    world.wire.refuses = False


async def _slow_database(world: World) -> None:
    """Each answer of the database comes 200 ms late, as from a disk that is busy."""
    world.fault_at = time.time()
    world.wire.delay_s = 0.2
    await asyncio.sleep(3.0)
    world.wire.delay_s = 0.0


async def _full_disk(world: World) -> None:
    """What writes messages is answered as by a server whose disk is full (53100)."""
    connection = await asyncpg.connect(world.url)
    await connection.execute("""
        CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$
    """)
    world.fault_at = time.time()
    await connection.execute(
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON messages"
        " FOR EACH STATEMENT EXECUTE FUNCTION full_disk()"
    )
    await asyncio.sleep(1.5)
    await connection.execute("DROP TRIGGER full_disk ON messages")
    await connection.close()


async def _disconnect(world: World) -> None:
    world.fault_at = time.time()
    for bind in list(world.smsc.carrier().connections):
        bind.disconnect()


async def _half_open(world: World) -> None:
    world.fault_at = time.time()
    for bind in list(world.smsc.carrier().connections):
        bind.go_deaf()


async def _stall(world: World) -> None:
    """Longer than the gateway waits for an answer."""
    world.fault_at = time.time()
    for bind in list(world.smsc.carrier().connections):
        bind.stall(4.0)


async def _receiver_down(world: World) -> None:
    async def refuse(form: dict[str, str]) -> int:
        return 503

    world.fault_at = time.time()
    world.receiver.answer = refuse
    await asyncio.sleep(2.0)
    world.receiver.answer = None


async def _two_gateways(world: World) -> None:
    """A second gateway on the same database, as in a rolling upgrade; the first stays."""
    other = world.another()
    world.others.append(other)
    world.fault_at = time.time()
    await other.start(patience_s=60.0)


FAULTS: Final[dict[str, Fault]] = {
    **{f"kill -9 {step}": partial(_kill, step=step) for step in STEPS if step != "during recovery"},
    "kill -9 during recovery": _kill_in_recovery,
    "SIGTERM under load": _terminate,
    "Postgres killed, all its processes": _kill_database,
    "Postgres restarted": _restart_database,
    "Postgres refuses connections": _refuse_connections,
    "Postgres answers 200 ms late": _slow_database,
    "Postgres says its disk is full": _full_disk,
    "SMSC disconnects mid-window": _disconnect,
    "SMSC half-open": _half_open,
    "SMSC stalls": _stall,
    "callback receiver down": _receiver_down,
    "two gateways on one database": _two_gateways,
}
