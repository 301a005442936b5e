"""`make bench`: every benchmark in turn; each prints its table.

`python -m bench NAME …` runs some of them by name.
"""

from __future__ import annotations

import subprocess
import sys

MICRO = (
    *("encode", "select_sender", "idle_senders", "webhook_client"),
    *("smpp_codec", "smpp_session", "smpp_smsc"),
)


def main() -> int:
    """Run the benchmarks, each in a process of its own, so that none warms another up."""
    wanted = sys.argv[1:] or list(MICRO)
    unknown = [name for name in wanted if name not in MICRO]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(MICRO)}")
        return 2
    failed = 0
    for name in wanted:
        print(f"\n── {name} " + "─" * (70 - len(name)), flush=True)
        failed |= subprocess.run(
            [sys.executable, "-m", f"bench.micro.{name}"], check=False
        ).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
