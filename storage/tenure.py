"""Who works with a database: a lock of one session, which ends with its holder.

No clock takes part. The server lets go of an advisory lock the moment its session ends, so a
process that was killed is followed within milliseconds; one whose machine fell silent, when the
server notices that its connection is dead, which the settings below make a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from storage.pool import Connection, open_connection

LOCK_CLASS: Final = 7410  # of locks that sessions hold; others are used by transactions
GATEWAY: Final = 0  # the lock of the gateway as a whole; a worker's is 1 and its slot
SILENCE_S: Final = 5.0  # after which the server gives up a peer that is not there any more

# Ignored on a Unix socket, whose other end is never silently gone.
NOTICE_SILENCE: Final = (
    "SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3"
)
NAME: Final = "SELECT set_config('application_name', $1, false)"
TRY: Final = "SELECT key, pg_try_advisory_lock($1, key) AS ours FROM unnest($2::int[]) AS key"
TRY_SHARED: Final = """
SELECT key, pg_try_advisory_lock_shared($1, key) AS ours FROM unnest($2::int[]) AS key
"""
FREE: Final = "SELECT pg_advisory_unlock_all()"
HOLDERS: Final = """
SELECT l.objid::int AS key, l.pid, a.application_name AS name,
       coalesce(host(a.client_addr), 'this machine') AS machine, a.backend_start AS since
  FROM pg_locks AS l
  JOIN pg_stat_activity AS a USING (pid)
 WHERE l.locktype = 'advisory' AND l.classid = $1::int::oid AND l.objsubid = 2 AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.pid <> pg_backend_pid()
 ORDER BY l.objid
"""
END: Final = "SELECT pg_terminate_backend($1)"
ALIVE: Final = "SELECT 1"


class Holder(NamedTuple):
    """Another session that has one of the locks."""

    key: int
    pid: int  # of the server's process
    name: str  # of the run
    machine: str

    def __str__(self) -> str:
        return f"{self.name} from {self.machine} (server process {self.pid})"


async def open_session(url: str, name: str) -> Connection:
    """A session that holds locks, under the name of this run. Raises as `open_connection`."""
    connection = await open_connection(url)
    await connection.execute(NOTICE_SILENCE)
    await connection.fetchval(NAME, name)
    return connection


async def take(connection: Connection, keys: Sequence[int], *, shared: bool = False) -> bool:
    """Take these locks, all or none of them; `shared` with others who take them so."""
    rows = await connection.fetch(TRY_SHARED if shared else TRY, LOCK_CLASS, list(keys))
    if all(row["ours"] for row in rows):
        return True
    await connection.execute(FREE)
    return False


async def give_back(connection: Connection) -> None:
    """Let go of all the locks of the session."""
    await connection.execute(FREE)


async def holders(connection: Connection) -> list[Holder]:
    """Other sessions that hold any of the locks."""
    rows = await connection.fetch(HOLDERS, LOCK_CLASS)
    return [Holder(row["key"], row["pid"], row["name"], row["machine"]) for row in rows]


async def end_session(connection: Connection, pid: int) -> None:
    """End a session: a former one of ours, whose connection broke without the server's notice."""
    await connection.fetchval(END, pid)


async def check(connection: Connection) -> None:
    """Return when the server has answered. Raises what DatabaseUnavailable names."""
    await connection.fetchval(ALIVE)
