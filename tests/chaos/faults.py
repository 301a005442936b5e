"""The menu: each fault is done to a world in the middle of its load, at a moment from the seed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

import asyncpg
import psutil
from testing import until
from triggers import lay, lift

from gateway.messages.message import Status

from .victim import STEPS
from .world import RATE, Ledgers, World


class Fault(NamedTuple):
    """What is done to a world, and of how many processes its gateway is."""

    strike: Callable[[World], Awaitable[None]]
    workers: int = 1


PASSES_S: Final = 20.0  # a step that is armed is passed by then
STOP_S: Final = 10.0  # a graceful end takes at most so long
TAKE_OVER_S: Final = 5.0  # from the end of a gateway to the work of the one that stood by
FOLLOWED_S: Final = 10.0  # a worker that is killed, or silent, has its successor by then
STANDBY: Final = "standing by"
HOUR_S: Final = 3_600.0  # that the clock jumps
BRIEF_S: Final = 600  # a validity that ends within that
LONG_S: Final = 7_200  # and one that does not
WAITING: Final = 20  # of each
STALL_S: Final = 2.0
SCHEDULED_S: Final = 1_800.0
EXPIRED: Final = 30036
REREAD_S: Final = 6.0  # a deadline that the clock passed in a jump is seen by then
PACED_S: Final = 2.0
BURST_S: Final = 1.1  # a bucket holds a second's tokens; a tenth is for clocks that differ


async def _kill(world: World, step: str) -> None:
    """SIGKILL at a named step; started again at once."""
    before = world.deaths
    least = STEPS[step][3]
    await world.restarted_with(step, world.random.randint(1, least))
    world.write_in()  # else the last subscriber may have written before
    passed = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        if "claim" in step:  # what finds its sender idle is claimed as it is accepted
            tasks.create_task(world.bursts(passed))
        try:
            async with asyncio.timeout(PASSES_S):
                while world.deaths < before + 2:
                    await asyncio.sleep(0.01)
            world.fault_at = time.time()
        except TimeoutError:
            world.problems.append(f"the step was not passed in {PASSES_S:.0f} s")
        passed.set()


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


async def _slow_answers(world: World) -> None:
    """Each answer of the database comes 200 ms late, as from a network or server that is busy."""
    world.fault_at = time.time()
    world.wire.delay_s = 0.2
    await asyncio.sleep(3.0)
    world.wire.delay_s = 0.0


async def _slow_commits(world: World) -> None:
    """Each transaction that wrote messages takes 200 ms more to commit, its locks held.

    A deferred trigger is the last thing in a commit, before the flush: what a slow fsync looks
    like to everybody but the disk. (`commit_delay` ends at 100 ms, and only waits in the session
    that leads a group.) It is the first row of a statement that waits, not each.
    """
    connection = await asyncpg.connect(world.url)
    world.fault_at = time.time()
    await lay(
        connection,
        "slow_commit",
        "CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT OR UPDATE ON messages"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
        """
            IF current_setting('chaos.slept', true) IS DISTINCT FROM txid_current()::text THEN
                PERFORM set_config('chaos.slept', txid_current()::text, true);
                PERFORM pg_sleep(0.2);
            END IF;
            RETURN NULL;
        """,
    )
    await asyncio.sleep(4.0)
    await lift(connection, "slow_commit")
    await connection.close()


async def _full_disk(world: World) -> None:
    """What writes messages is answered as by a server whose disk is full (53100)."""
    connection = await asyncpg.connect(world.url)
    world.fault_at = time.time()
    await lay(
        connection,
        "full_disk",
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON messages FOR EACH STATEMENT",
        "RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100';",
    )
    await asyncio.sleep(1.5)
    await lift(connection, "full_disk")
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
    """A second gateway on the same database and port stands by; SIGKILL to the first.

    Started again, that one stands by in its turn.
    """
    first, second = world.gateway, world.another()
    await second.start()  # what answers is the first
    await until(lambda: STANDBY in second.log)
    if STANDBY in first.log:
        world.problems.append("the first stood by already")
    world.most_pause_s = TAKE_OVER_S
    world.fault_at = time.time()
    begun = time.monotonic()
    await first.kill()
    await second.ready()
    if (took := time.monotonic() - begun) > TAKE_OVER_S:
        world.problems.append(f"the second answered after {took:.1f} s")
    await until(lambda: STANDBY in first.log)


async def _kill_worker(world: World) -> None:
    """SIGKILL to one of them."""
    slot = world.random.randrange(world.workers)
    before = world.gateway.pid(slot)
    world.fault_at = time.time()
    world.most_pause_s = FOLLOWED_S
    world.gateway.kill_worker(slot)
    await _followed(world, slot, before)


async def _freeze_worker(world: World) -> None:
    """SIGSTOP to one of them: it is there, holds its connections, and does nothing."""
    slot = world.random.randrange(world.workers)
    before = world.gateway.pid(slot)
    world.fault_at = time.time()
    world.most_pause_s = FOLLOWED_S
    world.gateway.freeze_worker(slot)
    await _followed(world, slot, before)


async def _followed(world: World, slot: int, before: int) -> None:
    def is_there() -> bool:
        try:
            return world.gateway.pid(slot) != before
        except LookupError:
            return False

    await until(is_there)
    if world.deaths:
        world.problems.append("the supervisor died, too")


async def _kill_supervisor(world: World) -> None:
    """SIGKILL to the supervisor: its workers end with it, and it is started again."""
    workers = [world.gateway.pid(slot) for slot in range(world.workers)]
    world.fault_at = time.time()
    await world.gateway.kill()
    await until(lambda: not any(map(psutil.pid_exists, workers)))


async def _jump(world: World, by_s: float) -> None:
    """The wall clock is set, with messages waiting whose validity ends before and after that.

    A deadline is a moment of the wall clock, so an hour forward ends what had less than that to
    live and still waited, and lets a scheduled message go; an hour back ends nothing. Pacing does
    not look at the wall clock at all (docs/reliability.md).
    """
    due = datetime.now(UTC) + timedelta(seconds=SCHEDULED_S)
    [scheduled] = await world.conversation(
        "scheduled", range(1), SendAt=due.isoformat(), ScheduleType="fixed"
    )
    world.aside.add(scheduled)
    for bind in list(world.smsc.carrier().connections):
        bind.stall(STALL_S)  # so that all but the first of each wait
    brief, long = await asyncio.gather(
        world.conversation("brief", range(WAITING), ValidityPeriod=str(BRIEF_S)),
        world.conversation("long", range(WAITING), service=1, ValidityPeriod=str(LONG_S)),
    )
    world.fault_at = time.time()
    world.gateway.set_clock(by_s)
    after = await world.conversation("after", range(20), ValidityPeriod=str(BRIEF_S))
    if by_s < 0:
        await world.cancel(scheduled)

    def check(ledgers: Ledgers) -> None:
        ends = Counter(ledgers.ends[sid] for sid in brief)
        expired = ends.pop((int(Status.FAILED), EXPIRED), 0)
        sent = ends.pop((int(Status.DELIVERED), 0), 0)
        world.remarks.append(f"of {len(brief)} that wait with {BRIEF_S} s left, {expired} expired")
        if ends or bool(expired) != (by_s > 0) or not sent:
            world.problems.append(f"brief ones: {sent} sent, {expired} expired, {dict(ends)}")
        wanted = {sid: (int(Status.DELIVERED), 0) for sid in (*long, *after, scheduled)}
        if by_s < 0:
            wanted[scheduled] = (int(Status.CANCELED), 0)
        for sid, end in wanted.items():
            if ledgers.ends[sid] != end:
                world.problems.append(f"{sid} ended with {ledgers.ends[sid]}, not {end}")
        late = [
            entry["time"] - world.fault_at
            for entry in ledgers.carried
            if entry["text"].startswith("chat brief")
            and entry["time"] > world.fault_at + REREAD_S
            and by_s > 0
        ]
        if late:
            world.problems.append(f"{len(late)} left up to {max(late):.1f} s after they ended")
        paced = Counter(
            entry["source"]
            for entry in ledgers.carried
            if world.fault_at <= entry["time"] < world.fault_at + PACED_S
        )
        for source, segments in paced.items():
            if segments > RATE * (PACED_S + BURST_S):
                world.problems.append(f"{source}: {segments} segments in {PACED_S:.0f} s")

    world.checks.append(check)


async def _jump_back_and_die(world: World) -> None:
    """The clock an hour back, then SIGKILL, and once more: the ids of what waits are of the future.

    A conversation goes on over all of it.
    """
    await world.conversation("back", range(100))
    world.gateway.set_clock(-HOUR_S)
    world.fault_at = time.time()
    for begin in (100, 140):
        before = world.deaths
        await world.gateway.kill()
        await until(lambda before=before: world.deaths > before)  # type: ignore[misc]
        await world.gateway.ready()
        await world.conversation("back", range(begin, begin + 40))


FAULTS: Final[dict[str, Fault]] = {
    **{
        f"kill -9 {step}": Fault(partial(_kill, step=step))
        for step in STEPS
        if step != "during recovery"
    },
    "kill -9 during recovery": Fault(_kill_in_recovery),
    "SIGTERM under load": Fault(_terminate),
    "SIGTERM under load, two workers": Fault(_terminate, workers=2),
    "one worker of two killed": Fault(_kill_worker, workers=2),
    "one worker of two frozen": Fault(_freeze_worker, workers=2),
    "the supervisor killed": Fault(_kill_supervisor, workers=2),
    "two gateways on one database": Fault(_two_gateways),
    "Postgres killed, all its processes": Fault(_kill_database),
    "Postgres restarted": Fault(_restart_database),
    "Postgres refuses connections": Fault(_refuse_connections),
    "Postgres answers 200 ms late": Fault(_slow_answers),
    "Postgres commits slowly": Fault(_slow_commits),
    "Postgres says its disk is full": Fault(_full_disk),
    "SMSC disconnects mid-window": Fault(_disconnect),
    "SMSC half-open": Fault(_half_open),
    "SMSC stalls": Fault(_stall),
    "callback receiver down": Fault(_receiver_down),
    "the clock jumps an hour forward": Fault(partial(_jump, by_s=HOUR_S)),
    "the clock jumps an hour back": Fault(partial(_jump, by_s=-HOUR_S)),
    "the clock jumps an hour back, then two kill -9": Fault(_jump_back_and_die),
}
