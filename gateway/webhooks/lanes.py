"""Work that goes to hosts which may be slow or dead: each host has a lane of its own.

A dead receiver delays nobody else; what failed is tried again, later and later. Memory is
bounded: a host has at most LANE_BOUND jobs waiting, for their turn or for another try, and all
hosts together RETRY_BOUND for another try. What is above is let go (`spilled`), stays owed in
Postgres, and `sweep` (which reads owed rows, a page at a time, round and round, and lines them up
again) is asked for while there is room.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from gateway.clock import Clock
from gateway.observe.outage import AWAY
from gateway.observe.wall import described
from storage.pool import DatabaseUnavailable

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 3600.0
LANE_BOUND = 10_000  # jobs waiting for one host in memory
RETRY_BOUND = 50_000  # jobs waiting for another try, of all hosts
SWEEP_BELOW = 1_000  # with fewer waiting for their turn, owed rows are read again
SWEEP_EVERY_S = 1.0

Job = TypeVar("Job", bound=Hashable)


@dataclass(slots=True)
class Lane(Generic[Job]):
    """What waits for one host, and how many workers do it."""

    ready: deque[Job] = field(default_factory=deque)
    retrying: int = 0
    workers: int = 0


class Lanes(Generic[Job]):
    """Runs `work` on each job, at most `per_host` at once for one host.

    `work` says when a job failed (`retry`) and when it is over (`over`). A job that raises failed
    in a way that `work` did not foresee: `broke` hears of it, and says which of the two it is.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Random,
        *,
        per_host: int,
        work: Callable[[Job], Awaitable[None]],
        spilled: Callable[[Job], None],
        sweep: Callable[[], Awaitable[bool]],
        broke: Callable[[Job, str], None],
        owed: bool = False,
    ) -> None:
        """`broke` is called with the job and what was raised, and must not raise itself."""
        self._name = name
        self._clock = clock
        self._random = random
        self._per_host = per_host
        self._work = work
        self._spilled = spilled
        self._sweep = sweep
        self._broke = broke
        self._lanes: dict[str, Lane[Job]] = {}
        self._retries: list[tuple[float, int, str, Job]] = []
        self._tries: dict[Job, int] = {}
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._serial = 0
        self._sweep_at = 0.0
        self._owed_elsewhere = owed  # rows owe what memory has let go of, or has not read yet
        self.overflowed = 0

    @property
    def waiting(self) -> int:
        """Jobs in memory that are not under way."""
        return self._ready + len(self._retries)

    @property
    def under_way(self) -> int:
        """Jobs that a worker does now."""
        return sum(lane.workers for lane in self._lanes.values())

    @property
    def retrying(self) -> int:
        """Jobs that failed, and wait for another try."""
        return len(self._retries)

    @property
    def _ready(self) -> int:
        return sum(len(lane.ready) for lane in self._lanes.values())

    async def run(self) -> None:
        """Own the workers, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for host in self._lanes:
                    self._staff(host)
                while True:
                    await self._sweep_if_there_is_room()
                    await self._pause()
                    self._retry_what_is_due()
            finally:
                self._tasks = None  # what is lined up from now on stays owed

    def line_up(self, host: str, job: Job) -> bool:
        """Have it done. False: there is no room, it was spilled."""
        lane = self._lanes.get(host)
        if lane is None:
            lane = self._lanes[host] = Lane()
        if len(lane.ready) + lane.retrying >= LANE_BOUND:
            self.let_go(job)
            return False
        lane.ready.append(job)
        self._staff(host)
        return True

    def retry(self, host: str, job: Job) -> None:
        """Try again later: back off, doubling, with jitter."""
        if len(self._retries) >= RETRY_BOUND:
            self.let_go(job)
            return
        tries = self._tries[job] = self._tries.get(job, 0) + 1
        wait = min(FIRST_RETRY_S * 2 ** min(tries - 1, 20), LONGEST_RETRY_S)
        wait *= 0.5 + self._random.random() / 2
        self._serial += 1
        lane = self._lanes.get(host)
        if lane is None:
            lane = self._lanes[host] = Lane()
        lane.retrying += 1
        heapq.heappush(self._retries, (self._clock.monotonic() + wait, self._serial, host, job))
        self._wake.set()

    def tried(self, job: Job) -> int:
        """How often it failed so far."""
        return self._tries.get(job, 0)

    def over(self, job: Job) -> None:
        """It succeeded, or was given up: its next try is a first one."""
        self._tries.pop(job, None)

    def let_go(self, job: Job) -> None:
        """Leave it to its row; a sweep finds it again."""
        self.overflowed += 1
        self._owed_elsewhere = True
        self._tries.pop(job, None)
        self._wake.set()
        self._spilled(job)

    def _staff(self, host: str) -> None:
        """One more worker while work waits and the host's bound allows it."""
        lane = self._lanes[host]
        if lane.ready and lane.workers < self._per_host and self._tasks is not None:
            lane.workers += 1
            self._tasks.create_task(self._do(host, lane), name=f"{self._name} worker")

    async def _do(self, host: str, lane: Lane[Job]) -> None:
        """Do what waits for the host; end when nothing does, and forget the host."""
        while lane.ready:
            job = lane.ready.popleft()
            self._staff(host)
            try:
                await self._work(job)
            except DatabaseUnavailable as error:
                log.warning("%s: a job is tried again: %s", self._name, error, extra=AWAY)
                self.retry(host, job)
            except Exception as error:
                log.exception("%s: a job failed", self._name)
                self._broke(job, described(error))
        lane.workers -= 1
        if not lane.workers and not lane.retrying and self._lanes.get(host) is lane:
            del self._lanes[host]

    def _retry_what_is_due(self) -> None:
        now = self._clock.monotonic()
        while self._retries and self._retries[0][0] <= now:
            _, _, host, job = heapq.heappop(self._retries)
            self._lanes[host].retrying -= 1
            self.line_up(host, job)

    async def _sweep_if_there_is_room(self) -> None:
        now = self._clock.monotonic()
        if self._owed_elsewhere and now >= self._sweep_at and self._ready < SWEEP_BELOW:
            self._owed_elsewhere = False
            self._sweep_at = now + SWEEP_EVERY_S
            try:
                more = await self._sweep()
            except DatabaseUnavailable as error:
                log.warning("%s: owed rows not read: %s", self._name, error, extra=AWAY)
                more = True
            self._owed_elsewhere |= more

    async def _pause(self) -> None:
        """Until a retry is due, or something new is planned."""
        wait = None
        if self._retries:
            wait = max(0.0, self._retries[0][0] - self._clock.monotonic())
        if self._owed_elsewhere:
            sweep = max(0.01, self._sweep_at - self._clock.monotonic())
            if self._ready >= SWEEP_BELOW:
                sweep = max(sweep, SWEEP_EVERY_S)
            wait = min(wait, sweep) if wait is not None else sweep
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
