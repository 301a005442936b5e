"""The pipeline, put together: accept → route → queue → submit → receipts → write-behind.

Built once per process by `gateway.app`; the tasks it runs are few, named, and owned here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from weakref import WeakSet

from gateway.acceptance.acceptor import Acceptor
from gateway.acceptance.admission import Admission
from gateway.acceptance.assigner import Assigner
from gateway.acceptance.draft import Draft
from gateway.acceptance.fraud_guard import DAY_S
from gateway.acceptance.preregistration import PreregistrationAlerts
from gateway.acceptance.router import SENDER_GONE, Router
from gateway.backlog.canceler import Canceler
from gateway.backlog.handover import Handover
from gateway.backlog.overflow import Overflow
from gateway.backlog.recovery import OwedSweep, Recovered, Recovery, id_at
from gateway.backlog.requeue import Requeue
from gateway.backlog.retention import keep_forgetting
from gateway.backlog.scheduler import Scheduler
from gateway.backlog.takeover import Takeover
from gateway.channels.smpp.connector import Connector
from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.tlvs import shown
from gateway.cluster.placement import Ownership
from gateway.cluster.share import ALONE, WorkerSlot
from gateway.directory.directory import MOST_FORMER, Directory, SenderRecord
from gateway.messages.lifecycle import Lifecycle
from gateway.messages.message import Direction, Flag, IdSource, Message, Status
from gateway.observe.alerts import Alerts
from gateway.observe.journal import Journal
from gateway.observe.measures import Tally
from gateway.observe.outage_log import AWAY
from gateway.observe.wall import Walls, described
from gateway.pacing.pacer import Pacer, SharedBucket
from gateway.recipients.sticky_upkeep import StickyUpkeep
from gateway.routing.destination import parse_destination
from gateway.routing.health import Health
from gateway.routing.tables import read_facts
from gateway.runtime.clock import Clock
from gateway.settings import Settings
from gateway.submission.connectors import Connectors
from gateway.submission.receipts import Receipts, Respond
from gateway.submission.stored_deliveries import number_of
from gateway.submission.submitter import MOST_TALLIED, Submitter
from gateway.submission.write_behind import WriteBehind
from smpp.codec import encode_tlvs
from smpp.pdu import DeliverSm, SmeAddress, Tlvs
from smpp.vocabulary import ESME_RX_T_APPN
from storage import config as config_rows
from storage import deactivations, erasure, idempotency, partitions
from storage import facts as fact_rows
from storage import media as media_rows
from storage import messages as message_rows
from storage import protection as protection_rows
from storage import restore as restore_rows
from storage import short_links as link_rows
from storage.database import (
    Connection,
    ConnectionPool,
    Database,
    DatabaseUnavailable,
    OwnConnection,
)

log = logging.getLogger(__name__)

REFRESH_S = 5.0  # how old a missed change of configuration can get
GOODBYE_S = 1.0  # for an unbind, and for the last batch of the write-behind
PARTITIONS_EVERY_S = 3600.0
INDEX_S = 6 * 3600.0  # for one index of a day
MEDIA_PAGE = 100  # files forgotten in one statement
LINK_PAGE = 10_000  # short links, the same
MOST_AHEAD_S = 86_400.0  # a clock that was wrong by more than this: its ids are not followed
UNADDRESSABLE_KEPT = timedelta(days=30)  # recipients of bulk operations that are no numbers
DEACTIVATIONS_DAYS = 31  # one more than is shown
BIND_REFUSED = 99007  # an alert of ours


def _come_back_later(carrier: int, connection: str, delivery: DeliverSm, answer: Respond) -> None:
    """Until somebody stores inbound messages, the carrier keeps them."""
    answer(delivery, ESME_RX_T_APPN)


def _nothing_to_settle(connection: str, deliveries: Sequence[DeliverSm]) -> None:
    """Nobody stored any."""


async def _at_once() -> None:
    """Nothing is to be waited for."""


class ConfiguredRates:
    """The rates that the pacer asks for, from configuration."""

    def __init__(self, router: Router, connectors: Mapping[int, Connector[Message]]) -> None:
        self._router = router
        self._connectors = connectors

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        return self._router.rate_towards(sender_id, destination_class)

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        return self._router.quotas.shared(sender_id, destination_class)

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return self._router.quotas.account(account_id)

    def carrier(self, carrier_id: int) -> float | None:
        connector = self._connectors.get(carrier_id)
        return connector.rate_now if connector is not None else None


class Pipeline:
    """All stages of one process. `owe_callbacks` hears of every committed move,
    `in_conversation` of those of conversations' messages.
    """

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
        # Whether the right to work with the database is certainly ours, at this moment.
        self.confirmed: Callable[[], bool] = lambda: True
        self.directory = Directory()
        self.ownership = Ownership(share, self.directory)
        self.next_id = IdSource(clock.wall, clock.monotonic, random.getrandbits)
        self.owe_callbacks: Callable[[Message], None] = lambda message: None
        self.in_conversation: Callable[[Message], None] = lambda message: None
        self.inbound: Callable[[int, str, DeliverSm, Respond], None] = _come_back_later
        # Hears of connections to carriers that are over, in any worker.
        self.connection_over: Callable[[str], None] = lambda connection: None
        # Hears of deliveries of a connection of ours whose answers have arrived.
        self.answers_arrived: Callable[[str, Sequence[DeliverSm]], None] = _nothing_to_settle
        # Returns when that is written.
        self.inbound_drained: Callable[[], Awaitable[None]] = _at_once
        self.journal = Journal(
            settings.data_dir / "journal" if settings.journal.keep_hours else None,
            clock,
            keep_s=settings.journal.keep_hours * 3600.0,
            most_octets=settings.journal.most_mb * 1024 * 1024,
            writer=share.slot,
        )
        self.connectors = Connectors(settings, self, clock, random, self.journal, share)
        self.router = Router(
            self.directory,
            clock,
            self._profile,
            rate_per_second=settings.default_rate_per_second,
            generic_ids=settings.generic_sender_ids,
            workers=share.workers,
        )
        self.pacer: Pacer[Message] = Pacer(ConfiguredRates(self.router, self.connectors.by_id))
        self.alerts = Alerts(pool, clock, random)
        self.walls = Walls(self.alerts)
        self._preregistration = PreregistrationAlerts(self.directory, self.alerts, clock)
        self.writer = WriteBehind(
            database, self._committed, self._settled, clock.monotonic, self.walls.of("write-behind")
        )
        self.mappings = StickyUpkeep(pool, self.router.loads)
        lifecycle = Lifecycle(clock, self.writer.mark, self.mappings.unused)
        self.receipts = Receipts(
            database,
            self.writer,
            lifecycle,
            self.alerts,
            clock,
            self._profile,
            self.carrier_name,
            self.walls.of("receipts"),
        )
        self.lifecycle = lifecycle
        self.submitter = Submitter(
            database,
            self.pacer,
            self.writer,
            self.receipts,
            clock,
            self.directory,
            self._released,
            lifecycle,
            settings.test_destinations,
            self.walls.of("submit"),
        )
        admission = Admission(self.directory, self.router, clock)
        self.assigner = Assigner(
            database,
            admission,
            self.router,
            self.submitter,
            lifecycle,
            clock,
            self._accepted,
            self.walls.of("assign"),
        )
        self.acceptor = Acceptor(
            database,
            admission,
            self.submitter,
            self.assigner,
            self._arrived,
            self._remember,
            clock.monotonic,
            self.ownership,
            self._hand_over,
            self.walls.of("accept"),
        )
        self._requeue = Requeue(self.directory, self.router, self.assigner, lifecycle, clock)
        self.overflow = Overflow(
            database,
            self.pacer,
            self.receipts.live,
            self.directory,
            self.router,
            self._requeue,
            clock,
            lifecycle,
            self.submitter.resume,
            self.next_id,
            self.walls.of("spill"),
        )
        self.submitter.leave_to(self.overflow)
        self.scheduler = Scheduler(
            database,
            clock,
            self._requeue,
            self.receipts.live,
            self.directory,
            self.ownership,
            self.walls.of("schedule"),
        )
        self.canceler = Canceler(
            pool,
            lifecycle,
            self.receipts.live,
            self.pacer,
            self.assigner,
            self.overflow,
            self._released,
            self.mappings.unused,
            self.scheduler.canceled,
            self._accepted,
        )
        self._health = Health(self.router.loads.set_healthy)
        # Whose sender left its pool, or was deleted, while their batch was being committed.
        self._leaving: WeakSet[Message] = WeakSet()
        self._config_rang = asyncio.Event()
        self._refreshing = asyncio.Lock()
        # A change was shown, and what follows from it was not done to the end.
        self._followed_in_part = False
        self._owed = OwedSweep(
            self.receipts,
            clock,
            lambda message: self.owe_callbacks(message),
            self.ownership,
            self.walls.of("callbacks"),
        )
        self.recovery = Recovery(
            self.router,
            self.submitter,
            self.overflow,
            self._requeue,
            lifecycle,
            self.receipts,
            clock,
            lambda message: self.owe_callbacks(message),
            self._ambiguous_policy,
            self.ownership,
            self.next_id,
            self.walls.of("recovery"),
        )
        self.takeover = Takeover(
            database,
            self.recovery,
            self.alerts,
            sweeps="two_gateways" not in settings.allow_unsafe,
        )
        self.moving = Handover(
            pool,
            self.ownership,
            self.router,
            self.receipts.live,
            self.pacer,
            self.assigner,
            self.overflow,
            self.writer,
            self.acceptor,
            self.takeover,
            clock,
        )
        # Messages by service (0: none), of those that sent last.
        self.accepted_by: Tally[int] = Tally(MOST_TALLIED)
        # Messages by service and final status.
        self.ended: Tally[tuple[int, Status]] = Tally(MOST_TALLIED)
        # Messages by the code that they ended with.
        self.failures: Counter[int] = Counter()
        self._database = database
        self._random = random
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Recovered:
        """Load the configuration, take up what a former run left, open every stage."""
        async with self.pool.acquire() as connection:
            await partitions.ensure_partitions(connection, self._today())
            most = id_at(self.clock.wall() + MOST_AHEAD_S)
            newest = await message_rows.newest(connection, most)
        if newest is not None:  # a clock that was set back meanwhile must not change the order
            self.next_id.follow(newest)
            self.router.begin_references(self.next_id.now())
        await self.connectors.adopt_file(self.pool)
        await self.refresh()
        former = await config_rows.former_services(self.pool, None, MOST_FORMER)
        self.directory.remember_services({row["id"]: row["sid"] for row in reversed(former)})
        await self.mappings.count()
        self.submitter.connect(self.connectors.by_id)
        reading = await self._database.open("recovery")
        try:
            recovered = await self.recovery.run(reading)
        finally:
            await reading.close()
        self._start_task("writer", self.writer.run())
        self._start_task("alerts", self.alerts.run())
        self._start_task("journal", self.journal.run())
        self._start_task("receipts", self.receipts.run())
        self._start_task("submitter", self.submitter.run())
        self._start_task("spill", self.overflow.run())
        self._start_task("acceptor", self.acceptor.run())
        self._start_task("assigner", self.assigner.run())
        self._start_task("scheduler", self.scheduler.run())
        forgetting = keep_forgetting(
            self.pool,
            callbacks_end_s=self.settings.webhooks.retry_for_s,
            deletions_s=self.settings.journal.keep_hours * 3600,
        )
        self._start_task("retention", forgetting)
        self._start_task("mappings", self.mappings.run())
        self._start_task("configuration", self._stay_fresh())
        self._start_task("partitions", self._make_partitions())
        self._start_task("adoption", self.takeover.run())
        self._start_task("carriers", self.connectors.run())
        return recovered

    async def failed(self) -> None:
        """Return never, or raise what ended one of the stages: its failure is loud."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError(f"the stage {task.get_name()!r} ended")

    async def stop(self, drain_s: float) -> None:
        """Take nothing new, wait for answers under way, write everything, close.

        In `drain_s` seconds all in all, and a little for the last goodbyes.
        """
        for task in self._tasks:
            if task.done():  # a stage failed: what it owed, nobody will do any more
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
                await self.inbound_drained()
        except TimeoutError:
            log.error(
                "stopping with %d events not written; a restart repeats them", self.writer.pending
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Read the configuration again if it changed."""
        async with self._refreshing:  # what was read earlier must not come in force later
            await self._refresh()

    async def _refresh(self) -> None:
        known = 0 if self._followed_in_part else self.directory.version
        snapshot = await config_rows.load(self.pool, known)
        before = self.directory.senders_by_id
        self.directory.show(snapshot)
        for sid, why in self.directory.unreadable.items():
            self.walls.of("configuration").tell(why, resource=sid)
        rest = snapshot.rest
        if rest is None:  # nothing of what routing is made of
            return
        self._followed_in_part = True
        if rest.fact_revision != self.directory.facts_revision:
            contents = await fact_rows.contents(self.pool)
            # A table of thousands of rows takes a while to read, and the loop must not wait.
            self.directory.facts = await asyncio.to_thread(read_facts, contents)
            self.directory.facts_revision = rest.fact_revision
        await self._count_today()
        self._follow_moved_numbers(before)
        self._follow_left_pools(before)
        self.connectors.follow(self.directory.carriers.values())
        gained = self.ownership.follow(self.connectors.submitting)
        if self._tasks:  # else everything is still to be taken up
            self.moving.follow(self.directory.version, gained)
        self.router.configuration_changed()
        self.pacer.rates_changed(self.clock.monotonic())
        self._followed_in_part = False

    async def _count_today(self) -> None:
        """What accounts with a daily limit have sent before this process knew of it."""
        midnight = id_at(self.clock.wall() // DAY_S * DAY_S)
        for account_id in self.router.protection.uncounted():
            sent = await protection_rows.sent_since(
                self.pool, account_id, midnight, inbound=Direction.INBOUND
            )
            self.router.protection.counted(account_id, sent)

    def _follow_moved_numbers(self, before: Mapping[int, SenderRecord]) -> None:
        moved = {
            id: record.sender.carrier_id
            for id, record in self.directory.senders_by_id.items()
            if id in before and before[id].sender.carrier_id != record.sender.carrier_id
        }
        if moved:
            waiting = [
                message for message in self.receipts.live.values() if message.status < Status.SENT
            ]
            self.submitter.moved(waiting, moved)

    def _follow_left_pools(self, before: Mapping[int, SenderRecord]) -> None:
        """What waits for a sender that left its service is chosen anew
        (docs/spec/messaging-services.md#pool-resources).

        What waits for one that was deleted, and named it itself, fails: its address may be
        another account's by now.
        """
        now = self.directory.senders_by_id
        left = {
            id: record.service_id
            for id, record in before.items()
            if record.service_id is not None
            and (id not in now or now[id].service_id != record.service_id)
        }
        gone = before.keys() - now.keys()
        if left:
            self.mappings.sweep_soon()
            self.overflow.left_pool(left)
        if not left and not gone:
            return
        for message in list(self.receipts.live.values()):
            if message.status is not Status.QUEUED:
                continue
            if message.sender_id not in gone and (
                # A plain From stays with its number, whatever pool that is in.
                message.service_id is None or left.get(message.sender_id) != message.service_id
            ):
                continue
            if message.committed is not Status.QUEUED:  # its batch is being committed just now
                self._leaving.add(message)
            else:
                self._lost_sender(message)
        for sender_id in gone:  # the rest of its queue, in rows
            self.overflow.released(sender_id)

    def _lost_sender(self, message: Message) -> None:
        """The message's sender is gone: unless it goes just now, it gets another, or fails."""
        if message.service_id is not None:
            self._choose_anew(message)
        else:
            self.submitter.give_up(message, SENDER_GONE)

    def _choose_anew(self, message: Message) -> None:
        if message.spilled and message.service_id is not None:
            self.overflow.left_pool({message.sender_id: message.service_id})
        if not self.pacer.remove(message):
            return
        self.router.release(message)
        destination = parse_destination(message.recipient)
        assert destination is not None, "it was routed once"
        text = message.content.text if message.content is not None else message.text
        draft = Draft(message, destination, smart=text != message.text, prepared=True, weighed=True)
        self.assigner.admit((draft,))

    def _hand_over(self, draft: Draft) -> None:
        self.accepted_by.add(draft.message.service_id or 0)
        self.moving.hand_over(draft)

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

    def _ambiguous_policy(self, carrier_id: int) -> str:
        connector = self.connectors.by_id.get(carrier_id)
        return connector.settings.ambiguous if connector is not None else "resubmit"

    # Events of the connectors, passed on to the stage that they concern -------------------

    def answered(
        self, message: Message, segments: int, status: int, carrier_id: str, tlvs: Tlvs
    ) -> None:
        try:
            if tlvs:
                message.heard(encode_tlvs(tlvs))
            self.submitter.answered(message, segments, status, carrier_id)
        except Exception as error:  # of this message: its bind goes on
            self.submitter.broke_off(message, error)

    def lost(self, message: Message, segments: int, timed_out: bool) -> None:
        try:
            self.submitter.lost(message, segments, timed_out)
        except Exception as error:
            self.submitter.broke_off(message, error)

    def answered_late(self, message: Message, segments: int, status: int, carrier_id: str) -> None:
        try:
            self.submitter.answered_late(message, segments, status, carrier_id)
        except Exception as error:
            self.submitter.broke_off(message, error)

    def unsent(self, message: Message, segments: int) -> None:
        try:
            self.submitter.unsent(message, segments)
        except Exception as error:
            self.submitter.broke_off(message, error)

    def room_changed(self) -> None:
        for connector in self.connectors.by_id.values():
            self.router.loads.set_carrier(connector.carrier_id, connector.up)
        self.submitter.room_changed()

    def rate_changed(self, carrier: int, lowered: bool) -> None:
        self.submitter.rate_changed(carrier, lowered)

    def connection_lost(self, connection: str) -> None:
        self.connection_over(connection)
        if not self.ownership.alone:
            self.moving.others.lost(connection)

    def settled(self, connection: str, deliveries: Sequence[DeliverSm]) -> None:
        self.answers_arrived(connection, deliveries)

    def refused(self, carrier: int, reason: str) -> None:
        name = self.connectors.by_id[carrier].name
        self.alerts.alert(BIND_REFUSED, reason, level="error", resource=name)

    def delivered(
        self,
        carrier: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        slot = self._slot_of(carrier, delivery.destination)
        if slot != self.ownership.share.slot:
            self.moving.others.deliver(slot, carrier, connection, delivery, answer)
        else:
            self.take_in(carrier, connection, delivery, answer)

    def _slot_of(self, carrier: int, address: SmeAddress) -> int:
        ownership = self.ownership
        if not ownership.alone and not ownership.has_address(address.value):
            record = number_of(self.directory, address, self.profile_of(carrier))
            if record is not None:
                return ownership.of_address(record.sender.address)
        return ownership.of_address(address.value)

    def take_in(
        self,
        carrier: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        """A delivery for a number of this process."""
        try:
            if delivery.is_receipt:
                self.receipts.received(carrier, delivery, answer)
            else:
                self.inbound(carrier, connection, delivery, answer)
        except Exception as error:  # of this delivery: its bind goes on
            self.receipts.refuse(carrier, delivery, answer, described(error))

    def send_stored(self, drafts: Sequence[Draft]) -> None:
        """Another stage stored these, with their senders: they wait for their turn now."""
        messages = [draft.message for draft in drafts]
        for message in messages:
            message.committed = message.status
            self._remember(message)
            self.accepted_by.add(message.service_id or 0)
        self.submitter.wait(message for message in messages if message.status is Status.QUEUED)
        for message in messages:
            self._accepted(message)

    def callback_tlvs(self, message: Message) -> list[tuple[str, str]]:
        """The carrier's parameters that its list lets into status callbacks."""
        profile = self._profile(message.carrier_id) if message.carrier_tlvs else None
        return shown(message.carrier_tlvs, profile.callback_tlvs) if profile is not None else []

    # The rest -----------------------------------------------------------------------------

    def _committed(self, message: Message) -> None:
        if message.flags & Flag.CONVERSATION:
            self.in_conversation(message)
        if message.callback_url is not None:
            self.owe_callbacks(message)

    def _arrived(self, message: Message) -> None:
        self.accepted_by.add(message.service_id or 0)
        self._accepted(message)

    def _accepted(self, message: Message) -> None:
        self._committed(message)
        if self._leaving and message in self._leaving:
            self._leaving.discard(message)
            self._lost_sender(message)
        if message.status is Status.SCHEDULED:
            self.scheduler.added(message)
        if message.status.final:
            self._settled(message)
        elif message.sender_id:
            self._preregistration.sent(message)

    def _settled(self, message: Message) -> None:
        """The message reached its final status just now: a failed one is an alert."""
        self.ended.add((message.service_id or 0, message.status))
        if message.error_code:
            self.failures[message.error_code] += 1
        if message.sent_at:
            delivered = message.status is Status.DELIVERED
            self._health.outcome(message.sender_id, delivered, self.clock.monotonic())
        if message.status in (Status.FAILED, Status.UNDELIVERED) and message.error_code:
            service = self.directory.services_by_id.get(message.service_id or 0)
            self.alerts.message_failed(
                message.error_code,
                message.sid,
                message.account_id,
                service.sid if service is not None else None,
            )

    def _released(self, message: Message) -> None:
        """A message left its sender's queue for good."""
        self.router.release(message)
        self.assigner.stir()

    def _remember(self, message: Message) -> None:
        self.receipts.live[message.id] = message

    def _profile(self, carrier_id: int) -> Profile | None:
        connector = self.connectors.by_id.get(carrier_id)
        return connector.profile if connector is not None else None

    def carrier_name(self, carrier_id: int) -> str:
        """A carrier's name; its id where it is gone."""
        connector = self.connectors.by_id.get(carrier_id)
        return connector.name if connector is not None else str(carrier_id)

    def profile_of(self, carrier_id: int) -> Profile:
        """A carrier's ways; those of most where it is gone."""
        return self._profile(carrier_id) or Profile()

    def network_opt_out(self, record: SenderRecord) -> bool:
        """Whether the carrier's network takes STOP for its toll-free numbers
        (docs/spec/messaging-services.md#effects-of-keywords)."""
        connector = self.connectors.by_id.get(record.sender.carrier_id)
        return connector is not None and connector.settings.network_opt_out

    def start_stage(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """One more stage, watched and ended like the others."""
        self._start_task(name, work)

    def _start_task(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    def _today(self) -> date:
        return datetime.fromtimestamp(self.clock.wall(), UTC).date()

    async def _stay_fresh(self) -> None:
        """See changes by other processes at once, and what a lost bell would hide soon."""
        own = OwnConnection(self._database, "configuration", self._listen)
        try:
            while True:
                try:
                    await own.get()
                    async with asyncio.timeout(REFRESH_S):
                        await self._config_rang.wait()
                except TimeoutError:
                    pass
                except DatabaseUnavailable as error:
                    log.warning("configuration not heard of: %s", error, extra=AWAY)
                    own.drop()
                    await asyncio.sleep(REFRESH_S)
                self._config_rang.clear()
                self._health.rested(self.clock.monotonic())
                try:
                    if await config_rows.version(self.pool) != self.directory.version:
                        await self.refresh()
                except DatabaseUnavailable as error:
                    log.warning("configuration not read: %s", error, extra=AWAY)
        finally:
            own.drop()

    async def _listen(self, connection: Connection) -> None:
        await config_rows.listen(connection, self._config_rang.set)
        await restore_rows.listen(connection, self.takeover.look)

    async def sweep_callbacks(self) -> bool:
        """Owe again what rows owe and memory let go of; whether there may be more."""
        return await self._owed.sweep(self.pool)

    async def _forget_media(self, connection: Connection) -> None:
        age = timedelta(days=self.settings.media.keep_days)
        before = datetime.fromtimestamp(self.clock.wall(), UTC) - age
        while await media_rows.purge(connection, before, MEDIA_PAGE) == MEDIA_PAGE:
            pass

    async def _forget_links(self, connection: Connection) -> None:
        now = datetime.fromtimestamp(self.clock.wall(), UTC)
        while await link_rows.purge(connection, now, LINK_PAGE) == LINK_PAGE:
            pass

    async def _make_partitions(self) -> None:
        while True:
            await asyncio.sleep(PARTITIONS_EVERY_S)
            try:
                async with self.pool.acquire() as connection:
                    await partitions.ensure_partitions(connection, self._today())
                    await idempotency.purge(connection)
                    await config_rows.forget_changes(connection)
                    await erasure.forget_unaddressable(connection, UNADDRESSABLE_KEPT)
                    oldest = self._today() - timedelta(days=DEACTIVATIONS_DAYS)
                    await deactivations.purge(connection, oldest)
                    await self._forget_media(connection)
                    await self._forget_links(connection)
                await self.index_past_days()
            except DatabaseUnavailable as error:
                log.warning("partitions not made: %s", error, extra=AWAY)

    async def index_past_days(self) -> None:
        """Give days that are over what lists are read by, if no other process is at it."""
        connection = await self._database.open("indexes", command_s=INDEX_S)
        try:
            await partitions.index_past_days(connection, self._today())
        finally:
            connection.terminate()
