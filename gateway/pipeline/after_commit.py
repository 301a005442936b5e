"""Who hears of a message's move once it is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gateway.acceptance.preregistration import PreregistrationAlerts
from gateway.backlog.reassignment import Reassignment
from gateway.backlog.scheduler import Scheduler
from gateway.directory.directory import Directory
from gateway.messages.message import Flag, Message, Status
from gateway.observe.alerts import Alerts
from gateway.observe.measures import Tally
from gateway.routing.health import Health
from gateway.runtime.clock import Clock
from gateway.submission.submitter import MOST_TALLIED


class AfterCommit:
    """Tells conversations, callbacks, alerts, health and counters, in this order."""

    def __init__(self, directory: Directory, alerts: Alerts, health: Health, clock: Clock) -> None:
        self._directory = directory
        self._alerts = alerts
        self._health = health
        self._clock = clock
        self._preregistration = PreregistrationAlerts(directory, alerts, clock)
        self._scheduler: Scheduler | None = None
        self._reassignment: Reassignment | None = None
        self.owe_callbacks: Callable[[Message], None] = lambda message: None
        self.in_conversation: Callable[[Message], None] = lambda message: None
        # Messages by service (0: none), of those that sent last.
        self.accepted_by: Tally[int] = Tally(MOST_TALLIED)
        # Messages by service and final status.
        self.ended: Tally[tuple[int, Status]] = Tally(MOST_TALLIED)
        # Messages by the code that they ended with.
        self.failures: Counter[int] = Counter()

    def connect(self, scheduler: Scheduler, reassignment: Reassignment) -> None:
        """The stages that what was accepted may wait in."""
        self._scheduler = scheduler
        self._reassignment = reassignment

    def moved(self, message: Message) -> None:
        """A move of a message is written."""
        if message.flags & Flag.CONVERSATION:
            self.in_conversation(message)
        if message.callback_url is not None:
            self.owe_callbacks(message)

    def arrived(self, message: Message) -> None:
        """A new message is stored."""
        self.count(message)
        self.accepted(message)

    def count(self, message: Message) -> None:
        self.accepted_by.add(message.service_id or 0)

    def accepted(self, message: Message) -> None:
        """A message is stored with what was chosen for it, now or again."""
        self.moved(message)
        if self._reassignment is not None:
            self._reassignment.committed(message)
        if message.status is Status.SCHEDULED and self._scheduler is not None:
            self._scheduler.added(message)
        if message.status.final:
            self.ended_with(message)
        elif message.sender_id:
            self._preregistration.sent(message)

    def ended_with(self, message: Message) -> None:
        """The message reached its final status just now: a failed one is an alert."""
        self.ended.add((message.service_id or 0, message.status))
        if message.error_code:
            self.failures[message.error_code] += 1
        if message.sent_at:
            delivered = message.status is Status.DELIVERED
            self._health.outcome(message.sender_id, delivered, self._clock.monotonic())
        if message.status in (Status.FAILED, Status.UNDELIVERED) and message.error_code:
            service = self._directory.services_by_id.get(message.service_id or 0)
            self._alerts.message_failed(
                message.error_code,
                message.sid,
                message.account_id,
                service.sid if service is not None else None,
            )
