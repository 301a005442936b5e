"""A network namespace for each row: nothing of it is seen outside, and rows do not meet.

Silence is a rule that drops what goes to an address, or comes from it: kernels on both sides see
what they see when a cable is cut, and no proxy answers for anybody.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from .outcome import Outcome

TESTS: Final = Path(__file__).parents[1]
MOST_S: Final = 300.0  # for a row that hangs
# Postgres refuses to run as root, so who is not root stays who he is, with the right to make rules.
ENTER: Final = (
    ("unshare", "--net")
    if os.getuid() == 0
    else ("unshare", "--map-current-user", "--keep-caps", "--net")
)
PREPARE: Final = (
    "ip link set lo up",
    # What is said about an address here must come before *it is one of ours*.
    "ip rule add pref 100 lookup local",
    "ip rule del pref 0",
)


@functools.cache
def refusal() -> str | None:
    """Why there can be no namespace of ours here; None where there can."""
    script = " && ".join((*PREPARE, "ip rule add pref 10 to 127.0.0.9 blackhole"))
    try:
        done = subprocess.run(
            [*ENTER, "sh", "-c", script], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


async def play(row: str) -> Outcome:
    """Play a row in a namespace of its own."""
    process = await asyncio.create_subprocess_exec(
        *ENTER,
        sys.executable,
        "-m",
        "pair.inside",
        row,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(MOST_S):
            said, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        said, errors = await process.communicate()
    lines = said.decode().splitlines()
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"{row}: {errors.decode()[-4000:]}")
    return Outcome(**json.loads(lines[-1]))


def prepare() -> None:
    """Make the namespace that we are in ready."""
    for command in PREPARE:
        subprocess.run(command.split(), check=True)


class Cut:
    """What is silent from `make` on, until `heal`."""

    def __init__(self, *selectors: str) -> None:
        self._selectors = selectors

    def make(self) -> None:
        for at, selector in enumerate(self._selectors):
            self._ip(f"ip rule add pref {10 + at} {selector} blackhole")

    def heal(self) -> None:
        for at, _ in enumerate(self._selectors):
            self._ip(f"ip rule del pref {10 + at}")

    @staticmethod
    def _ip(command: str) -> None:
        subprocess.run(command.split(), check=True)
