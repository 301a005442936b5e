"""A gateway that ends itself with SIGKILL at a named step: `python -m chaos.victim serve`.

Its wall clock is the machine's and what the file `CHAOS_CLOCK` says, which may change at any time.

`CHAOS_STEP=name:n` kills it when the step is passed for the n-th time. The steps are put around the
gateway's own methods here, so that the gateway itself knows nothing of them; one whose method is
gone fails at the start.
"""

from __future__ import annotations

import asyncio
import functools
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from gateway.acceptance.acceptor import Acceptor
from gateway.backlog.recovery import Recovery
from gateway.channels.smpp.connector import SmppConnector
from gateway.channels.smpp.receipts import Receipts
from gateway.commands import main
from gateway.inbound.receive import InboundStage
from gateway.runtime.clock import SystemClock
from gateway.submission.submitter import Submitter
from gateway.submission.write_behind import WriteBatch, WriteBehind
from gateway.webhooks.callbacks import Callbacks
from storage import messages as message_rows

VARIABLE: Final = "CHAOS_STEP"
CLOCK: Final = "CHAOS_CLOCK"
OFFSET: Final = struct.Struct("d")  # seconds
BEFORE, AFTER, WRITTEN = "before", "after", "written"

# Step → where it is, and on which side of that. The number is how often it is passed in a round
# at the least: a round draws its n from there.
STEPS: Final[dict[str, tuple[Any, str, str, int]]] = {
    "before the accept commit": (message_rows, "insert", BEFORE, 20),
    "after the accept commit, before the 201": (Acceptor, "_pass_on", BEFORE, 20),
    "before the claim commit": (message_rows, "claim", BEFORE, 3),
    "after the claim commit, before the write": (Submitter, "_claim", AFTER, 3),
    "after the write, before the response": (SmppConnector, "submit", WRITTEN, 200),
    "after the response, before write-behind": (Submitter, "answered", AFTER, 200),
    "after a receipt, before write-behind": (Receipts, "_apply", AFTER, 100),
    "during write-behind": (WriteBatch, "write", BEFORE, 20),
    "after write-behind, before what follows": (WriteBehind, "_finish", BEFORE, 20),
    "after a callback, before its acknowledgment": (Callbacks, "_post", AFTER, 100),
    "before the MO commit": (InboundStage, "_commit", BEFORE, 1),
    "after the MO commit, before its answer": (InboundStage, "_commit", AFTER, 1),
    "during recovery": (Recovery, "_take_up", AFTER, 1),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(step: str, at: int) -> None:
    """Put the step around its method: passed for the `at`-th time, it is the last thing done."""
    owner, name, side, _ = STEPS[step]
    method: Callable[..., Any] = getattr(owner, name)
    passed = 0

    def is_it() -> bool:
        nonlocal passed
        passed += 1
        return passed == at

    def end() -> None:
        if side == WRITTEN:  # bytes leave at the end of this turn of the loop
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, die)
        else:
            die()

    @functools.wraps(method)
    async def around_coroutine(*args: Any, **named: Any) -> Any:
        now = is_it()
        if now and side == BEFORE:
            die()
        result = await method(*args, **named)
        if now:
            end()
        return result

    @functools.wraps(method)
    def around(*args: Any, **named: Any) -> Any:
        now = is_it()
        if now and side == BEFORE:
            die()
        result = method(*args, **named)
        if now:
            end()
        return result

    setattr(owner, name, around_coroutine if asyncio.iscoroutinefunction(method) else around)


def follow(path: str) -> None:
    """Let the wall clock be as far from the machine's as this file says, at each reading."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), OFFSET.size, prot=mmap.PROT_READ)

    def wall() -> float:
        offset: float = OFFSET.unpack_from(mapped)[0]
        return time.time() + offset

    SystemClock.wall = staticmethod(wall)  # type: ignore[assignment]


if __name__ == "__main__":
    if clock := os.environ.get(CLOCK, ""):
        follow(clock)
    if wanted := os.environ.pop(VARIABLE, ""):
        given, _, number = wanted.rpartition(":")
        arm(given, int(number))
    sys.exit(main.main(sys.argv[1:]))
