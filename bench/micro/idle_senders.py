"""What a sender costs in memory once its queue is empty again (target: below 2 KB)."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass

from gateway.pacing.pacer import Pacer, SharedBucket
from gateway.pacing.rates import DestinationClass
from gateway.routing.destination import Destination
from gateway.routing.sender_load import SenderLoads

SENDERS = 100_000
TARGET_OCTETS = 2_048


@dataclass(slots=True)
class Item:
    """As much of a message as the pacer asks for."""

    sender_id: int
    segments: int = 1
    account_id: int = 1
    service_id: int | None = 1
    priority: int = 0
    recipient: str = "+447400900001"
    expires_at: float = 1e9
    carrier_id: int = 1
    destination_class: DestinationClass = DestinationClass.INTERNATIONAL


class Limits:
    def sender(self, sender_id: int, destination_class: object) -> float:
        return 10.0

    def shared(self, sender_id: int, destination_class: object) -> tuple[SharedBucket, ...]:
        return ()

    def account(self, account_id: int) -> tuple[SharedBucket, ...]:
        return ()

    def carrier(self, carrier_id: int) -> None:
        return None


def _rate(sender_id: int, destination: Destination) -> float:
    return 10.0


def measure() -> float:
    """Octets for each sender that sent one message and has nothing to do any more."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    pacer: Pacer[Item] = Pacer(Limits())
    loads = SenderLoads(_rate)
    for sender_id in range(SENDERS):
        loads.assigned(sender_id, 1, 1.0)
        pacer.enqueue(sender_id, Item(sender_id), 1.0)
    while released := pacer.release(2.0, lambda carrier: SENDERS * 2, 500):
        for item in released:
            pacer.done(item)
            loads.settled(item.sender_id, 1)
    released.clear()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / SENDERS


def main() -> None:
    """Print the table."""
    print(f"{'octets':44}{'ours':>8}{'target':>9}")
    print(f"{f'an idle sender, of {SENDERS:,}':44}{measure():8.0f}{TARGET_OCTETS:9}")


if __name__ == "__main__":
    main()
