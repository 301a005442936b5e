"""Alerts: what an operator or an app should hear of, kept beside the logs
(docs/spec/twilio-api.md#monitor-alerts-and-the-debugger-webhook).

Raised from anywhere, written by one task: whoever raises one does not wait, and an alert storm
is bounded by the queue and by one alert of a kind, about one thing, per minute.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

from gateway.observe.outage_log import AWAY
from gateway.observe.peer_faults import caused_by_peer
from gateway.runtime.clock import Clock
from storage import alerts as alert_rows
from storage.database import ConnectionPool, DatabaseUnavailable, UniqueViolation
from storage.ids import Id

log = logging.getLogger(__name__)

BOUND = 10_000  # alerts waiting to be written; beyond it they are counted, and lost
BATCH = 500
RETRY_S = 0.5
KINDS_BOUND = 10_000  # kinds of alerts whose last time is remembered
QUIET_S = 60.0  # a repeat of the same alert within this is only counted
TEXT_LIMIT = 2_000  # characters kept of a body, a URL, a form
KEEP = timedelta(days=30)
FORGET_EVERY_S = 3600.0
_ORIGIN: Final = re.compile(r"[A-Za-z]{1,10}://[^/?#]*")  # as in storage.alerts
LOG_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "notice": logging.INFO}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to an app, and what came of it. Headers and variables are forms."""

    method: str
    url: str
    variables: str = ""
    headers: str = ""
    status: int = 0  # 0: no answer
    response_headers: str = ""
    response_body: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    sid: str
    at: float  # wall clock
    code: int
    level: str  # error, warning, notice
    text: str  # "" where the code says all
    resource: str | None = None  # a SID, or the name of a carrier
    account_id: int | None = None  # None: the operator's
    service: str | None = None  # a SID
    exchange: Exchange | None = None
    messages: tuple[Id, ...] = ()  # whose text it may quote

    def without_texts(self) -> Alert:
        """As it is where what it may quote was erased."""
        if self.exchange is None:
            return replace(self, text="")
        exchange = replace(
            self.exchange,
            url=_origin(self.exchange.url),
            variables="",
            response_headers="",
            response_body="",
        )
        return replace(self, text="", exchange=exchange)


