"""Alerts: what an operator or an app should hear of, kept beside the logs.

Raised from anywhere, written by one task: whoever raises one does not wait, and an alert storm
is bounded by the queue and by one alert of a kind per minute.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from gateway.clock import Clock
from storage import alerts as alert_rows
from storage.pool import DatabaseUnavailable, Pool

log = logging.getLogger(__name__)

BOUND = 1_000  # alerts waiting to be written
QUIET_S = 60.0  # a repeat of the same alert within this is only counted
LOG_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "notice": logging.INFO}


class Alert(NamedTuple):
    code: int
    level: str  # error, warning, notice
    text: str
    resource: str | None = None  # a SID, or the name of a carrier
    account_id: int | None = None  # None: the operator's


class Alerts:
    """Takes alerts from every stage."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(BOUND)
        self._last: dict[tuple[int, str | None, int | None], float] = {}
        self.raised = 0
        self.dropped = 0

    def alert(
        self,
        code: int,
        text: str,
        *,
        level: str = "warning",
        resource: str | None = None,
        account_id: int | None = None,
    ) -> None:
        """Raise an alert. Never blocks, never fails."""
        self.raised += 1
        now = self._clock.monotonic()
        key = (code, resource, account_id)
        if now - self._last.get(key, -QUIET_S) < QUIET_S:
            self.dropped += 1
            return
        if len(self._last) > BOUND:
            self._last = {k: at for k, at in self._last.items() if now - at < QUIET_S}
        self._last[key] = now
        log.log(LOG_LEVELS[level], "alert %d: %s", code, text, extra={"alert": code})
        try:
            self._queue.put_nowait(Alert(code, level, text, resource, account_id))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        while True:
            alert = await self._queue.get()
            try:
                await alert_rows.insert(
                    self._pool,
                    account_id=alert.account_id,
                    code=alert.code,
                    level=alert.level,
                    text=alert.text,
                    resource=alert.resource,
                )
            except DatabaseUnavailable as error:
                log.warning("an alert was only logged: %s", error)
