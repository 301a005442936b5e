"""Who works with a database: a lock of one session, and signs of life given on it.

The server lets go of an advisory lock the moment its session ends, so a process that was killed is
followed within milliseconds. One that is frozen, or whose machine fell silent, keeps its session:
it is told by its signs, a number in `beats` that is counted up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from storage.database import Connection, open_connection

LOCK_CLASS: Final = 7410  # of locks that sessions hold; others are used by transactions
GATEWAY: Final = 0  # the lock of the gateway as a whole; a worker's is 1 and its slot
STAGE: Final = "tenure"
MOST_RUN: Final = 2**63  # a bigint's

TRY: Final = "SELECT pg_try_advisory_lock($1, key) FROM unnest($2::int[]) AS key"
TRY_SHARED: Final = "SELECT pg_try_advisory_lock_shared($1, key) FROM unnest($2::int[]) AS key"
FREE: Final = "SELECT pg_advisory_unlock_all()"
HOLDERS: Final = """
SELECT l.objid::int AS key, l.pid, a.application_name AS name,
       coalesce(host(a.client_addr), 'this machine') AS machine
  FROM pg_locks AS l
  JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.objsubid = 2 AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.pid <> pg_backend_pid()
 ORDER BY l.objid
"""
END: Final = "SELECT pg_terminate_backend($1)"
# Those that we may end.
_SESSIONS: Final = """
SELECT pid, split_part(application_name, '/', 2) AS run,
       split_part(application_name, '/', 3) AS stage
  FROM pg_stat_activity
 WHERE datname = current_database() AND application_name ~ '^tandem/[0-9]+/'
   AND pg_has_role(usesysid, 'USAGE')
"""
END_RUNS: Final = f"""
SELECT count(pg_terminate_backend(pid)) FROM ({_SESSIONS}) AS s WHERE run = ANY($1::text[])
"""
# A session that holds nothing and only asks for the lock is one that stands by.
END_FORMER: Final = f"""
WITH sessions AS ({_SESSIONS}), holding AS (
    SELECT s.run FROM pg_locks AS l JOIN sessions AS s USING (pid)
     WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.objsubid = 2 AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT count(pg_terminate_backend(pid)) FROM sessions
 WHERE run <> $2 AND stage <> $3 AND run NOT IN (SELECT run FROM holding)
"""
THERE: Final = "SELECT to_regclass('beats') IS NOT NULL"
SIGN: Final = """
INSERT INTO beats (run, n) VALUES ($1, 1) ON CONFLICT (run) DO UPDATE SET n = beats.n + 1
"""
SIGNS: Final = "SELECT run, n FROM beats WHERE run = ANY($1::bigint[])"
# What the runs before this one left; those that live are in pg_stat_activity.
FORGET: Final = f"""
DELETE FROM beats WHERE run >= 0 AND run::text NOT IN (SELECT run FROM ({_SESSIONS}) AS s)
"""
NOTE: Final = """
INSERT INTO beats (run, n) SELECT -1 - key, $2 FROM unnest($1::int[]) AS key
    ON CONFLICT (run) DO UPDATE SET n = EXCLUDED.n
"""
OTHERS: Final = """
SELECT n FROM beats WHERE run IN (SELECT -1 - key FROM unnest($1::int[]) AS key) AND n <> $2 LIMIT 1
"""


class LockHolder(NamedTuple):
    """Another session that has one of the locks."""

    key: int
    pid: int  # of the server's process
    name: str  # of the session
    machine: str

    def __str__(self) -> str:
        return f"{self.name} from {self.machine} (server process {self.pid})"

    @property
    def run(self) -> int | None:
        """Whose it is; None for one of an operator's command, or of an older version."""
        _, _, rest = self.name.partition("tandem/")
        digits = rest.partition("/")[0]
        if digits.isascii() and digits.isdigit() and len(digits) < 20:
            run = int(digits)
            return run if run < MOST_RUN else None
        return None


async def open_session(url: str, run: int) -> Connection:
    """A session that holds locks, of this run. Raises as `open_connection`."""
    return await open_connection(url, STAGE, run=run)


async def take(connection: Connection, keys: Sequence[int], *, shared: bool = False) -> bool:
    """Take these locks, all or none of them; `shared` with others who take them so."""
    rows = await connection.fetch(TRY_SHARED if shared else TRY, LOCK_CLASS, list(keys))
    if all(row[0] for row in rows):
        return True
    await connection.execute(FREE)
    return False


async def give_back(connection: Connection) -> None:
    """Let go of all the locks of the session."""
    await connection.execute(FREE)


async def holders(connection: Connection) -> list[LockHolder]:
    """Other sessions that hold any of the locks."""
    return [LockHolder(*row) for row in await connection.fetch(HOLDERS, LOCK_CLASS)]


async def end_session(connection: Connection, pid: int) -> None:
    """End a session: a former one of ours, whose connection broke without the server's notice."""
    await connection.fetchval(END, pid)


async def end_runs(connection: Connection, runs: Sequence[int]) -> int:
    """End every session of these runs; how many there still were."""
    return int(await connection.fetchval(END_RUNS, [str(run) for run in runs]))


async def end_former(connection: Connection, run: int) -> int:
    """End the sessions of runs that hold no lock any more, but for `run`'s; how many there were.

    One that hangs keeps its locks on recipients, and what it has begun may still be committed.
    """
    return int(await connection.fetchval(END_FORMER, LOCK_CLASS, str(run), STAGE))


async def is_there(connection: Connection) -> bool:
    """Whether there is a place for signs of life: not before the first migration."""
    return bool(await connection.fetchval(THERE))


async def sign(connection: Connection, run: int) -> None:
    """Give a sign of life. Raises what DatabaseUnavailable names."""
    await connection.execute(SIGN, run)


async def signs(connection: Connection, runs: Sequence[int]) -> Mapping[int, int]:
    """How many signs each of these runs has given; those without any are not in it."""
    if not await is_there(connection):
        return {}
    return dict(await connection.fetch(SIGNS, list(runs)))


async def note(connection: Connection, keys: Sequence[int], run: int) -> None:
    """Write down who took these locks last, and forget the signs of those who are gone."""
    await connection.execute(NOTE, list(keys), run)
    await connection.execute(FORGET)


async def taken_by_another(connection: Connection, keys: Sequence[int], run: int) -> int | None:
    """Another run that has had one of these locks since `run` took them; None where none had, and
    after a crash of the server, which forgets it.
    """
    if not await is_there(connection):
        return None
    found: int | None = await connection.fetchval(OTHERS, list(keys), run)
    return found
