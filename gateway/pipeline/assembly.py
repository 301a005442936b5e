"""The pipeline, put together: accept → route → queue → submit → receipts → write-behind.

Built once per process by `gateway.app`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from gateway.acceptance.acceptor import Acceptor
from gateway.acceptance.admission import Admission
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.backlog.canceler import Canceler
from gateway.backlog.handover import Handover
from gateway.backlog.housekeeping import Housekeeping
from gateway.backlog.overflow import Overflow
from gateway.backlog.owed_sweep import OwedSweep
from gateway.backlog.reassignment import Reassignment
from gateway.backlog.recovery import Recovery
from gateway.backlog.requeue import Requeue
from gateway.backlog.scheduler import Scheduler
from gateway.backlog.takeover import Takeover
from gateway.channels.smpp.carrier_ways import CarrierWays
from gateway.channels.smpp.connector import SmppConnector
from gateway.channels.smpp.receipts import Receipts
from gateway.directory.directory import SenderRecord
from gateway.directory.sender_rates import SenderRates
from gateway.messages.lifecycle import Lifecycle
from gateway.messages.message import Message, Status
from gateway.pacing.pacer import Pacer
from gateway.pipeline.after_commit import AfterCommit
from gateway.pipeline.connector_events import ConnectorEvents
from gateway.pipeline.refresh import Refresh
from gateway.pipeline.stage_tasks import StageTasks
from gateway.recipients.sticky_upkeep import StickyUpkeep
from gateway.routing.health import Health
from gateway.settings import Settings
from gateway.stage_runtime import Runtime
from gateway.submission.configured_rates import ConfiguredRates
from gateway.submission.connectors import Connectors
from gateway.submission.submitter import Submitter
from gateway.submission.write_behind import WriteBehind

log = logging.getLogger(__name__)


class Pipeline:
    """All stages of one process."""

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        share = runtime.ownership.share
        self.settings = settings
        self.runtime = runtime
        # Whether the right to work with the database is certainly ours, at this moment.
        self.confirmed: Callable[[], bool] = lambda: True
        by_id: dict[int, SmppConnector[Message]] = {}
        self.ways = CarrierWays(by_id)
        rates = SenderRates(
            runtime.directory,
            workers=share.workers,
            rate_for_all=settings.default_rate_per_second,
        )
        self.router = Router(
            runtime.directory,
            runtime.clock,
            rates,
            self.ways.profile,
            generic_ids=settings.generic_sender_ids,
        )
        self.pacer: Pacer[Message] = Pacer(ConfiguredRates(rates, self.ways.rate))
        self._health = Health(self.router.loads.set_healthy)
        self.after_commit = AfterCommit(
            runtime.directory, runtime.alerts, self._health, runtime.clock
        )
        self._build_submission()
        self._build_acceptance()
        self._build_backlog()
        self.events = ConnectorEvents(runtime, self.submitter, self.receipts, self.ways.profile_of)
        self.connectors = Connectors(runtime, settings, self.events, share, by_id)
        self.events.connect(self.connectors, self.router.loads.set_carrier)
        self._build_upkeep()

    def _build_submission(self) -> None:
        """From a sender's queue to the carrier, and back to the rows."""
        runtime, told = self.runtime, self.after_commit
        self.writer = WriteBehind(runtime, told.moved, told.ended_with)
        self.mappings = StickyUpkeep(runtime.pool, self.router.loads)
        self.lifecycle = Lifecycle(runtime.clock, self.writer.moved, self.mappings.unused)
        self.receipts = Receipts(runtime, self.writer, self.lifecycle, self.ways)
        self.submitter = Submitter(
            runtime,
            self.pacer,
            self.writer,
            self.receipts,
            self.lifecycle,
            released=self._released,
            reserved=self.settings.test_destinations,
        )

    def _build_acceptance(self) -> None:
        """From a draft to a committed row with a sender."""
        runtime, told = self.runtime, self.after_commit
        admission = Admission(runtime.directory, self.router, runtime.clock)
        self.assigner = Assigner(runtime, admission, self.submitter, self.lifecycle, told.accepted)
        self.acceptor = Acceptor(
            runtime,
            admission,
            self.submitter,
            self.assigner,
            committed=told.arrived,
            handed_over=self._hand_over,
        )

    def _build_backlog(self) -> None:
        """What waits in rows, and its way back."""
        runtime, told = self.runtime, self.after_commit
        requeue = Requeue(runtime, self.router, self.assigner, self.lifecycle)
        self.overflow = Overflow(runtime, self.pacer, requeue, self.submitter.resume)
        self.submitter.leave_to(self.overflow)
        self.scheduler = Scheduler(runtime, requeue)
        self.canceler = Canceler(
            runtime,
            self.pacer,
            self.assigner,
            self.overflow,
            self.lifecycle,
            released=self._released,
            never_submitted=self.mappings.unused,
            unscheduled=self.scheduler.canceled,
            committed=told.accepted,
        )
        self._reassignment = Reassignment(
            runtime, self.assigner, self.submitter, self.overflow, self.mappings
        )
        told.connect(self.scheduler, self._reassignment)
        self._owed = OwedSweep(runtime, self._owe_callbacks)
        self.recovery = Recovery(
            runtime,
            self.submitter,
            self.overflow,
            requeue,
            self._owed,
            doubt_of=self.ways.doubt,
        )
        sweeps = "two_gateways" not in self.settings.allow_unsafe
        self.takeover = Takeover(runtime, self.recovery, sweeps=sweeps)
        self.handover = Handover(
            runtime,
            self.overflow,
            self.acceptor,
            self.assigner,
            self.takeover,
            written=self.writer.drained,
        )

    def _build_upkeep(self) -> None:
        """What follows the configuration and the clock."""
        runtime = self.runtime
        self.stages = StageTasks()
        self.configuration = Refresh(
            runtime,
            self.router.protection,
            follow=self._follow,
            restored=self.takeover.look,
            rested=self._health.rested,
        )
        self.housekeeping = Housekeeping(
            runtime.database, runtime.pool, runtime.clock, self.settings.media.keep_days
        )

    # Life ---------------------------------------------------------------------------------

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
        self._reassignment.follow(before, self.runtime.directory.senders_by_id)
        self.connectors.follow(self.runtime.directory.carriers.values())
        gained = self.runtime.ownership.follow(self.connectors.submitting)
        if self.stages:  # else everything is still to be taken up
            self.handover.follow(self.runtime.directory.version, gained)
        self.router.configuration_changed()
        self.pacer.rates_changed(self.runtime.clock.monotonic())

    def send_stored(self, drafts: Sequence[Draft]) -> None:
        """Another stage stored these, with their senders: they wait for their turn now."""
        messages = [draft.message for draft in drafts]
        for message in messages:
            message.committed = message.status
            self.runtime.live[message.id] = message
            self.after_commit.count(message)
        self.submitter.wait(message for message in messages if message.status is Status.QUEUED)
        for message in messages:
            self.after_commit.accepted(message)

    async def sweep_callbacks(self) -> bool:
        """Owe again what rows owe and memory let go of; whether there may be more."""
        return await self._owed.sweep(self.runtime.pool)

    def _owe_callbacks(self, message: Message) -> None:
        self.after_commit.owe_callbacks(message)

    def _hand_over(self, draft: Draft) -> None:
        self.after_commit.count(draft.message)
        self.handover.hand_over(draft)

    def _released(self, message: Message) -> None:
        """A message left its sender's queue for good."""
        self.router.release(message)
        self.assigner.stir()
