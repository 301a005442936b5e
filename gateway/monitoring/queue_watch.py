"""The stage that looks, every few seconds, for messages that could go and do not.

What it sees is told to `watchdog`, which remembers and judges. What is to be said of that becomes
an Alert (`episode_alerts`): when an episode begins, when its reason is another, when it is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

from gateway.enrichment.enricher import Enricher
from gateway.messages.message import Message
from gateway.monitoring.episode_alerts import EpisodeAlerts
from gateway.monitoring.watchdog import Patience, Reason, Sight, Standstill, WaitingGroup, Watchdog
from gateway.observe.alerts import QUIET_S
from gateway.observe.outage_log import OUTAGE
from gateway.pacing.pacer import HeldBy, Waits
from gateway.pipeline.assembly import Pipeline
from gateway.runtime.clock import Clock
from gateway.settings import WatchdogSettings

STUCK: Final = 99001
MOVING: Final = 99002
DATABASE: Final = "database"  # the spot of an outage itself, whether anything waits or not
LAG_EVERY_S: Final = 0.5
LAGS: Final = 120  # measures kept: the last minute's

WHAT: Final = {
    Reason.DATABASE: "the database is away, or behind with what must be written first",
    Reason.NO_BIND: "no bind is up",
    Reason.NO_WINDOW: "the window is full: the carrier answers nothing of what it has",
    Reason.THROTTLED: "the carrier is slowed down",
    Reason.RATE: "the rate lets nothing go",
    Reason.RESTING: "the carrier has no room for the recipient",
    Reason.IN_FLIGHT: "the message before, to the same recipient, has no answer",
    Reason.ASSIGNING: "no sender of the service has time for it",
    Reason.GATHERING: "its media or the lookup of its carrier do not come",
    Reason.READING: "its row, which memory had no room for, is not read",
    Reason.LOST_WAKEUP: "nothing holds it up: a wake-up was lost",
}


class Watch:
    """Looks at every queue; owns the watchdog's memory, and that of what was told."""

    def __init__(
        self, pipeline: Pipeline, gathering: Enricher, settings: WatchdogSettings, clock: Clock
    ) -> None:
        self._pipeline = pipeline
        self._gathering = gathering
        self._every_s = settings.every_s
        self._clock = clock
        self._lags: deque[float] = deque(maxlen=LAGS)
        self.watchdog = Watchdog(Patience(settings.stuck_s, settings.slow_s, settings.lost_s))
        self._telling = EpisodeAlerts(QUIET_S)

    @property
    def loop_lag(self) -> float:
        """The longest that the event loop kept a timer waiting, in the last minute; seconds."""
        return max(self._lags, default=0.0)

    async def run(self) -> None:
        """Until cancelled."""
        monotonic = self._clock.monotonic
        look_at = monotonic() + self._every_s
        while True:
            before = monotonic()
            pause = min(LAG_EVERY_S, self._every_s)
            await asyncio.sleep(pause)
            now = monotonic()
            self._lags.append(max(0.0, now - before - pause))
            OUTAGE.look(self._pipeline.acceptor.available)
            if now >= look_at:
                look_at = now + self._every_s
                self.look(now)

    def look(self, now: float) -> None:
        """Look once, and raise the alerts that are due."""
        self.watchdog.look(now, self._sights(now))
        for over, standstill in self._telling.look(now, self.watchdog.episodes):
            if over:
                what = f"over ({WHAT[standstill.group.reason]})"
                text = f"{standstill.group.where}: {what}, after {standstill.seconds:.0f} s"
                self._tell(MOVING, "notice", text, standstill)
            else:
                self._tell(
                    STUCK,
                    "error",
                    f"{self._why(standstill.group)}; {_how_much(standstill)}",
                    standstill,
                )

    def _tell(self, code: int, level: str, text: str, standstill: Standstill) -> None:
        self._pipeline.runtime.alerts.alert(
            code,
            text,
            level=level,
            resource=standstill.sid or None,
            account_id=standstill.group.account_id or None,
            bounded=True,  # `EpisodeAlerts` keeps them few, and must know what was said
        )

    def _why(self, group: WaitingGroup) -> str:
        """The reason in words, with what the binds say of themselves."""
        if group.where == DATABASE:
            return f"{DATABASE}: it is away, and sends are answered with 503"
        text = f"{group.where}: {WHAT[group.reason]}"
        if group.reason not in (Reason.NO_BIND, Reason.THROTTLED):
            return text
        for connector in self._pipeline.connectors.by_id.values():
            if f"carrier {connector.name}" != group.where:
                continue
            if group.reason is Reason.THROTTLED:
                return f"{text} to {connector.rate_now or 0:.1f}/s ({connector.rate_reason})"
            troubles = {bind.trouble for bind in connector.binds() if bind.trouble}
            return f"{text} ({'; '.join(sorted(troubles))})" if troubles else text
        return text

    # What there is to see ---------------------------------------------------------------------

    def _sights(self, now: float) -> Iterator[Sight]:
        yield from self._database()
        yield from self._queues(now)
        yield from self._stages()
        yield from self._rows()

    def _database(self) -> Iterator[Sight]:
        if not self._pipeline.acceptor.available:
            yield Sight(DATABASE, WaitingGroup(0, DATABASE, Reason.DATABASE), 0, 0, "")

    def _queues(self, now: float) -> Iterator[Sight]:
        pipeline = self._pipeline
        away = pipeline.submitter.paused or not pipeline.acceptor.available
        resting = {message.sender_id for message in pipeline.submitter.resting}
        in_rows = {sender_id: count for sender_id, count, _ in pipeline.overflow.queues()}
        lines = [(waits, False) for waits in pipeline.pacer.waits(now)]
        seen = {(waits.sender_id, waits.destination_class) for waits, _ in lines}
        for waits in pipeline.pacer.under_way():
            if (waits.sender_id, waits.destination_class) not in seen:
                lines.append((waits, True))
        for waits, under_way in lines:
            reason = Reason.DATABASE if away else self._reason(waits, resting)
            record = pipeline.runtime.directory.senders_by_id.get(waits.sender_id)
            head = waits.head
            carrier_id = head.carrier_id if head is not None else 0
            account_id = head.account_id if head is not None else 0
            if record is not None:
                carrier_id = carrier_id or record.sender.carrier_id
                account_id = account_id or record.account_id
            connector = pipeline.connectors.by_id.get(carrier_id)
            where = f"carrier {connector.name}" if connector is not None else "no carrier"
            yield Sight(
                (waits.sender_id, waits.destination_class),
                WaitingGroup(account_id, where, reason),
                waits.left,
                waits.waiting,
                head.sid if head is not None else "",
                in_rows.get(waits.sender_id, 0),
                under_way,
                ("sender", waits.sender_id),
            )

    def _reason(self, waits: Waits[Message], resting: set[int]) -> Reason:
        head = waits.head
        if head is None:
            return Reason.RESTING if waits.sender_id in resting else Reason.IN_FLIGHT
        connector = self._pipeline.connectors.by_id.get(head.carrier_id)
        if connector is None or not connector.up:
            return Reason.NO_BIND
        if waits.held is HeldBy.RATE:
            return Reason.RATE
        if waits.held is HeldBy.CARRIER:
            return Reason.THROTTLED if connector.rate_reason else Reason.RATE
        if connector.room < head.segments:
            return Reason.NO_WINDOW
        return Reason.LOST_WAKEUP

    def _rows(self) -> Iterator[Sight]:
        """Queues of which memory holds nothing more: their next is to be read."""
        pipeline = self._pipeline
        reason = Reason.READING if pipeline.acceptor.available else Reason.DATABASE
        for sender_id, count, read in pipeline.overflow.queues():
            if count and not pipeline.pacer.backlog(sender_id):
                record = pipeline.runtime.directory.senders_by_id.get(sender_id)
                group = WaitingGroup(record.account_id if record else 0, "queues in rows", reason)
                yield Sight(("rows", sender_id), group, read, 0, "", count)

    def _stages(self) -> Iterator[Sight]:
        pipeline = self._pipeline
        assigning = Reason.ASSIGNING if pipeline.acceptor.available else Reason.DATABASE
        for place, message, left, segments in pipeline.router.unassigned.heads():
            group = WaitingGroup(message.account_id, "senders of a service", assigning)
            yield Sight(("lobby", place), group, left, segments, message.sid)
        if anew := pipeline.assigner.anew:
            message = anew[0].message
            group = WaitingGroup(message.account_id, "choice of a sender", assigning)
            yield Sight("anew", group, pipeline.assigner.assigned, len(anew), message.sid)
        if waiting := self._gathering.waiting:
            message = waiting[0].message
            group = WaitingGroup(message.account_id, "media and lookups", Reason.GATHERING)
            yield Sight("gathering", group, self._gathering.gathered, len(waiting), message.sid)


def _how_much(standstill: Standstill) -> str:
    if standstill.group.where == DATABASE:
        return f"for {standstill.seconds:.0f} s so far"
    places = "one sender waits" if standstill.places == 1 else f"{standstill.places} senders wait"
    queued = (
        [f"{standstill.waiting} segments"] if standstill.waiting or not standstill.in_rows else []
    )
    queued += [f"{standstill.in_rows} messages in rows"] if standstill.in_rows else []
    return (
        f"{places} with {' and '.join(queued)}, nothing got through for {standstill.seconds:.0f} s"
    )
