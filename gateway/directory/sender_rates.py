"""Segments per second of each sender, as configured, as its campaign has it, or by default
(docs/spec/messaging-services.md#rates)."""

from __future__ import annotations

from collections.abc import Hashable

from gateway.directory.directory import Directory
from gateway.directory.shared_rates import Quotas
from gateway.pacing.rates import DestinationClass, default_rate, destination_class
from gateway.routing.destination import Destination
from gateway.routing.sender_pool import Sender

COUNTRY_OF_CLASS: dict[Hashable, str] = {DestinationClass.US: "US", DestinationClass.CA: "CA"}


class SenderRates:
    """Asked by the queues' limits, by selection and by the pacer."""

    def __init__(
        self, directory: Directory, *, workers: int = 1, rate_for_all: float | None = None
    ) -> None:
        self._directory = directory
        self._rate_for_all = rate_for_all
        self.quotas = Quotas(directory, workers)

    def of(self, sender: Sender, country: str, *, media: bool = False) -> float:
        """Towards a country."""
        if sender.rate or self._rate_for_all:
            return sender.rate or self._rate_for_all or 0.0
        return default_rate(sender.kind, sender.country, country, media=media).per_second

    def towards(self, sender_id: int, destination_class: Hashable) -> float:
        """The same for a class of destinations, as the pacer keeps its buckets."""
        record = self._directory.senders_by_id.get(sender_id)
        if record is None:
            return 1.0  # it was deleted while the carrier held mail up, which may still go
        if destination_class is DestinationClass.US and not record.sender.rate:
            campaign = self.quotas.campaign_rate(record)
            if campaign is not None:
                return campaign
        country = COUNTRY_OF_CLASS.get(destination_class, "")
        return self.of(record.sender, country, media=destination_class is DestinationClass.MEDIA)

    def to(self, sender_id: int, destination: Destination) -> float:
        """The same for one destination."""
        return self.towards(sender_id, destination_class(destination.country))
