"""`make bench`: every benchmark in turn; each prints its table.

`python -m bench NAME …` runs some of the micro ones by name; `python -m bench load …` the table of
the gateway against its floor and Kannel, `python -m bench soak …` ten minutes at seven tenths of
the maximum, `python -m bench lists …` one tenant's lists beside another's; each with options of its
own (`--help`).
"""

from __future__ import annotations

import subprocess
import sys

MICRO = (
    *("encode", "select_sender", "idle_senders", "webhook_client"),
    *("smpp_codec", "smpp_session", "smpp_smsc", "journal"),
)
LOAD, SOAK, LISTS = "load", "soak", "lists"


def main() -> int:
    """Run the benchmarks, each in a process of its own, so that none warms another up."""
    wanted = sys.argv[1:] or [*MICRO, LOAD]
    if wanted[0] == LOAD:
        return _run("bench.load", *wanted[1:])
    if wanted[0] == SOAK:
        return _run("bench.load.soak", *wanted[1:])
    if wanted[0] == LISTS:
        return _run("bench.load.lists", *wanted[1:])
    unknown = [name for name in wanted if name not in (*MICRO, LOAD)]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join((*MICRO, LOAD))}")
        return 2
    failed = 0
    for name in wanted:
        print(f"\n── {name} " + "─" * (70 - len(name)), flush=True)
        failed |= _run("bench.load", "--rows=all") if name == LOAD else _run(f"bench.micro.{name}")
    return failed


def _run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
