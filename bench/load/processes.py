"""What processes cost: user and system time, and memory, from /proc."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Final

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def cpu_s(*roots: int) -> float:
    """CPU seconds of these processes and all below them, those that ended and were reaped too."""
    times, children = {}, defaultdict(list)
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path(f"/proc/{entry}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        fields = stat.rpartition(")")[2].split()
        # After the name: state, ppid, … utime (14th of all), stime, cutime, cstime.
        times[int(entry)] = sum(map(int, fields[11:15]))
        children[int(fields[1])].append(int(entry))
    total, todo = 0, list(roots)
    while todo:
        pid = todo.pop()
        total += times.get(pid, 0)
        todo += children[pid]
    return total * TICK_S


def resident_mb(pid: int) -> float:
    """Resident memory of one process, in MB of 10^6 octets."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE / 1e6
