"""How long a message that was just accepted will wait, as far as anybody can tell.

From the backlog and rate of its sender or, while it has none, of its service's pool towards its
place. An estimate: receipts, throttling and other services' shares are not in it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.acceptance.draft import Draft
from gateway.acceptance.router import Router
from gateway.acceptance.unassigned import AHEAD_S
from gateway.directory.directory import Directory
from gateway.messages.message import Status
from gateway.pacing.rates import destination_class
from gateway.routing.sender_pool import SenderPool

MOST_POOLS: Final = 10_000  # whose rate is remembered


class Outlook(NamedTuple):
    ahead: int  # segments that leave before it
    at: float  # when it leaves, seconds since 1970


class Forecast:
    def __init__(self, directory: Directory, router: Router) -> None:
        self._directory = directory
        self._router = router
        self._rates: dict[tuple[int, object], tuple[SenderPool, float]] = {}

    def of(self, draft: Draft, now: float) -> Outlook | None:
        """The outlook of a committed message; None for one that will never leave."""
        message = draft.message
        if message.status is Status.SENDING:
            return Outlook(0, now)
        if message.status is Status.QUEUED:
            backlog = self._router.loads.backlog(message.sender_id)
            ahead = max(0, int(backlog) - message.segments)
            rate = self._router.rates.towards(message.sender_id, message.destination_class)
            return Outlook(ahead, now + ahead / rate)
        if message.status is Status.SCHEDULED:
            return Outlook(0, message.send_at)
        if message.status is Status.ACCEPTED:
            ahead = self._router.unassigned.ahead(draft)
            return Outlook(ahead, now + AHEAD_S + ahead / self._pool_rate(draft))
        return None

    def _pool_rate(self, draft: Draft) -> float:
        """Segments per second of the whole pool towards the destination's class."""
        service_id = draft.message.service_id or 0
        service = self._directory.services_by_id.get(service_id)
        if service is None:
            return 1.0
        towards = destination_class(draft.destination.country)
        known = self._rates.get((service_id, towards))
        if known is not None and known[0] is service.pool:
            return known[1]
        rate = sum(
            self._router.rates.towards(sender.id, towards)
            for sender in service.pool.senders
            if sender.sms and sender.carrier_id
        )
        if len(self._rates) >= MOST_POOLS:
            self._rates.clear()
        self._rates[service_id, towards] = service.pool, rate or 1.0
        return rate or 1.0
