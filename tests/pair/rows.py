"""What comes between the two, row by row. A is the one that works, B stands by."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import asyncpg
from testing import WAIT_S, until
from triggers import lay, lift

from .namespace import Cut
from .outcome import Outcome
from .world import OWN, PORT, SERVERS, World, world

LEAVERS: Final = [f"+44760000{n:04d}" for n in range(20)]
HANGS: Final = "hangs"
A_SILENT: Final = Cut(f"to {SERVERS[0]}", f"from {SERVERS[0]}")
URL: Final = f"postgresql://postgres@{OWN}:{PORT}/tandem"


class Row(NamedTuple):
    play: Callable[[World], Awaitable[None]]
    workers: int = 1


async def _killed(one: World) -> None:
    """SIGKILL to A."""
    one.fault()
    await one.first.kill()
    await one.taken_over()
    await one.stop_at_second(LEAVERS)


async def _partitioned(one: World) -> None:
    """A and the database do not hear each other, and later do again."""
    one.fault()
    A_SILENT.make()
    await one.taken_over()
    await one.stop_at_second(LEAVERS)
    await asyncio.sleep(1.0)
    A_SILENT.heal()
    await one.first_ends()


async def _answers_lost(one: World) -> None:
    """What A says arrives at the database; what that answers does not."""
    cut = Cut(f"from {SERVERS[0]}")
    one.fault()
    cut.make()
    await one.taken_over()
    await one.stop_at_second(LEAVERS)
    cut.heal()
    await one.first_ends()


async def _lock_silent(one: World) -> None:
    """Only the session with the lock is silent: a firewall has forgotten it.

    A takes the right again on a new session, or B does: but never both.
    """
    connection = await asyncpg.connect(URL)
    port = await connection.fetchval(
        "SELECT client_port FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.classid = 7410 AND l.granted LIMIT 1"
    )
    cut = Cut(
        f"from {SERVERS[0]} ipproto tcp sport {PORT} dport {port}",
        f"to {SERVERS[0]} ipproto tcp sport {port} dport {PORT}",
    )
    one.fault()
    cut.make()
    renewed = "working with the database again"
    await until(lambda: renewed in one.first.log or one.second.up)
    if one.second.up:
        await one.first_ends()
    else:
        await until(lambda: one.first.up)
        await one.first.kill()
        await one.taken_over()
    await one.stop_at_second(LEAVERS)
    await connection.close()


async def _frozen(one: World) -> None:
    """SIGSTOP to A, as a virtual machine is paused; it wakes when B works."""
    one.fault()
    one.first.signal(signal.SIGSTOP)
    await one.taken_over()
    await one.stop_at_second(LEAVERS)
    await asyncio.sleep(1.0)
    one.first.signal(signal.SIGCONT)
    await one.first_ends()


async def _mid_batch(one: World) -> None:
    """A is partitioned in the middle of an accept: its session holds the recipients' locks.

    The accept hangs in a trigger, so that the moment is sure.
    """
    connection = await asyncpg.connect(URL)
    await lay(
        connection,
        "hang",
        f"CREATE TRIGGER hang BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.body = '{HANGS}')",
        "PERFORM pg_sleep(600); RETURN NEW;",
    )
    sends = [asyncio.create_task(one.send_to(one.first, to, HANGS)) for to in LEAVERS]
    hung = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(WAIT_S):
        while not await connection.fetchval(hung):
            await asyncio.sleep(0.01)
    one.fault()
    A_SILENT.make()
    await one.taken_over()
    await one.stop_at_second(LEAVERS)
    if 201 in await asyncio.gather(*sends):
        one.outcome.notes.append("what hung was answered with 201")
    await lift(connection, "hang")
    if await connection.fetchval("SELECT count(*) FROM messages WHERE body = $1", HANGS):
        one.outcome.notes.append("what hung was stored after all")
    A_SILENT.heal()
    await one.first_ends()
    await connection.close()


ROWS: Final[dict[str, Row]] = {
    "A killed": Row(_killed),
    "A killed, two workers each": Row(_killed, workers=2),
    "A partitioned from the database": Row(_partitioned),
    "A partitioned, two workers each": Row(_partitioned, workers=2),
    "A without the database's answers": Row(_answers_lost),
    "only the lock's session silent": Row(_lock_silent),
    "A frozen": Row(_frozen),
    "A partitioned in the middle of an accept": Row(_mid_batch),
}


async def play_here(name: str) -> Outcome:
    """Play a row in the namespace that we are in."""
    row = ROWS[name]
    async with world(name, row.workers) as one:
        await row.play(one)
        return await one.settle()
