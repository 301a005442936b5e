"""The server process of a data folder, by what its `postmaster.pid` says, and what it left behind.

A server that was killed leaves that file, and for a moment its children, who still have the
shared memory: one that starts before they have gone is refused by Postgres itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import psutil

SHARED_MEMORY: Final = Path("/proc/sysvipc/shm")  # Linux's; elsewhere nothing is known of it
LINES: Final = 8  # of a server that is up; one that starts has fewer


class Postmaster(NamedTuple):
    """What the file says; it may be of a server that is gone."""

    pid: int
    shared_memory: int | None  # System V's id
    status: str  # "starting", "ready", "stopping"; "" where it is not there yet

    @property
    def ready(self) -> bool:
        return self.status == "ready"


def read(folder: Path) -> Postmaster | None:
    """The entry of a folder's server; None where there is none, or one half written."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
        words = lines[6].split() if len(lines) > 6 else []
        return Postmaster(
            int(lines[0]),
            int(words[-1]) if words else None,
            lines[7].strip() if len(lines) >= LINES else "",
        )
    except (OSError, IndexError, ValueError):
        return None


def is_alive(postmaster: Postmaster, folder: Path) -> bool:
    """Whether its process is there, and not another one that got its number.

    A zombie is gone, although it can be signalled: who should have waited for it does not.
    A server's working directory is its data folder. In doubt it is alive.
    """
    try:
        process = psutil.Process(postmaster.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return "postgres" in process.name() and Path(process.cwd()) == folder
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
    except (psutil.AccessDenied, OSError):
        return True


def has_number(postmaster: Postmaster) -> bool:
    """Whether any process has its number, even a zombie: Postgres then takes it for alive."""
    return bool(psutil.pid_exists(postmaster.pid))


def attached(shared_memory: int | None) -> int:
    """How many processes still have a segment of shared memory; 0 where nothing is known."""
    if shared_memory is None:
        return 0
    try:
        lines = SHARED_MEMORY.read_text().splitlines()
    except OSError:
        return 0
    names = lines[0].split()
    id_at, attached_at = names.index("shmid"), names.index("nattch")
    for line in lines[1:]:
        words = line.split()
        if int(words[id_at]) == shared_memory:
            return int(words[attached_at])
    return 0