class Alerts:
    """Takes alerts from every stage. `written` hears of those that are in the table."""

    def __init__(self, pool: ConnectionPool, clock: Clock, random: Random) -> None:
        self._pool = pool
        self._clock = clock
        self._random = random
        self._queue: asyncio.Queue[Alert] = asyncio.Queue(BOUND)
        self._last: dict[tuple[object, ...], float] = {}
        self._forget_at = 0.0
        self.written: Callable[[Sequence[Alert]], None] = lambda alerts: None
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
        service: str | None = None,
        exchange: Exchange | None = None,
        messages: Sequence[Id] = (),
        subject: str | None = None,
        log_text: str | None = None,
        logged_as: str | None = None,
        bounded: bool = False,
    ) -> None:
        """Raise an alert. Never blocks, never fails.

        `messages`: those whose text it or the exchange may quote; it is erased with them, also
        where it comes later. `log_text` is what the log says where the text may quote: nothing is
        erased there. `subject` is what it is about, for the one a minute; by default the resource.
        `logged_as` is the same for the log, where many alerts have one cause (a host that is down).
        With `bounded` none is dropped as a repeat: whoever raises it sees to it that they are few.
        """
        self.raised += 1
        if not bounded and not self._is_first(("alert", code, subject or resource, account_id)):
            self.dropped += 1
            return
        if logged_as is None or self._is_first(("log", code, logged_as, account_id)):
            kind = f"alert {code} of {account_id}"  # how many there are, an app's servers choose
            extra = caused_by_peer(kind, alert=code)
            said = text if log_text is None else log_text
            log.log(LOG_LEVELS[level], "alert %d: %s", code, said, extra=extra)
        self._put(code, level, text, resource, account_id, service, exchange, messages)

    def _is_first(self, key: tuple[object, ...]) -> bool:
        """Whether this was not said within the last minute."""
        now = self._clock.monotonic()
        if now - self._last.get(key, -QUIET_S) < QUIET_S:
            return False
        if len(self._last) >= KINDS_BOUND:
            self._last = {k: at for k, at in self._last.items() if now - at < QUIET_S}
            if len(self._last) >= KINDS_BOUND:
                self._last.clear()
        self._last[key] = now
        return True

    def message_failed(
        self, code: int, resource: str, account_id: int, service: str | None
    ) -> None:
        """Raise an alert of a message that failed, without a line in the log."""
        self.raised += 1
        self._put(code, "error", "", resource, account_id, service, None)

    def _put(
        self,
        code: int,
        level: str,
        text: str,
        resource: str | None,
        account_id: int | None,
        service: str | None,
        exchange: Exchange | None,
        messages: Sequence[Id] = (),
    ) -> None:
        if self._queue.full():
            self.dropped += 1
            return
        sid = new_sid(self._random)
        at = self._clock.wall()
        self._queue.put_nowait(
            Alert(
                *(sid, at, code, level, text, resource, account_id, service, exchange),
                tuple(messages),
            )
        )

    async def run(self) -> None:
        """Write what is raised, in batches of whatever has gathered; until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            if stored := await self._stored(batch):
                self.written(stored)
            try:
                await self._forget()
            except DatabaseUnavailable as error:
                log.warning("old alerts are not forgotten for now: %s", error, extra=AWAY)

    async def _stored(self, batch: Sequence[Alert]) -> list[Alert]:
        """Write them, however long the database takes to come back: some tell that it is away.

        Those that are in the table, as they are there.
        """
        doubtful = False
        quoting = {alert.sid: alert.messages for alert in batch if alert.messages}
        while True:
            try:
                late = await alert_rows.insert(self._pool, map(row_of, batch), quoting)
                return [alert.without_texts() if alert.sid in late else alert for alert in batch]
            except DatabaseUnavailable as error:
                doubtful = True
                log.warning("%d alerts are stored later: %s", len(batch), error, extra=AWAY)
                await asyncio.sleep(RETRY_S)
            except Exception as error:
                if doubtful and isinstance(error, UniqueViolation):  # they had been committed
                    return [alert.without_texts() if alert.messages else alert for alert in batch]
                if len(batch) == 1:
                    log.error("an alert of %d can't be stored: %s", batch[0].code, type(error))
                    return []
                middle = len(batch) // 2  # the others must not be lost with it
                return [
                    alert
                    for half in (batch[:middle], batch[middle:])
                    for alert in await self._stored(half)
                ]

    async def _forget(self) -> None:
        now = self._clock.monotonic()
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            at = datetime.fromtimestamp(self._clock.wall(), UTC)
            await alert_rows.forget(self._pool, at - KEEP)


def new_sid(random: Random) -> str:
    return f"NO{random.getrandbits(128):032x}"


def row_of(alert: Alert) -> tuple[Any, ...]:
    """In the order of `storage.alerts.COLUMNS`."""
    exchange = alert.exchange
    return (
        alert.sid,
        datetime.fromtimestamp(alert.at, UTC),
        alert.code,
        alert.level,
        storable(alert.text),
        storable(alert.resource) if alert.resource is not None else None,
        alert.service,
        *(
            (
                exchange.method,
                storable(exchange.url),
                storable(exchange.variables),
                storable(exchange.headers),
                exchange.status,
                storable(exchange.response_headers),
                storable(exchange.response_body),
            )
            if exchange is not None
            else (None,) * 7
        ),
        alert.account_id,
        list(alert.messages) or None,
    )


def _origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    found = _ORIGIN.match(url)
    return found[0] if found is not None else ""


def storable(text: str) -> str:
    """As much of a text from outside as is kept, without what no table takes."""
    text = text[:TEXT_LIMIT].replace("\x00", "\ufffd")
    return text.encode("utf-8", "replace").decode()
