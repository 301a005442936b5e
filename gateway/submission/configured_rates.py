"""The rates that the pacer asks for, of senders, of what they share, and of carriers."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from gateway.directory.sender_rates import SenderRates
from gateway.pacing.pacer import SharedBucket


class ConfiguredRates:
    """As the configuration has them now."""

    def __init__(self, rates: SenderRates, carrier: Callable[[int], float | None]) -> None:
        """`carrier` says the segments per second of a carrier, by its id; None: no limit."""
        self._rates = rates
        self.carrier = carrier

    def sender(self, sender_id: int, destination_class: Hashable) -> float:
        return self._rates.towards(sender_id, destination_class)

    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.shared(sender_id, destination_class)

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return self._rates.quotas.account(account_id)
