"""After a load: is everything that was accepted at the carrier, once?

The carrier is the simulator, which keeps every submit_sm; each message of a run went to a
recipient of its own, so the destination names it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from gateway.loadtest.reconcile import Submit, read_ledger, their_state
from gateway.loadtest.sends import Recipients

POLL_S: Final = 0.2
REQUEST_S: Final = 120.0  # a ledger of a million lines takes that long to render
STILL_S: Final = 10.0  # no submit for so long: no more will come


@dataclass(slots=True)
class LedgerCheck:
    """What the carrier has of the messages that were accepted."""

    accepted: int
    missing: list[str] = field(default_factory=list)  # recipients
    doubled: list[str] = field(default_factory=list)
    unasked: int = 0  # submitted, though their request was refused or not answered
    states: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not self.missing and not self.doubled


def check(
    taken: bytearray, recipients: Recipients, ledger: Mapping[str, list[Submit]]
) -> LedgerCheck:
    """Hold the accepted messages (1 in `taken`) against the ledger, by destination."""
    result = LedgerCheck(sum(taken))
    for number, accepted in enumerate(taken):
        digits = recipients.digits(number)
        submits = ledger.get(digits, [])
        if not accepted:
            result.unasked += bool(submits)
            continue
        if not submits:
            result.missing.append(digits)
            continue
        result.states[their_state(submits)] += 1
        segments = [submit.segment for submit in submits]
        if len(set(segments)) != len(segments):
            result.doubled.append(digits)
    return result


async def fetch(control_url: str, expected: int, before: int) -> Mapping[str, list[Submit]]:
    """The ledger by destination, once `expected` more than `before` submits are in it.

    When they do not come, it is read after STILL_S without any. Raises OSError.
    """
    timeout = aiohttp.ClientTimeout(total=REQUEST_S)
    base = control_url.rstrip("/")
    loop = asyncio.get_running_loop()
    try:
        async with aiohttp.ClientSession(raise_for_status=True, timeout=timeout) as session:
            seen, moved_at = -1, loop.time()
            while seen < before + expected and loop.time() - moved_at < STILL_S:
                counters = await _counters(session, base)
                if counters["submits"] != seen:
                    seen, moved_at = counters["submits"], loop.time()
                await asyncio.sleep(POLL_S)
            by_destination: defaultdict[str, list[Submit]] = defaultdict(list)
            async with session.get(f"{base}/ledger") as response:
                for submit in read_ledger((await response.read()).splitlines()):
                    by_destination[submit.destination.lstrip("+")].append(submit)
            return by_destination
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"the ledger can't be read: {error or 'no answer'}") from None


async def submits_so_far(control_url: str) -> int:
    """The simulator's count of submit_sm. Raises OSError."""
    try:
        timeout = aiohttp.ClientTimeout(total=10.0)
        async with aiohttp.ClientSession(raise_for_status=True, timeout=timeout) as session:
            return int((await _counters(session, control_url.rstrip("/")))["submits"])
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"the ledger can't be read: {error or 'no answer'}") from None


async def _counters(session: aiohttp.ClientSession, base: str) -> dict[str, Any]:
    async with session.get(f"{base}/counters") as response:
        counters: dict[str, Any] = await response.json()
        return counters
