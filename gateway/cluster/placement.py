"""Which worker does what, where several are one gateway (decision 0009).

The unit is a messaging service with all its senders, or a sender in no service: a choice needs to
know its whole pool, a rate one owner, and an order one queue. A unit belongs to one worker, worked
out from the configuration alone, so that all workers agree without a word. Binds are divided, too:
a carrier that has fewer than there are workers is served by so many of them only, and its units
belong to those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.cluster.worker_slot import WorkerSlot
from gateway.directory.directory import Directory, SenderRecord

NOBODY: Final = 0  # the slot of what has neither service nor sender any more


class Ownership:
    """Answers whose something is; the same in every worker that has read the same configuration."""

    def __init__(self, share: WorkerSlot, directory: Directory) -> None:
        self.share = share
        self._directory = directory
        self._binds: dict[int, int] = {}  # that submit, by carrier
        self._services: dict[int, int] = {}  # slots
        self._senders: dict[int, int] = {}
        self._addresses: dict[str, int] = {}
        # Whether the last change gave something of ours to another.
        self.lost = False

    @property
    def alone(self) -> bool:
        """Whether this process does everything."""
        return self.share.workers == 1

    def follow(self, binds: Mapping[int, int]) -> bool:
        """Work it out anew from the directory; whether something became ours that was another's.

        `binds` says of each carrier how many of its binds submit.
        """
        if self.alone:
            return False
        services, senders = self._services, self._senders
        directory = self._directory
        self._binds = dict(binds)
        self._services = {
            service.id: self._slot(
                service.id, {sender.carrier_id for sender in service.pool.senders}
            )
            for service in directory.services_by_id.values()
        }
        self._senders = {
            record.sender.id: self._slot_of(record) for record in directory.senders_by_id.values()
        }
        self._addresses = {
            address.lstrip("+"): self._senders[record.sender.id]
            for address, record in directory.senders_by_address.items()
        }
        self.lost = self._lost(services, self._services) or self._lost(senders, self._senders)
        return self._gained(services, self._services) or self._gained(senders, self._senders)

    def mine(self, service_id: int | None, sender_id: int | None) -> bool:
        """Whether a message is ours: its service's worker has it, else its sender's."""
        return self.alone or self.of(service_id, sender_id) == self.share.slot

    def of(self, service_id: int | None, sender_id: int | None) -> int:
        """The slot of whoever has a message of this service, or of this sender without one."""
        if service_id:
            return self._services.get(service_id, service_id % self.share.workers)
        return self._senders.get(sender_id or NOBODY, NOBODY)

    def of_address(self, address: str) -> int:
        """The slot of whoever has this number of ours; our own for one that is nobody's."""
        return self._addresses.get(address.lstrip("+"), self.share.slot)

    def has_address(self, address: str) -> bool:
        """Whether a number of ours is spelt so, but for its plus."""
        return address.lstrip("+") in self._addresses

    @property
    def services(self) -> list[int]:
        """The services that are ours."""
        return [id for id, slot in self._services.items() if slot == self.share.slot]

    def _slot_of(self, record: SenderRecord) -> int:
        if record.service_id is not None:
            return self.of(record.service_id, None)
        return self._slot(record.sender.id, {record.sender.carrier_id})

    def _slot(self, unit: int, carriers: set[int]) -> int:
        """Numbered units spread evenly by their numbers."""
        served_by = (self._binds.get(carrier, self.share.workers) for carrier in carriers)
        return unit % max(1, min(self.share.workers, *served_by, self.share.workers))

    def _gained(self, before: Mapping[int, int], now: Mapping[int, int]) -> bool:
        """What is new has no mail yet."""
        ours = self.share.slot
        return any(slot == ours and before.get(id, ours) != ours for id, slot in now.items())

    def _lost(self, before: Mapping[int, int], now: Mapping[int, int]) -> bool:
        ours = self.share.slot
        return any(slot == ours and now.get(id, ours) != ours for id, slot in before.items())
