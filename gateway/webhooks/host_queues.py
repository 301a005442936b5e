"""Work that goes to servers which may be slow or dead: each has a lane of its own per account.

A dead receiver delays nobody else; what failed is tried again, later and later. A worker counts
among its account's connections for as long as it works, and makes room after each job that others
wait for. Memory is bounded: a receiver has at most LANE_BOUND jobs waiting, for their turn or for
another try, an account ACCOUNT_BOUND for their turn, and all together RETRY_BOUND for another try.
What is above is let go (`spilled`), stays owed in
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
from functools import partial
from random import Random
from typing import Generic, TypeVar

from gateway.observe.outage_log import AWAY
from gateway.observe.wall import described
from gateway.runtime.clock import Clock
from gateway.webhooks.connections import AppServer, Connections
from storage.database import DatabaseUnavailable

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 3600.0
LANE_BOUND = 10_000  # jobs waiting for one receiver in memory
ACCOUNT_BOUND = 20_000  # jobs of one account that wait for their turn
RETRY_BOUND = 50_000  # jobs waiting for another try, of all receivers
SWEEP_BELOW = 1_000  # with fewer waiting for their turn, owed rows are read again
SWEEP_EVERY_S = 1.0

Job = TypeVar("Job", bound=Hashable)


@dataclass(slots=True)
class HostQueue(Generic[Job]):
    """What waits for one receiver, and how many workers do it."""

    receiver: AppServer
    ready: deque[Job] = field(default_factory=deque)
    retrying: int = 0
    workers: int = 0
    waits: bool = False  # for a connection


class HostQueues(Generic[Job]):
    """Runs `work` on each job, at most `per_host` at once for one receiver.

    `work` says when a job failed (`retry`) and when it is over (`over`). A job that raises failed
    in a way that `work` did not foresee: `broke` hears of it, and says which of the two it is.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Random,
        connections: Connections,
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
        self._connections = connections
        self._per_host = per_host
        self._work = work
        self._spilled = spilled
        self._sweep = sweep
        self._broke = broke
        self._host_queues: dict[AppServer, HostQueue[Job]] = {}
        self._ready_of: dict[int, int] = {}  # jobs that wait for their turn, by account
        self._retries: list[tuple[float, int, AppServer, Job]] = []
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
        return sum(lane.workers for lane in self._host_queues.values())

    @property
    def retrying(self) -> int:
        """Jobs that failed, and wait for another try."""
        return len(self._retries)

    @property
    def _ready(self) -> int:
        return sum(self._ready_of.values())

    @property
    def _moving(self) -> int:
        """Jobs whose turn comes soon: no connection is waited for, no answer overdue."""
        silent = self._connections.is_silent
        return sum(
            len(lane.ready)
            for lane in self._host_queues.values()
            if not lane.waits and not silent(lane.receiver)
        )

    async def run(self) -> None:
        """Own the workers, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for lane in list(self._host_queues.values()):
                    self._staff(lane)
                while True:
                    await self._sweep_if_there_is_room()
                    await self._pause()
                    self._retry_what_is_due()
            finally:
                self._tasks = None  # what is lined up from now on stays owed

    def line_up(self, receiver: AppServer, job: Job) -> bool:
        """Have it done. False: there is no room, it was spilled."""
        lane = self._host_queues.get(receiver)
        waiting = len(lane.ready) + lane.retrying if lane is not None else 0
        ready = self._ready_of.get(receiver.account_id, 0)
        if waiting >= LANE_BOUND or (ready >= ACCOUNT_BOUND and receiver.host):
            self.let_go(job)
            return False
        if lane is None:
            lane = self._host_queues[receiver] = HostQueue(receiver)
        lane.ready.append(job)
        self._ready_of[receiver.account_id] = ready + 1
        self._staff(lane)
        return True

    def retry(self, receiver: AppServer, job: Job) -> None:
        """Try again later: back off, doubling, with jitter."""
        if len(self._retries) >= RETRY_BOUND:
            self.let_go(job)
            return
        tries = self._tries[job] = self._tries.get(job, 0) + 1
        wait = min(FIRST_RETRY_S * 2 ** min(tries - 1, 20), LONGEST_RETRY_S)
        wait *= 0.5 + self._random.random() / 2
        self._serial += 1
        lane = self._host_queues.get(receiver)
        if lane is None:
            lane = self._host_queues[receiver] = HostQueue(receiver)
        lane.retrying += 1
        due = self._clock.monotonic() + wait
        heapq.heappush(self._retries, (due, self._serial, receiver, job))
        self._wake.set()

    def tried(self, job: Job) -> int:
        """How often it failed so far."""
        return self._tries.get(job, 0)

    def over(self, job: Job) -> None:
        """The item succeeded, or was given up: its next try is a first one."""
        self._tries.pop(job, None)

    def let_go(self, job: Job) -> None:
        """Leave it to its row; a sweep finds it again."""
        self.overflowed += 1
        self._owed_elsewhere = True
        self._tries.pop(job, None)
        self._wake.set()
        self._spilled(job)

    def _staff(self, lane: HostQueue[Job]) -> None:
        """One more worker while work waits and the bounds allow it."""
        if not lane.ready or self._tasks is None or lane.waits:
            return
        if lane.workers >= self._most_workers(lane):
            return
        account_id, host = lane.receiver
        if host and not self._connections.enter(account_id):
            lane.waits = True
            self._connections.wait(account_id, partial(self._granted, lane))
            return
        lane.workers += 1
        self._tasks.create_task(self._do(lane), name=f"{self._name} worker")

    def _most_workers(self, lane: HostQueue[Job]) -> int:
        return 1 if self._connections.is_silent(lane.receiver) else self._per_host

    def _granted(self, lane: HostQueue[Job]) -> bool:
        """There is a connection for this lane; whether it still needs it."""
        lane.waits = False
        if not lane.ready or self._tasks is None or lane.workers >= self._most_workers(lane):
            return False
        lane.workers += 1
        self._tasks.create_task(self._do(lane), name=f"{self._name} worker")
        return True

    async def _do(self, lane: HostQueue[Job]) -> None:
        """Do what waits for the receiver; end when nothing does, and forget the receiver."""
        account_id, host = lane.receiver
        begun = False
        try:
            while lane.ready and lane.workers <= self._most_workers(lane):
                if begun and host and self._connections.wanted(account_id):
                    break
                begun = True
                job = lane.ready.popleft()
                self._count_out(account_id)
                self._staff(lane)
                await self._do_one(lane, job)
        finally:
            lane.workers -= 1
            if host:
                self._connections.leave(account_id)
        self._staff(lane)
        self._forget_if_empty(lane)

    async def _do_one(self, lane: HostQueue[Job], job: Job) -> None:
        try:
            await self._work(job)
        except DatabaseUnavailable as error:
            log.warning("%s: a job is tried again: %s", self._name, error, extra=AWAY)
            self.retry(lane.receiver, job)
        except Exception as error:
            log.exception("%s: a job failed", self._name)
            self._broke(job, described(error))

    def _count_out(self, account_id: int) -> None:
        left = self._ready_of[account_id] - 1
        if left:
            self._ready_of[account_id] = left
        else:
            del self._ready_of[account_id]

    def _forget_if_empty(self, lane: HostQueue[Job]) -> None:
        busy = lane.workers or lane.retrying or lane.ready
        if not busy and self._host_queues.get(lane.receiver) is lane:
            del self._host_queues[lane.receiver]

    def _retry_what_is_due(self) -> None:
        now = self._clock.monotonic()
        while self._retries and self._retries[0][0] <= now:
            _, _, receiver, job = heapq.heappop(self._retries)
            lane = self._host_queues[receiver]
            lane.retrying -= 1
            if not self.line_up(receiver, job):
                self._forget_if_empty(lane)

    async def _sweep_if_there_is_room(self) -> None:
        now = self._clock.monotonic()
        if self._owed_elsewhere and now >= self._sweep_at and self._moving < SWEEP_BELOW:
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
            if self._moving >= SWEEP_BELOW:
                sweep = max(sweep, SWEEP_EVERY_S)
            wait = min(wait, sweep) if wait is not None else sweep
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
