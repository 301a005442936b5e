"""The alert that a country wants to know a sender ID beforehand (30018,
docs/spec/messaging-services.md#sender-id-pre-registration-alert).

It never stops a message. The first of a service, sender and country is told at once, those of the
hour after it are counted, and the next one that is told says how many there were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.directory.directory import Directory
from gateway.messages.message import Message
from gateway.observe.alerts import Alerts
from gateway.routing.alpha import PREREGISTRATION_ALERT, alert_is_due
from gateway.routing.destination import parse_destination
from gateway.routing.sender_pool import SenderKind
from gateway.runtime.clock import Clock

QUIET_S: Final = 3600.0
MOST_KEYS: Final = 10_000  # service, sender and country; beyond it the oldest is forgotten


@dataclass(slots=True)
class _LastAlert:
    at: float
    since: int = 0


class PreregistrationAlerts:
    def __init__(self, directory: Directory, alerts: Alerts, clock: Clock) -> None:
        self._directory = directory
        self._alerts = alerts
        self._clock = clock
        self._told: dict[tuple[int, int, str], _LastAlert] = {}

    def sent(self, message: Message) -> None:
        """This message has its sender, and will go."""
        service = self._directory.services_by_id.get(message.service_id or 0)
        if service is None or not service.pool.settings.sender_id_prereg_alert:
            return
        destination = parse_destination(message.recipient)
        record = self._directory.senders_by_id.get(message.sender_id)
        if destination is None or record is None:
            return
        country, sender = destination.country, record.sender
        alpha = sender.kind is SenderKind.ALPHA
        approved = self._directory.registered[message.account_id]
        registered = alpha and (sender.address, country) in approved
        local = not alpha and sender.country == country
        if alert_is_due(self._directory.facts.alpha(country), registered, local):
            more = self._count((service.id, sender.id, country))
            if more is not None:
                self._alerts.alert(
                    PREREGISTRATION_ALERT,
                    f"{message.sid}: {country} wants sender IDs registered; sent from"
                    f" {sender.address}"
                    + (f"; {more} more in the hour after the last alert" if more else ""),
                    resource=message.sid,
                    account_id=message.account_id,
                    service=service.sid,
                    logged_as=f"{service.sid} {country}",
                )

    def _count(self, key: tuple[int, int, str]) -> int | None:
        """How many were not told since the last one; None: this one is not told either."""
        now = self._clock.monotonic()
        told = self._told.get(key)
        if told is not None and now - told.at < QUIET_S:
            told.since += 1
            return None
        self._told.pop(key, None)
        if len(self._told) >= MOST_KEYS:
            del self._told[next(iter(self._told))]
        self._told[key] = _LastAlert(now)
        return told.since if told is not None else 0
