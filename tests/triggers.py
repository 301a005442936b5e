"""Faults laid into a database that others write to meanwhile: triggers on `messages`.

`messages` is partitioned. Making or dropping a trigger locks every partition, one after the
other, and who writes holds some of them: the server may end either in a deadlock. So making is
tried again, and a trigger is lifted by giving its function nothing to do, which locks no table.
"""

from __future__ import annotations

import asyncio

import asyncpg
from testing import WAIT_S

BODY = "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$"


async def lay(connection: asyncpg.Connection, name: str, trigger: str, does: str) -> None:
    """Make a trigger that does `does` (PL/pgSQL).

    `trigger` is its definition in SQL from the word CREATE up to its function.
    """
    await connection.execute(BODY.format(name, does))
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await connection.execute(f"{trigger} EXECUTE FUNCTION {name}()")
            except asyncpg.DeadlockDetectedError:
                continue
            return


async def lift(connection: asyncpg.Connection, name: str) -> None:
    """Let pass what comes: the trigger stays, and does nothing."""
    await connection.execute(BODY.format(name, "RETURN NEW;"))
