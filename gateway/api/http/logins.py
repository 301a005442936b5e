"""Logins that fail: counted, told once a minute, and slowed where one address has many.

Only answers to wrong credentials wait; whoever has the right ones is answered at once, from the
same address too.
"""

from __future__ import annotations

import asyncio
import binascii
import ipaddress
import logging
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway.observe.alerts import Alerts

log = logging.getLogger(__name__)

MANY_REFUSED: Final = 99009  # an alert of ours
MANY: Final = 100  # in a minute
MINUTE_S: Final = 60.0
FREE: Final = 10  # failures of an address in a minute that are answered at once
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 8.0
MOST_ADDRESSES: Final = 10_000
MOST_PAIRS: Final = 1_000  # of a SID and an address, in a minute
SHOWN: Final = 3
SID: Final = re.compile(r"(?:AC|SK)[0-9a-fA-F]{32}")


class Logins:
    """The logins of this process."""

    def __init__(
        self,
        alerts: Alerts,
        now: Callable[[], float],
        *,
        trust_forwarded: bool = False,
        stop: asyncio.Event | None = None,
        most_addresses: int = MOST_ADDRESSES,
    ) -> None:
        self._most_addresses = most_addresses
        self._alerts = alerts
        self._stop = stop or asyncio.Event()
        self._now = now
        self._trust_forwarded = trust_forwarded
        self._addresses: dict[str, tuple[float, int]] = {}  # since when, failures since
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._in_minute = 0
        self._telling: asyncio.TimerHandle | None = None
        self.failed = 0

    def wait_s(self, authorization: bytes | None, peer: str, forwarded: bytes | None) -> float:
        """How long the answer to these credentials, which are wrong, has to wait.

        None at all are no attempt: some clients ask so whether they need any.
        """
        if not authorization:
            return 0.0
        address = _network(peer)
        if self._trust_forwarded and forwarded:
            # The last is what our own proxy saw; those before it are its client's word.
            address = _network(forwarded.decode("latin-1").rpartition(",")[2].strip())
        self._count(_sid_of(authorization), address)
        now = self._now()
        since, failures = self._addresses.pop(address, (now, 0))
        if now - since >= MINUTE_S:
            since, failures = now, 0
        if len(self._addresses) >= self._most_addresses:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[address] = since, failures + 1
        if failures < FREE:
            return 0.0
        return min(FIRST_WAIT_S * 2.0 ** min(failures - FREE, 10), LONGEST_WAIT_S)

    async def wait(self, seconds: float) -> None:
        """So long, or until the gateway stops: it would not wait for whoever has no password."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def tell(self) -> None:
        """Say what there was in the last minute."""
        self._telling = None
        count, self._in_minute = self._in_minute, 0
        pairs, self._pairs = self._pairs, Counter()
        most = pairs.most_common(SHOWN)
        shown = ", ".join(f"{sid} from {address}: {number}" for (sid, address), number in most)
        rest = count - sum(number for _, number in most)
        log.warning(
            "%d logins were refused within a minute: %s%s",
            count,
            shown,
            f", others: {rest}" if rest else "",
        )

    def _count(self, sid: str, address: str) -> None:
        self.failed += 1
        self._in_minute += 1
        if (sid, address) in self._pairs or len(self._pairs) < MOST_PAIRS:
            self._pairs[sid, address] += 1
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(MINUTE_S, self.tell)
        if self._in_minute == MANY:
            (most_sid, most_address), number = self._pairs.most_common(1)[0]
            self._alerts.alert(
                MANY_REFUSED,
                f"{MANY} logins were refused within a minute, {number} of them for {most_sid}"
                f" from {most_address}",
                subject="logins",
            )


def _sid_of(authorization: bytes) -> str:
    """The SID that was tried; what is none may be a secret in the wrong place."""
    try:
        user = b64decode(authorization[6:], validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return "no SID"
    return user if SID.fullmatch(user) else "no SID"


def _network(text: str) -> str:
    """The address; of IPv6 the network that one customer has as a rule."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "an unknown address"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
