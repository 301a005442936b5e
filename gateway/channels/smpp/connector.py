"""One SMPP carrier: its binds as one thing with room, and outcomes by message and segment.

Settings may change at any time (`change`): what concerns only the making of messages holds
from the next message on, and of the binds only those are drained and replaced that differ.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Generic, Protocol, TypeVar

from gateway.channels.connector import Doubt, Outcome, Outcomes
from gateway.channels.smpp.binds import BindStatus, Sent, Wire, bind_configs, pdu_logger
from gateway.channels.smpp.congestion import TICK_S, Aimd, Spread
from gateway.channels.smpp.profile import Outgoing, Profile
from gateway.channels.smpp.result_codes import submit_result
from gateway.channels.smpp.settings import CarrierSettings
from gateway.cluster.worker_slot import ALONE, WorkerSlot, own_part
from gateway.observe.measures import LATENCY_S, Histogram
from gateway.observe.peer_faults import caused_by_peer
from gateway.runtime.clock import Clock
from smpp.codec import encode_tlvs
from smpp.esme import Bind, BindConfig, RefusalClass
from smpp.layouts import beyond_standard
from smpp.pdu import DeliverSm, Tlvs
from smpp.vocabulary import ESME_RTHROTTLED, status_name

log = logging.getLogger(__name__)

HEADER_OCTETS = 16
MOST_ID = 255  # characters of a carrier's message id that are kept; the standard has 64

M = TypeVar("M", bound=Outgoing)
M_contra = TypeVar("M_contra", bound=Outgoing, contravariant=True)

OPERATORS_TASK = (RefusalClass.CREDENTIALS, RefusalClass.CONFIGURATION)
REPLACE_DRAIN_S = 30.0  # a bind that is replaced waits so long for its answers


class Events(Outcomes[M_contra], Protocol[M_contra]):
    """What becomes of segments, and what a carrier delivers by its binds."""

    def connection_lost(self, connection: str) -> None:
        """This connection of a bind is over: what it delivered and had no answer comes again."""

    def settled(self, connection: str, deliveries: Sequence[DeliverSm]) -> None:
        """The answers to these have arrived: what comes again now was written again."""

    def delivered(
        self,
        carrier_id: int,
        connection: str,
        delivery: DeliverSm,
        answer: Callable[[DeliverSm, int], object],
    ) -> None:
        """A receipt or an inbound message; to be answered once it is committed.

        `connection` is the bind's name, `#`, and the number of its connection.
        """


class SmppConnector(Generic[M]):
    """The binds of one carrier: a `Connector`."""

    def __init__(
        self,
        carrier_id: int,
        settings: CarrierSettings,
        events: Events[M],
        clock: Clock,
        random: Random,
        *,
        log_pdus: bool = False,
        mask: bool = True,
        journal: Callable[[str, str, bytes], None] | None = None,
        share: WorkerSlot = ALONE,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """With a `share` of less than all: only the binds and the part of the rate that it has.

        What is submitted while `may_write` says no has never been written.
        """
        self._may_write = may_write
        self.carrier_id = carrier_id
        self.settings = settings
        self.profile = Profile.of(settings)
        # Segments promised to messages that are being committed or claimed.
        self.reserved = 0
        # Of submits, by command_status.
        self.answers: Counter[int] = Counter()
        # Submits whose answer did not come, in time or at all.
        self.unanswered = 0
        # Seconds from a submit_sm to its response.
        self.answer_times = Histogram(LATENCY_S)
        self._events = events
        self._clock = clock
        self._random = random
        self._log_pdus = log_pdus
        self._mask = mask
        self._journal = journal
        self._share = share
        self._warn_of(settings)
        configs, rate = self._own(settings)
        self._aimd = Aimd(rate, clock.monotonic())
        self._spread = Spread()
        self._wires: dict[str, Wire[M]] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()  # the binds are to follow the settings
        self._climbing = asyncio.Event()
        self._retired = False
        for config in configs:
            self._add(config)

    def _own(self, settings: CarrierSettings) -> tuple[list[BindConfig], float | None]:
        """Our binds, and segments per second on them; None: no limit."""
        configs, part = own_part(bind_configs(settings), self._share)
        rate = settings.rate_per_second
        return configs, rate * part if rate is not None and part else None

    def _warn_of(self, settings: CarrierSettings) -> None:
        """Tell of credentials that are longer than the standard has them: some SMSCs cut them."""
        for what in beyond_standard(settings.system_id, settings.password):
            log.warning("carrier %s: %s: it is sent as it is", settings.name, what)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def doubt(self) -> Doubt:
        return Doubt(self.settings.ambiguous)

    # Life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep every bind up, until `retire` has ended or the task is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            climbing = tasks.create_task(self._climb(), name=f"rate of {self.name}")
            while not self._retired:
                for name, wire in self._wires.items():
                    if name not in self._runs:
                        self._runs[name] = tasks.create_task(wire.bind.run(), name=f"bind {name}")
                await self._changed.wait()
                self._changed.clear()
                await self._replace_binds()
            climbing.cancel()

    def change(self, settings: CarrierSettings) -> None:
        """Follow these settings from now on; binds that differ are drained and replaced."""
        if (settings.system_id, settings.password) != (
            self.settings.system_id,
            self.settings.password,
        ):
            self._warn_of(settings)
        self.settings = settings
        self.profile = Profile.of(settings)
        _, rate = self._own(settings)
        self._aimd.set_ceiling(rate, self._clock.monotonic())
        self._events.rate_changed(self.carrier_id, lowered=False)
        self._changed.set()

    def retire(self) -> None:
        """The carrier is no more: `run` ends once its binds are drained."""
        self._retired = True
        self._changed.set()

    async def close(self, drain_s: float) -> None:
        """Wait for the answers under way, then unbind."""
        await asyncio.gather(*(wire.bind.close(drain_s) for wire in self._wires.values()))

    async def _replace_binds(self) -> None:
        """Close what is not wanted as it is; only then may what takes its place connect."""
        configs, _ = self._own(self.settings)
        wanted = {} if self._retired else {config.name: config for config in configs}
        old = [name for name, wire in self._wires.items() if wanted.get(name) != wire.bind.config]
        await asyncio.gather(*(self._wires[name].bind.close(REPLACE_DRAIN_S) for name in old))
        await asyncio.gather(*(self._runs.pop(name) for name in old if name in self._runs))
        for name in old:
            del self._wires[name]
        for name, config in wanted.items():
            if name not in self._wires:
                self._add(config)
        self._events.room_changed()

    def _add(self, config: BindConfig) -> None:
        bind = Bind(config, self, rng=self._random)
        wire = self._wires[bind.name] = Wire(bind)
        bind.on_unreachable = lambda reason, wait_s: wire.down(
            reason, self._clock.monotonic() + wait_s
        )
        bind.on_late_answer = self._answered_late
        bind.on_settled = partial(self._settled, bind.name)
        bind.on_pdu = self._tap(bind.name)

    def _tap(self, name: str) -> Callable[[str, bytes], None] | None:
        """Who hears of what a bind reads and writes."""
        journal = self._journal
        if journal is None:
            return pdu_logger(name, self._mask) if self._log_pdus else None
        if not self._log_pdus:
            return partial(journal, name)
        logged = pdu_logger(name, self._mask)

        def both(direction: str, octets: bytes) -> None:
            logged(direction, octets)
            journal(name, direction, octets)

        return both

    # Room and rate ------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        return any(wire.ready for wire in self._wires.values())

    @property
    def room(self) -> int:
        """Segments that may be written now and are promised to nobody."""
        free = sum(wire.free for wire in self._wires.values() if wire.ready)
        return max(0, free - self.reserved)

    @property
    def rate_now(self) -> float | None:
        """Segments per second that the carrier is given at present; None: no limit."""
        return self._aimd.rate

    @property
    def rate_reason(self) -> str:
        """Why that is less than what is configured; empty when it is not."""
        return self._aimd.reason

    def binds(self) -> list[BindStatus]:
        """Each bind as it is now."""
        now = self._clock.monotonic()
        return [wire.status(now) for wire in self._wires.values()]

    def _congested(self, reason: str, written_at: float, now: float) -> None:
        lowered = self._aimd.lowered
        if self._aimd.congested(reason, written_at, now):
            if not lowered:
                log.warning(
                    "carrier %s is slowed down to %.1f/s: %s",
                    self.name,
                    self._aimd.rate,
                    reason,
                    extra={"carrier": self.name, "event": "congestion"},
                )
            self._climbing.set()
            self._events.rate_changed(self.carrier_id, lowered=True)

    async def _climb(self) -> None:
        """Raise a lowered rate, step by step."""
        while True:
            await self._climbing.wait()
            await asyncio.sleep(TICK_S)
            if self._aimd.tick(self._clock.monotonic()):
                self._events.rate_changed(self.carrier_id, lowered=False)
            if not self._aimd.lowered:
                self._climbing.clear()
                log.info("carrier %s has its full rate again", self.name)

    # Out ----------------------------------------------------------------------------------

    def submit(self, message: M) -> None:
        """Write the segments not yet answered, back to back on one bind."""
        ready = [wire for wire in self._wires.values() if wire.ready]
        wire = max(ready, key=_free) if len(ready) > 1 else ready[0] if ready else None
        now = self._clock.monotonic()
        may_write = self._may_write()
        for submit, segments in self.profile.written(message, self._clock.wall()):
            if wire is None or not may_write:
                self._events.unsent(message, segments)
                continue
            sent = Sent(message, segments, now)
            if wire.overflow or wire.bind.window_free <= 0:
                wire.overflow.append((submit, sent))
            else:
                wire.bind.submit(submit, sent)

    # The events of the binds ------------------------------------------------------------

    def bind_up(self, bind: Bind) -> None:
        log.info("bind %s is up", bind.name, extra={"bind": bind.name})
        self._wires[bind.name].up()
        self._events.room_changed()

    def bind_down(self, bind: Bind, reason: str, unanswered: list[object]) -> None:
        log.warning(
            "bind %s is down: %s (%d unanswered)",
            bind.name,
            reason,
            len(unanswered),
            extra={"bind": bind.name},
        )
        self._events.connection_lost(f"{bind.name}#{bind.connections}")
        wire = self._wires[bind.name]
        wire.down(reason)
        never_written = [sent for _, sent in wire.overflow]
        wire.overflow.clear()
        for token in unanswered:
            sent: Sent[M] = token  # type: ignore[assignment]
            self.unanswered += 1
            self._events.lost(sent.message, sent.segments, timed_out=False)
        for sent in never_written:
            self._events.unsent(sent.message, sent.segments)
        self._events.room_changed()

    def bind_refused(self, bind: Bind, status: int, refusal: RefusalClass, wait_s: float) -> None:
        log.error(
            "bind %s refused with 0x%08X (%s); next try in %.0f s",
            bind.name,
            status,
            refusal.name.lower(),
            wait_s,
            extra={"bind": bind.name},
        )
        wire = self._wires[bind.name]
        wire.refusals += 1
        reason = f"refused: {status_name(status)} ({refusal.value})"
        wire.down(reason, self._clock.monotonic() + wait_s)
        if refusal in OPERATORS_TASK:
            self._events.refused(self.carrier_id, f"bind {bind.name} {reason}")

    def answered(self, bind: Bind, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        sent: Sent[M] = token  # type: ignore[assignment]
        now = self._clock.monotonic()
        self.answers[status] += 1
        self.answer_times.observe(now - sent.at)
        refused = status != 0 and submit_result(status, self.profile.error_codes).retry
        slow = status == 0 and now - sent.at > self.settings.slow_answer_s
        self._spread.answered(refused or slow, now)
        if status == 0:
            self._aimd.taken(now)
        if status == ESME_RTHROTTLED or ((refused or slow) and self._spread.wide):
            reason = "slow answers" if slow else status_name(status)
            self._congested(reason, sent.at, now)
        outcome, code = self._meaning(status)
        notes = encode_tlvs(tlvs) if tlvs else b""
        name = message_id[:MOST_ID]
        self._events.answered(sent.message, sent.segments, outcome, name, code, notes)

    def _meaning(self, status: int) -> tuple[Outcome, int]:
        """What a command_status says, and the public code of what is refused for good."""
        if status == 0:
            return Outcome.TAKEN, 0
        result = submit_result(status, self.profile.error_codes)
        if status == ESME_RTHROTTLED:
            return Outcome.CONGESTED, 0
        return (Outcome.BUSY, 0) if result.retry else (Outcome.REFUSED, result.code)

    def timed_out(self, bind: Bind, token: object) -> None:
        sent: Sent[M] = token  # type: ignore[assignment]
        self.unanswered += 1
        self._congested("no answer in time", sent.at, self._clock.monotonic())
        self._events.lost(sent.message, sent.segments, timed_out=True)

    def _answered_late(self, token: object, status: int, message_id: str, tlvs: Tlvs) -> None:
        sent: Sent[M] = token  # type: ignore[assignment]
        if status == 0:  # else it will be refused once more, and told then
            self._events.answered_late(sent.message, sent.segments, message_id[:MOST_ID])

    def delivered(self, bind: Bind, delivery: DeliverSm) -> None:
        connection = f"{bind.name}#{delivery.link}"
        self._events.delivered(self.carrier_id, connection, delivery, bind.answer)

    def _settled(self, name: str, deliveries: tuple[DeliverSm, ...]) -> None:
        self._events.settled(f"{name}#{deliveries[0].link}", deliveries)

    def malformed(self, bind: Bind, data: bytes, reason: str) -> None:
        shown = data[:HEADER_OCTETS] if self._mask else data[:256]  # a text may stand behind it
        log.warning(
            "malformed PDU on %s: %s: %d octets, %s",
            bind.name,
            reason,
            len(data),
            shown.hex(),
            extra=caused_by_peer(f"malformed PDU {self.name}", bind=bind.name),
        )

    def go_on(self) -> None:
        """We may write again."""
        for wire in self._wires.values():
            if wire.overflow:
                self.window_opened(wire.bind)

    def window_opened(self, bind: Bind) -> None:
        wire = self._wires[bind.name]
        while wire.overflow and bind.window_free > 0 and self._may_write():
            submit, sent = wire.overflow.popleft()
            bind.submit(submit, sent._replace(at=self._clock.monotonic()))
        self._events.room_changed()


def _free(wire: Wire[M]) -> int:
    return wire.free
