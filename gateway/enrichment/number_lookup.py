"""The operator's own carrier lookup: an HTTP dip into an HLR or a portability database.

Asked only where a table could make the answer matter, behind a bounded cache; a message never
waits longer for it than `timeout_s`. A failure is an unknown carrier, and is remembered for a
short while, so that a dead service costs each number one wait a minute.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp.resolver import ThreadedResolver

from gateway.observe.alerts import Alerts
from gateway.runtime.clock import Clock
from gateway.webhooks.session import WithSession

FAILED_KEEP_S: Final = 60.0
MOST_OCTETS: Final = 16 * 1024
LOOKUP_FAILED: Final = 11200


class NumberLookup(WithSession):
    """Asks `url`, in which `{number}` stands for the E.164 number; the answer is a JSON object
    whose `carrier` is a name as in the operator's tables, or null.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        alerts: Alerts,
        *,
        timeout_s: float,
        most: int,
        keep_s: float,
    ) -> None:
        self._url = url
        self._clock = clock
        self._alerts = alerts
        self._timeout_s = timeout_s
        self._most = most
        self._keep_s = keep_s
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # carrier, until when
        self._asking: dict[str, asyncio.Future[str]] = {}

    def _make(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # The operator's own name, by the system's resolver like a carrier's: no app chooses it.
            connector=aiohttp.TCPConnector(
                limit=64, keepalive_timeout=30, resolver=ThreadedResolver()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def known(self, e164: str) -> str | None:
        """The carrier, empty when nobody knows it; None when it must be asked for."""
        found = self._known.get(e164)
        if found is None or found[1] <= self._clock.monotonic():
            return None
        self._known.move_to_end(e164)
        return found[0]

    async def carrier(self, e164: str) -> str:
        """The carrier, empty when it is not known. Never raises for what the service does."""
        if (known := self.known(e164)) is not None:
            return known
        if (asking := self._asking.get(e164)) is not None:
            return await asyncio.shield(asking)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asking[e164] = future
        carrier, keep_s = "", FAILED_KEEP_S
        try:
            async with asyncio.timeout(self._timeout_s):
                carrier, keep_s = await self._ask(e164), self._keep_s
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._alerts.alert(
                LOOKUP_FAILED,
                f"the carrier lookup failed: {error or 'no answer in time'}",
                resource="lookup",
            )
        finally:
            del self._asking[e164]
            future.set_result(carrier)
        self._known[e164] = (carrier, self._clock.monotonic() + keep_s)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return carrier

    async def _ask(self, e164: str) -> str:
        """Raises ValueError for an answer that is none."""
        async with self.session.get(self._url.replace("{number}", quote(e164))) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            answer = orjson.loads(await response.content.read(MOST_OCTETS))
        carrier = answer.get("carrier") if isinstance(answer, dict) else None
        if carrier is not None and not isinstance(carrier, str):
            raise ValueError("`carrier` is no text")
        return carrier or ""
