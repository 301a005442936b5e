"""The pipeline, put together: accept → route → queue → submit → receipts → write-behind.

Built once per process by `gateway.app`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from random import Random

from gateway.acceptance.acceptor import Acceptor
from gateway.acceptance.admission import Admission
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.backlog.canceler import Canceler
from gateway.backlog.handover import Handover
from gateway.backlog.housekeeping import Housekeeping
from gateway.backlog.overflow import Overflow
from gateway.backlog.reassignment import Reassignment
from gateway.backlog.recovery import OwedSweep, Recovered, Recovery, id_at
from gateway.backlog.requeue import Requeue
from gateway.backlog.retention import keep_forgetting
from gateway.backlog.scheduler import Scheduler
from gateway.backlog.takeover import Takeover
from gateway.channels.smpp.connector import Connector
from gateway.cluster.placement import Ownership
from gateway.cluster.share import ALONE, WorkerSlot
from gateway.directory.directory import Directory, SenderRecord
from gateway.directory.sender_rates import SenderRates
from gateway.messages.lifecycle import Lifecycle
from gateway.messages.message import IdSource, Message, Status
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.observe.wall import Walls
from gateway.pacing.pacer import Pacer, SharedBucket
from gateway.pipeline.after_commit import AfterCommit
from gateway.pipeline.connector_events import ConnectorEvents
from gateway.pipeline.refresh import Refresh
from gateway.pipeline.stage_tasks import StageTasks
from gateway.recipients.sticky_upkeep import StickyUpkeep
from gateway.routing.health import Health
from gateway.runtime.clock import Clock
from gateway.settings import Settings
from gateway.submission.carrier_ways import CarrierWays
from gateway.submission.connectors import Connectors
from gateway.submission.receipts import Receipts
from gateway.submission.submitter import Submitter
from gateway.submission.write_behind import WriteBehind
from storage import messages as message_rows
from storage.database import ConnectionPool, Database

log = logging.getLogger(__name__)

GOODBYE_S = 1.0  # for an unbind, and for the last batch of the write-behind
MOST_AHEAD_S = 86_400.0  # a clock that was wrong by more than this: its ids are not followed


class ConfiguredRates:
    """The rates that the pacer asks for, from configuration."""

    def __init__(self, rates: SenderRates, ways: CarrierWays) -> None:
        self._rates = rates
        self.carrier = ways.rate

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        return self._rates.towards(sender_id, destination_class)

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.shared(sender_id, destination_class)

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.account(account_id)


class Pipeline:
    """All stages of one process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        pool: ConnectionPool,
        clock: Clock,
        random: Random,
        share: WorkerSlot = ALONE,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.clock = clock
        self._database = database
        # Whether the right to work with the database is certainly ours, at this moment.
        self.confirmed: Callable[[], bool] = lambda: True
        self.directory = Directory()
        self.ownership = Ownership(share, self.directory)
        self.next_id = IdSource(clock.wall, clock.monotonic, random.getrandbits)
        self.journal = Journal(
            settings.data_dir / "journal" if settings.journal.keep_hours else None,
            clock,
            keep_s=settings.journal.keep_hours * 3600.0,
            most_octets=settings.journal.most_mb * 1024 * 1024,
            writer=share.slot,
        )
        self.alerts = Alerts(pool, clock, random)
        self.walls = Walls(self.alerts)
        by_id: dict[int, Connector[Message]] = {}
        self.ways = CarrierWays(by_id)
        rates = SenderRates(
            self.directory,
            workers=share.workers,
            rate_for_all=settings.default_rate_per_second,
        )
        self.router = Router(
            self.directory,
            clock,
            rates,
            self.ways.profile,
            generic_ids=settings.generic_sender_ids,
        )
        self.pacer: Pacer[Message] = Pacer(ConfiguredRates(rates, self.ways))
        self._health = Health(self.router.loads.set_healthy)
        self.after_commit = AfterCommit(self.directory, self.alerts, self._health, clock)
        self._build_submission()
        self._build_acceptance()
        self._build_backlog()
        self.events = ConnectorEvents(
            self.directory,
            self.ownership,
            self.alerts,
            self.submitter,
            self.receipts,
            self.ways.profile_of,
        )
        self.connectors = Connectors(
            settings, self.events, clock, random, self.journal, share, by_id
        )
        self.events.connect(self.connectors, self.handover, self.router.loads.set_carrier)
        self._build_upkeep()

    def _build_submission(self) -> None:
        """From a sender's queue to the carrier, and back to the rows."""
        database, clock, told = self._database, self.clock, self.after_commit
        self.writer = WriteBehind(
            database, told.moved, told.ended_with, clock.monotonic, self.walls.of("write-behind")
        )
        self.mappings = StickyUpkeep(self.pool, self.router.loads)
        self.lifecycle = Lifecycle(clock, self.writer.mark, self.mappings.unused)
        self.receipts = Receipts(
            database,
            self.writer,
            self.lifecycle,
            self.alerts,
            clock,
            self.ways.profile,
            self.ways.name,
            self.walls.of("receipts"),
        )
        self.submitter = Submitter(
            database,
            self.pacer,
            self.writer,
            self.receipts,
            clock,
            self.directory,
            self._released,
            self.lifecycle,
            self.settings.test_destinations,
            self.walls.of("submit"),
        )

    def _build_acceptance(self) -> None:
        """From a draft to a committed row with a sender."""
        admission = Admission(self.directory, self.router, self.clock)
        self.assigner = Assigner(
            self._database,
            admission,
            self.submitter,
            self.lifecycle,
            self.clock,
            self.after_commit.accepted,
            self.walls.of("assign"),
        )
        self.acceptor = Acceptor(
            self._database,
            admission,
            self.submitter,
            self.assigner,
            self.after_commit.arrived,
            self._remember,
            self.clock.monotonic,
            self.ownership,
            self._hand_over,
            self.walls.of("accept"),
        )

    def _build_backlog(self) -> None:
        """What waits in rows, and its way back."""
        database, clock, live = self._database, self.clock, self.receipts.live
        self._requeue = Requeue(self.directory, self.router, self.assigner, self.lifecycle, clock)
        self.overflow = Overflow(
            database,
            self.pacer,
            live,
            self.directory,
            self.router,
            self._requeue,
            clock,
            self.lifecycle,
            self.submitter.resume,
            self.next_id,
            self.walls.of("spill"),
        )
        self.submitter.leave_to(self.overflow)
        self.scheduler = Scheduler(
            database,
            clock,
            self._requeue,
            live,
            self.directory,
            self.ownership,
            self.walls.of("schedule"),
        )
        self.canceler = Canceler(
            self.pool,
            self.lifecycle,
            live,
            self.pacer,
            self.assigner,
            self.overflow,
            self._released,
            self.mappings.unused,
            self.scheduler.canceled,
            self.after_commit.accepted,
        )
        self._reassignment = Reassignment(
            live, self.router, self.assigner, self.submitter, self.overflow, self.mappings
        )
        self.after_commit.connect(self.scheduler, self._reassignment)
        self._build_recovery()

    def _build_recovery(self) -> None:
        """What rows of a former run, or of another worker, become here."""
        clock, live = self.clock, self.receipts.live
        self._owed = OwedSweep(
            self.receipts, clock, self._owe_callbacks, self.ownership, self.walls.of("callbacks")
        )
        self.recovery = Recovery(
            self.router,
            self.submitter,
            self.overflow,
            self._requeue,
            self.lifecycle,
            self.receipts,
            clock,
            self._owe_callbacks,
            self.ways.ambiguous_policy,
            self.ownership,
            self.next_id,
            self.walls.of("recovery"),
        )
        self.takeover = Takeover(
            self._database,
            self.recovery,
            self.alerts,
            sweeps="two_gateways" not in self.settings.allow_unsafe,
        )
        self.handover = Handover(
            self.pool,
            self.ownership,
            self.router,
            live,
            self.pacer,
            self.assigner,
            self.overflow,
            self.writer,
            self.acceptor,
            self.takeover,
            clock,
        )

    def _build_upkeep(self) -> None:
        """What follows the configuration and the clock."""
        self.stages = StageTasks()
        self.configuration = Refresh(
            self._database,
            self.pool,
            self.directory,
            self.router.protection,
            self.clock,
            self.walls.of("configuration"),
            follow=self._follow,
            restored=self.takeover.look,
            rested=self._health.rested,
        )
        self.housekeeping = Housekeeping(
            self._database, self.pool, self.clock, self.settings.media.keep_days
        )

    # Life ---------------------------------------------------------------------------------

    async def start(self) -> Recovered:
        """Load the configuration, take up what a former run left, open every stage."""
        await self.housekeeping.prepare()
        async with self.pool.acquire() as connection:
            most = id_at(self.clock.wall() + MOST_AHEAD_S)
            newest = await message_rows.newest(connection, most)
        if newest is not None:  # a clock that was set back meanwhile must not change the order
            self.next_id.follow(newest)
            self.router.references.begin(self.next_id.now())
        await self.connectors.adopt_file(self.pool)
        await self.configuration.begin()
        await self.mappings.count()
        self.submitter.connect(self.connectors.by_id)
        reading = await self._database.open("recovery")
        try:
            recovered = await self.recovery.run(reading)
        finally:
            await reading.close()
        forgetting = keep_forgetting(
            self.pool,
            callbacks_end_s=self.settings.webhooks.retry_for_s,
            deletions_s=self.settings.journal.keep_hours * 3600,
        )
        for name, work in {
            "writer": self.writer.run(),
            "alerts": self.alerts.run(),
            "journal": self.journal.run(),
            "receipts": self.receipts.run(),
            "submitter": self.submitter.run(),
            "spill": self.overflow.run(),
            "acceptor": self.acceptor.run(),
            "assigner": self.assigner.run(),
            "scheduler": self.scheduler.run(),
            "retention": forgetting,
            "mappings": self.mappings.run(),
            "configuration": self.configuration.run(),
            "partitions": self.housekeeping.run(),
            "adoption": self.takeover.run(),
            "carriers": self.connectors.run(),
        }.items():
            self.stages.start(name, work)
        return recovered

    async def stop(self, drain_s: float) -> None:
        """Take nothing new, wait for answers under way, write everything, close.

        In `drain_s` seconds all in all, and a little for the last goodbyes.
        """
        if self.stages.one_ended:
            drain_s = 0.0
        now = asyncio.get_running_loop().time
        until = now() + drain_s
        try:
            async with asyncio.timeout_at(until):
                await self.acceptor.close()
        except TimeoutError:
            log.error("stopping with %d sends not answered", self.acceptor.backlog)
        try:
            async with asyncio.timeout_at(until + GOODBYE_S):  # a deaf carrier answers no unbind
                await self.connectors.close(max(0.0, until - now()))
        except TimeoutError:
            log.warning("stopping with a carrier that does not answer to unbind")
        try:
            async with asyncio.timeout_at(max(until, now() + GOODBYE_S)):
                await self.writer.drained()
                await self.events.inbound.drained()
        except TimeoutError:
            log.error(
                "stopping with %d events not written; a restart repeats them", self.writer.pending
            )
        await self.stages.cancel()

    def allow_while(self, confirmed: Callable[[], bool]) -> None:
        """Take in, claim and write to carriers only while this says so."""
        self.confirmed = confirmed
        self.acceptor.confirmed = confirmed
        self.submitter.confirmed = confirmed
        self.connectors.may_write = confirmed

    def suspend(self, suspended: bool) -> None:
        """The right to the database is lost: answer what waits for a commit. Or it is back."""
        if suspended:
            self.acceptor.suspend()
        else:
            self.submitter.room_changed()
            for connector in self.connectors.by_id.values():
                connector.go_on()

    # Between the stages -------------------------------------------------------------------

    def _follow(self, before: Mapping[int, SenderRecord]) -> None:
        """Bring a change of the configuration into force."""
        self._reassignment.follow(before, self.directory.senders_by_id)
        self.connectors.follow(self.directory.carriers.values())
        gained = self.ownership.follow(self.connectors.submitting)
        if self.stages:  # else everything is still to be taken up
            self.handover.follow(self.directory.version, gained)
        self.router.configuration_changed()
        self.pacer.rates_changed(self.clock.monotonic())

    def send_stored(self, drafts: Sequence[Draft]) -> None:
        """Another stage stored these, with their senders: they wait for their turn now."""
        messages = [draft.message for draft in drafts]
        for message in messages:
            message.committed = message.status
            self._remember(message)
            self.after_commit.count(message)
        self.submitter.wait(message for message in messages if message.status is Status.QUEUED)
        for message in messages:
            self.after_commit.accepted(message)

    async def sweep_callbacks(self) -> bool:
        """Owe again what rows owe and memory let go of; whether there may be more."""
        return await self._owed.sweep(self.pool)

    def _owe_callbacks(self, message: Message) -> None:
        self.after_commit.owe_callbacks(message)

    def _hand_over(self, draft: Draft) -> None:
        self.after_commit.count(draft.message)
        self.handover.hand_over(draft)

    def _released(self, message: Message) -> None:
        """A message left its sender's queue for good."""
        self.router.release(message)
        self.assigner.stir()

    def _remember(self, message: Message) -> None:
        self.receipts.live[message.id] = message
