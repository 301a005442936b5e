"""The load: what is to be sent when, over so many connections, and what came of it.

Two ways. With a schedule the loop is open: a request whose time has come while every connection
is busy waits, and its latency counts from its time all the same. Without one it is closed: each
connection sends as soon as it has its answer, which finds the maximum.

Everything happens in callbacks of the connections and of one timer: the generator must not be
what is measured.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.loadtest.connection import HttpConnection
from gateway.loadtest.histogram import LatencyHistogram
from gateway.loadtest.sends import Sends

TICK_S: Final = 0.25
RECONNECT_S: Final = 0.1
CONNECT_S: Final = 5.0
_CODE: Final = re.compile(rb'"code": ?(\d+)')


class LoadError(Exception):
    """The load can't be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, how fast, over how many connections."""

    messages: int
    connections: int = 64
    # Seconds from the start, one for each request; None: as fast as answers come.
    schedule: array[float] | None = None
    # Nothing more is sent after so long.
    most_s: float | None = None
    # A request that has no answer by then is given up, with its connection.
    timeout_s: float = 10.0


@dataclass(slots=True)
class Result:
    """What came of it. Times in seconds, of the monotonic clock."""

    messages: int = 0  # sent
    accepted: int = 0
    requests: int = 0
    answered: int = 0
    unanswered: int = 0
    # (HTTP status, Twilio's code or 0) → requests.
    refused: Counter[tuple[int, int]] = field(default_factory=Counter)
    # Of accepted requests, from the intended time to the whole answer.
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    # The longest that a request waited for a connection, behind its schedule.
    latest_s: float = 0.0
    started_at: float = 0.0
    answered_at: float = 0.0  # the last one
    cpu_s: float = 0.0  # the generator's own
    gone: bool = False  # the gateway took no connection any more, and the run ended before its end
    # By number of the message: 1 where its request was accepted.
    taken: bytearray = field(default_factory=bytearray)

    @property
    def elapsed_s(self) -> float:
        return max(self.answered_at - self.started_at, 1e-9)

    @property
    def accepted_per_second(self) -> float:
        return self.accepted / self.elapsed_s

    @property
    def cpu_us(self) -> float:
        """Per request."""
        return self.cpu_s / self.requests * 1e6 if self.requests else 0.0

    @property
    def clean(self) -> bool:
        return self.answered > 0 and not (self.refused or self.unanswered or self.gone)


class Generator:
    """Runs one plan once."""

    def __init__(
        self,
        url: str,
        plan: Plan,
        sends: Sends,
        on_tick: Callable[[Result], object] | None = None,
        on_accepted: Callable[[bytes], object] | None = None,
    ) -> None:
        """`on_accepted` gets the body of each answer that took a request."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LoadError(f"{url} is not an http or https URL")
        self._host = parts.hostname
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._plan = plan
        self._sends = sends
        self._on_tick = on_tick
        self._on_accepted = on_accepted
        self._requests = -(-plan.messages // sends.bulk)
        if plan.schedule is not None:
            self._requests = min(self._requests, len(plan.schedule))
        self._idle: deque[HttpConnection] = deque()
        self._all: set[HttpConnection] = set()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._stopped = False  # nothing more is sent
        self._alone_since: float | None = None  # without any connection
        self.result = Result(taken=bytearray(plan.messages))

    async def run(self) -> Result:
        """Send everything, wait for the answers. Raises LoadError when nobody listens."""
        self._loop = asyncio.get_running_loop()
        result = self.result
        try:
            await self._connect_all()
            cpu = time.process_time()
            result.started_at = result.answered_at = time.monotonic()
            self._pump()
            while not self._over.is_set():
                self._tick()
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._over.wait()
                except TimeoutError:
                    continue
            result.cpu_s = time.process_time() - cpu
        finally:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
            for task in self._reconnecting:
                task.cancel()
            await asyncio.gather(*self._reconnecting, return_exceptions=True)
            for connection in list(self._all):
                connection.abort()
        return result

    # Connections ------------------------------------------------------------------------

    async def _connect_all(self) -> None:
        try:
            # A few at a time: a listener's backlog is not what is measured.
            for at in range(0, self._plan.connections, 64):
                many = min(64, self._plan.connections - at)
                await asyncio.gather(*(self._connect() for _ in range(many)))
        except (OSError, TimeoutError) as error:
            raise LoadError(f"{self._host}:{self._port}: {error or 'no answer'}") from None

    async def _connect(self) -> None:
        async with asyncio.timeout(CONNECT_S):
            _, connection = await self._loop.create_connection(
                lambda: HttpConnection(self), self._host, self._port, ssl=self._ssl
            )
        self._all.add(connection)
        self._idle.append(connection)

    async def _reconnect(self) -> None:
        while not self._stopped:
            await asyncio.sleep(RECONNECT_S)
            try:
                await self._connect()
            except (OSError, TimeoutError):
                continue
            self._pump()
            return

    def lost(self, connection: HttpConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if connection.busy:
            connection.busy = False
            self.result.unanswered += 1
        if not self._stopped:
            task = self._loop.create_task(self._reconnect(), name="reconnect")
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)
        self._finish_if_done()

    # Requests ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send what is due on what is idle; come back when the next one is."""
        result, schedule = self.result, self._plan.schedule
        now = time.monotonic()
        while self._idle and not self._stopped and result.requests < self._requests:
            intended = now
            if schedule is not None:
                intended = result.started_at + schedule[result.requests]
                if intended > now:
                    if self._timer is None:
                        # uvloop's timers count whole milliseconds.
                        self._timer = self._loop.call_later(max(intended - now, 0.001), self._due)
                    return
                if now - intended > result.latest_s:
                    result.latest_s = now - intended
            self._send(self._idle.popleft(), intended)

    def _due(self) -> None:
        self._timer = None
        self._pump()

    def _send(self, connection: HttpConnection, intended: float) -> None:
        result, bulk = self.result, self._sends.bulk
        first = result.requests * bulk
        messages = min(bulk, self._plan.messages - first)
        result.requests += 1
        result.messages += messages
        connection.intended, connection.sent_at = intended, time.monotonic()
        connection.number, connection.messages = first, messages
        connection.send(self._sends.render(first, messages))

    def answered(self, connection: HttpConnection, status: int, body: bytes) -> None:
        result, now = self.result, time.monotonic()
        result.answered += 1
        result.answered_at = now
        if self._sends.accepted(status):
            result.accepted += connection.messages
            if self._on_accepted is not None:
                self._on_accepted(body)
            result.latency.record(int((now - connection.intended) * 1e6))
            if connection.messages == 1:
                result.taken[connection.number] = 1
            else:
                upto = connection.number + connection.messages
                result.taken[connection.number : upto] = b"\x01" * connection.messages
        else:
            code = _CODE.search(body)
            result.refused[status, int(code[1]) if code else 0] += 1
        if not connection.closing:
            self._idle.append(connection)
        self._pump()
        self._finish_if_done()

    def _finish_if_done(self) -> None:
        result = self.result
        all_sent = self._stopped or result.requests == self._requests
        if all_sent and result.answered + result.unanswered >= result.requests:
            self._over.set()

    def _tick(self) -> None:
        now, plan = time.monotonic(), self._plan
        if plan.most_s is not None and now - self.result.started_at > plan.most_s:
            self._stopped = True
        for connection in list(self._all):
            if connection.busy and now - connection.sent_at > plan.timeout_s:
                connection.abort()
        if self._all:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > plan.timeout_s:
            self._stopped = self.result.gone = True
        if self._on_tick is not None:
            self._on_tick(self.result)
        self._finish_if_done()
