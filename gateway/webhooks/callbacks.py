"""Status callbacks: at least once, in order per message, each host by itself.

There is no outbox. A message's committed life says which callbacks it owes
(`states.callback_events`), its row says how many were acknowledged, and the difference is
what is still to be posted: after a restart too. A message is in at most one lane at a time,
so its callbacks keep their order; hosts have lanes of their own, so a dead receiver delays
nobody else.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from random import Random
from urllib.parse import urlsplit

from gateway.clock import Clock
from gateway.dispatch.directory import Directory
from gateway.dispatch.message import Message, Status
from gateway.dispatch.states import callback_events
from gateway.webhooks.client import Answer, WebhookClient
from gateway.webhooks.signature import Parameters, sign
from storage.pool import DatabaseUnavailable

log = logging.getLogger(__name__)

API_VERSION = "2010-04-01"
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 3600.0
LANE_BOUND = 10_000  # messages waiting for one host in memory; the rest stays owed in Postgres
RETRY_BOUND = 50_000  # messages waiting for another try, of all hosts
SWEEP_BELOW = 1_000  # with fewer waiting in memory, owed rows are read again
SWEEP_EVERY_S = 1.0
MALFORMED_URL = 11100  # no retry will help
QUIET_S = 60.0  # between two log lines about one host
QUIET_HOSTS = 10_000


def callback_parameters(
    message: Message,
    status: Status,
    at: float,
    number: int,
    directory: Directory,
    *,
    event_parameters: bool,
    carrier_parameters: Parameters = (),
) -> Parameters:
    """The form of one status callback (twilio-api §4).

    `number` counts a message's callbacks from 1; it and the time are extensions, signed
    like the rest.
    """
    sid = message.sid
    pairs = [
        ("ApiVersion", API_VERSION),
        ("AccountSid", directory.accounts_by_id[message.account_id].sid),
        ("MessageSid", sid),
        ("SmsSid", sid),
        ("MessageStatus", status.shown),
        ("SmsStatus", status.shown),
        ("To", message.recipient),
    ]
    if message.sender is not None:
        pairs.append(("From", message.sender))
    service = directory.services_by_id.get(message.service_id or 0)
    if service is not None:
        pairs.append(("MessagingServiceSid", service.sid))
    if status in (Status.FAILED, Status.UNDELIVERED) and message.error_code:
        pairs.append(("ErrorCode", str(message.error_code)))
    if status in (Status.DELIVERED, Status.UNDELIVERED) and message.done_date:
        pairs.append(("RawDlrDoneDate", message.done_date))
    pairs.extend(carrier_parameters)
    if event_parameters:
        pairs.append(("EventNumber", str(number)))
        pairs.append(("EventTimestamp", format_datetime(datetime.fromtimestamp(at, UTC))))
    return pairs


@dataclass(slots=True)
class Lane:
    """What waits for one host, and how many workers post it."""

    ready: deque[Message] = field(default_factory=deque)
    workers: int = 0


class Callbacks:
    """Posts what committed messages owe; reports each acknowledgement to `acknowledged`.

    Memory is bounded: a host has at most LANE_BOUND messages waiting, all hosts together have
    RETRY_BOUND waiting for another try. What is above stays owed in Postgres, and `sweep` (which
    reads owed rows, oldest first, and owes them again) is asked for when there is room.
    """

    def __init__(
        self,
        client: WebhookClient,
        directory: Directory,
        clock: Clock,
        random: Random,
        *,
        per_host: int,
        retry_for_s: float,
        event_parameters: bool,
        acknowledged: Callable[[Message], None],
        sweep: Callable[[], Awaitable[bool]],
        carrier_parameters: Callable[[Message], Parameters],
    ) -> None:
        self._carrier_parameters = carrier_parameters
        self._client = client
        self._directory = directory
        self._clock = clock
        self._random = random
        self._per_host = per_host
        self._retry_for_s = retry_for_s
        self._event_parameters = event_parameters
        self._acknowledged = acknowledged
        self._sweep = sweep
        self._lanes: dict[str, Lane] = {}
        self._retries: list[tuple[float, int, Message]] = []
        self._wake = asyncio.Event()
        self._tries: dict[Message, int] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._serial = 0
        self._owed_elsewhere = False  # rows owe callbacks that memory has let go of
        self._quiet: dict[str, float] = {}  # host → when its failures are logged again
        self.posted = 0
        self.failed = 0
        self.overflowed = 0

    async def run(self) -> None:
        """Own the workers, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for host in self._lanes:
                self._staff(host)
            while True:
                await self._pause()
                self._retry_what_is_due()
                if self._owed_elsewhere and self.waiting < SWEEP_BELOW:
                    self._owed_elsewhere = False
                    try:
                        more = await self._sweep()
                    except DatabaseUnavailable as error:
                        log.warning("owed callbacks not read: %s", error)
                        more = True
                    self._owed_elsewhere |= more

    def owe(self, message: Message) -> None:
        """`message` was committed in a new state: post what it owes, if it is not being done."""
        if message.callback_url is None or message.calling:
            return
        if message.callbacks_done < len(callback_events(message)):
            self._line_up(message)

    @property
    def waiting(self) -> int:
        """Messages in memory whose callbacks are not under way."""
        return sum(len(lane.ready) for lane in self._lanes.values()) + len(self._retries)

    def _line_up(self, message: Message) -> None:
        assert message.callback_url is not None
        host = urlsplit(message.callback_url).netloc
        lane = self._lanes.get(host)
        if lane is None:
            lane = self._lanes[host] = Lane()
        if len(lane.ready) >= LANE_BOUND:
            self._leave_to_the_rows(message)
            return
        message.calling = True
        lane.ready.append(message)
        self._staff(host)

    def _leave_to_the_rows(self, message: Message) -> None:
        self.overflowed += 1
        self._owed_elsewhere = True
        self._tries.pop(message, None)
        message.calling = False

    def _staff(self, host: str) -> None:
        """One more worker while work waits and the host's bound allows it."""
        lane = self._lanes[host]
        if lane.ready and lane.workers < self._per_host and self._tasks is not None:
            lane.workers += 1
            self._tasks.create_task(self._work(host, lane), name="callback worker")

    async def _work(self, host: str, lane: Lane) -> None:
        """Post what waits for the host; end when nothing does, and forget the host."""
        while lane.ready:
            message = lane.ready.popleft()
            self._staff(host)
            try:
                await self._post_all(message)
            except Exception:
                log.exception("callback of %s", message.sid)
                self._plan_retry(message)
        lane.workers -= 1
        if not lane.workers and self._lanes.get(host) is lane:
            del self._lanes[host]

    async def _post_all(self, message: Message) -> None:
        """Post what the message owes by now, one after the other."""
        while message.callbacks_done < len(events := callback_events(message)):
            status, at = events[message.callbacks_done]
            answer = await self._post(message, status, at)
            if not answer.ok:
                self._plan_retry(message, hopeless=answer.error_code == MALFORMED_URL)
                return
            self._tries.pop(message, None)
            message.callbacks_done += 1
            self._acknowledged(message)
        message.calling = False

    async def _post(self, message: Message, status: Status, at: float) -> Answer:
        assert message.callback_url is not None
        number = message.callbacks_done + 1
        parameters = callback_parameters(
            message,
            status,
            at,
            number,
            self._directory,
            event_parameters=self._event_parameters,
            carrier_parameters=self._carrier_parameters(message),
        )
        account = self._directory.accounts_by_id[message.account_id]
        token = sha256(f"{message.sid}/{number}".encode()).hexdigest()[:32]
        answer = await self._client.post(
            message.callback_url,
            parameters,
            {
                "X-Twilio-Signature": sign(account.auth_token, message.callback_url, parameters),
                "I-Twilio-Idempotency-Token": token,
            },
        )
        if answer.ok:
            self.posted += 1
            return answer
        self.failed += 1
        self._log_failure(message, status, answer)
        return answer

    def _log_failure(self, message: Message, status: Status, answer: Answer) -> None:
        """One line per host and minute: a dead receiver must not flood the log."""
        host = urlsplit(message.callback_url or "").netloc
        now = self._clock.monotonic()
        if now < self._quiet.get(host, 0.0):
            return
        if len(self._quiet) > QUIET_HOSTS:
            self._quiet.clear()
        self._quiet[host] = now + QUIET_S
        log.warning(
            "callback %s of %s not taken by %s: %s",
            status.shown,
            message.sid,
            host,
            answer.reason or f"HTTP {answer.status}",
            extra={"sid": message.sid, "error_code": answer.error_code or 11200},
        )

    def _plan_retry(self, message: Message, *, hopeless: bool = False) -> None:
        """Back off, doubling, with jitter; give up when the callback is too old to matter."""
        events = callback_events(message)
        at = events[message.callbacks_done][1] if message.callbacks_done < len(events) else 0.0
        if hopeless or self._clock.wall() - at > self._retry_for_s:
            log.error("callback of %s given up", message.sid, extra={"sid": message.sid})
            self._tries.pop(message, None)
            message.callbacks_done += 1
            message.calling = False
            self._acknowledged(message)
            self.owe(message)
            return
        if len(self._retries) >= RETRY_BOUND:
            self._leave_to_the_rows(message)
            return
        tries = self._tries[message] = self._tries.get(message, 0) + 1
        wait = min(FIRST_RETRY_S * 2 ** min(tries - 1, 20), LONGEST_RETRY_S)
        wait *= 0.5 + self._random.random() / 2
        self._serial += 1
        heapq.heappush(self._retries, (self._clock.monotonic() + wait, self._serial, message))
        self._wake.set()

    def _retry_what_is_due(self) -> None:
        now = self._clock.monotonic()
        while self._retries and self._retries[0][0] <= now:
            self._line_up(heapq.heappop(self._retries)[2])

    async def _pause(self) -> None:
        """Until a retry is due, or something new is planned."""
        wait = None
        if self._retries:
            wait = max(0.0, self._retries[0][0] - self._clock.monotonic())
        if self._owed_elsewhere:
            wait = min(wait, SWEEP_EVERY_S) if wait is not None else SWEEP_EVERY_S
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
