"""Whether a server keeps what it has confirmed: asked once, before anything is promised.

A 201 says that a message survives whatever happens next. That is only as true as the server's own
word: with one of these settings a power failure takes back what was committed.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Final, Literal, NamedTuple

import asyncpg

from storage.database import Connection

Danger = Literal[
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "asynchronous_replica",
    "tmpfs",
    "two_gateways",
]

# What each of them loses; `synchronous_commit` is safe from `local` upwards.
LOSES: Final[dict[Danger, str]] = {
    "fsync": "fsync is off: a crash of the machine can lose or damage everything",
    "full_page_writes": "full_page_writes is off: a crash of the machine can damage the data",
    "synchronous_commit": "synchronous_commit is off: a crash loses what was just confirmed",
    "asynchronous_replica": (
        "a standby follows and no commit waits for it ({}): a fail-over to it loses what was just"
        " confirmed"
    ),
    "two_gateways": "another gateway may work with it too: rates and order hold for each alone",
    "tmpfs": "the data folder is in memory ({}): a restart of the machine loses everything",
}
# Not those that only copy: a base backup, or an archive of the log. A role that may not see what
# others' sessions do sees none.
STANDBYS: Final = """
SELECT count(*) FROM pg_stat_replication AS r JOIN pg_stat_activity AS a USING (pid)
 WHERE r.state = 'streaming' AND a.datname IS NULL  -- of a logical one: its database
   AND r.application_name NOT IN ('pg_basebackup', 'pg_receivewal')
"""
WAITED_FOR: Final = "SELECT current_setting('synchronous_standby_names')"
# Of `synchronous_commit`: those that wait for this server alone.
ALONE: Final = ("off", "local")
IN_MEMORY: Final = ("tmpfs", "ramfs")

MOUNTS: Final = Path("/proc/self/mountinfo")


class Unsafe(NamedTuple):
    """One way in which this server may lose what it has committed."""

    danger: Danger
    text: str


async def dangers(connection: Connection, *, mounts: Path = MOUNTS) -> list[Unsafe]:
    """What is unsafe about the connection's server; an empty list for one that keeps its word.

    The folder is looked at where it can be: the server on this machine, its place not secret to our
    role, and a Linux that says what is mounted there. Raises what DatabaseUnavailable names.
    """
    found = [
        Unsafe(name, LOSES[name])
        for name in ("fsync", "full_page_writes", "synchronous_commit")
        if await connection.fetchval("SELECT current_setting($1)", name) == "off"
    ]
    if why := await _follows_unasked(connection):
        text = LOSES["asynchronous_replica"].format(why)
        found.append(Unsafe("asynchronous_replica", text))
    folder = await _local_folder(connection)
    kind = file_system(folder, mounts) if folder is not None else None
    if kind in IN_MEMORY:
        found.append(Unsafe("tmpfs", LOSES["tmpfs"].format(folder)))
    return found


async def _follows_unasked(connection: Connection) -> str | None:
    """Why no commit waits for the standby that there is; None where they do, or there is none."""
    if not await connection.fetchval(STANDBYS):
        return None
    if not (await connection.fetchval(WAITED_FOR)).strip():
        return "synchronous_standby_names is empty"
    commit: str = await connection.fetchval("SELECT current_setting('synchronous_commit')")
    return f"synchronous_commit is {commit}" if commit in ALONE else None


async def _local_folder(connection: Connection) -> Path | None:
    """The server's data folder, if it is one of this machine's."""
    address = await connection.fetchval("SELECT host(inet_server_addr())")
    if address is not None and not ipaddress.ip_address(address).is_loopback:
        return None
    try:
        name = await connection.fetchval("SELECT current_setting('data_directory')")
    except asyncpg.InsufficientPrivilegeError:
        return None
    # A server in a container that is reached by loopback has a folder of its own world.
    return _existing(Path(name))


def _existing(folder: Path) -> Path | None:
    return folder if folder.exists() else None


def file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system that holds a folder (`ext4`, `tmpfs`); None where nobody says."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    real = os.path.realpath(folder)
    best, kind = "", None
    for line in lines:
        # 36 35 98:0 /root /mount/point options [more…] - kind source options
        place, _, rest = line.partition(" - ")
        point = place.split()[4].encode().decode("unicode_escape")  # a space is \040
        below = real == point or real.startswith(point.rstrip("/") + "/")
        if below and len(point) >= len(best):  # of two on one place, the later hides the other
            best, kind = point, rest.split()[0]
    return kind
