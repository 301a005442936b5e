"""The rates that the pacer asks for, of senders, of what they share, and of carriers."""

from __future__ import annotations

from collections.abc import Hashable

from gateway.directory.sender_rates import SenderRates
from gateway.pacing.pacer import SharedBucket
from gateway.submission.carrier_ways import CarrierWays


class ConfiguredRates:
    """As the configuration has them now."""

    def __init__(self, rates: SenderRates, ways: CarrierWays) -> None:
        self._rates = rates
        self.carrier = ways.rate

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        return self._rates.towards(sender_id, destination_class)

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.shared(sender_id, destination_class)

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.account(account_id)
