"""What happens on the connections to carriers, passed on to the stage that it concerns.

An exception that one message or one delivery causes ends nothing but its own business: the bind
goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.channels.connector import Outcome
from gateway.channels.smpp.profile import Profile
from gateway.channels.smpp.receipts import Receipts, Respond
from gateway.channels.smpp.stored_deliveries import number_of
from gateway.messages.message import Message
from gateway.observe.wall import described
from gateway.pipeline.forwarded_deliveries import ForwardedDeliveries
from gateway.pipeline.marked_keywords import MarkedKeywords
from gateway.stage_runtime import Runtime
from gateway.submission.connectors import Connectors
from gateway.submission.submitter import Submitter
from smpp.pdu import DeliverSm, SmeAddress
from smpp.vocabulary import ESME_RX_T_APPN

BIND_REFUSED = 99007  # an alert of ours


class InboundDoor(Protocol):
    """Who stores inbound messages."""

    def received(
        self, carrier_id: int, connection: str, delivery: DeliverSm, answer: Respond, /
    ) -> None: ...
    def lost(self, connection: str, /) -> None: ...
    def settled(self, connection: str, deliveries: Sequence[DeliverSm], /) -> None: ...
    async def drained(self) -> None: ...


class NoInbound:
    """Until somebody stores inbound messages, the carrier keeps them."""

    def received(
        self, carrier_id: int, connection: str, delivery: DeliverSm, answer: Respond
    ) -> None:
        answer(delivery, ESME_RX_T_APPN)

    def lost(self, connection: str) -> None:
        pass

    def settled(self, connection: str, deliveries: Sequence[DeliverSm]) -> None:
        pass

    async def drained(self) -> None:
        pass


class ConnectorEvents:
    """Hears of everything that connectors tell."""

    def __init__(
        self,
        runtime: Runtime,
        submitter: Submitter,
        receipts: Receipts,
        profile_of: Callable[[int], Profile],
    ) -> None:
        self._directory = runtime.directory
        self._ownership = runtime.ownership
        self._alerts = runtime.alerts
        self._submitter = submitter
        self._receipts = receipts
        self._profile_of = profile_of
        self._marked_keywords = MarkedKeywords(runtime.directory, profile_of)
        self._connectors: Connectors | None = None
        self._forwarded = ForwardedDeliveries(runtime, self.take_in, self._lost_elsewhere)
        self._up: Callable[[int, bool], None] = lambda carrier_id, up: None
        self.inbound: InboundDoor = NoInbound()

    def connect(self, connectors: Connectors, up: Callable[[int, bool], None]) -> None:
        """Whose events these are; `up` hears which carriers take messages."""
        self._connectors = connectors
        self._up = up

    def answered(
        self, message: Message, segments: int, outcome: Outcome, name: str, code: int, notes: bytes
    ) -> None:
        try:
            if notes:
                message.heard(notes)
            self._submitter.answered(message, segments, outcome, name, code)
        except Exception as error:
            self._submitter.broke_off(message, error)

    def lost(self, message: Message, segments: int, timed_out: bool) -> None:
        try:
            self._submitter.lost(message, segments, timed_out)
        except Exception as error:
            self._submitter.broke_off(message, error)

    def answered_late(self, message: Message, segments: int, name: str) -> None:
        try:
            self._submitter.answered_late(message, segments, name)
        except Exception as error:
            self._submitter.broke_off(message, error)

    def unsent(self, message: Message, segments: int) -> None:
        try:
            self._submitter.unsent(message, segments)
        except Exception as error:
            self._submitter.broke_off(message, error)

    def room_changed(self) -> None:
        if self._connectors is not None:
            for connector in self._connectors.by_id.values():
                self._up(connector.carrier_id, connector.up)
        self._submitter.room_changed()

    def rate_changed(self, carrier: int, lowered: bool) -> None:
        self._submitter.rate_changed(carrier, lowered)

    def connection_lost(self, connection: str) -> None:
        self.inbound.lost(connection)
        self._forwarded.lost(connection)

    def _lost_elsewhere(self, connection: str) -> None:
        self.inbound.lost(connection)

    def settled(self, connection: str, deliveries: Sequence[DeliverSm]) -> None:
        self.inbound.settled(connection, deliveries)

    def refused(self, carrier: int, reason: str) -> None:
        assert self._connectors is not None
        name = self._connectors.by_id[carrier].name
        self._alerts.alert(BIND_REFUSED, reason, level="error", resource=name)

    def delivered(
        self, carrier: int, connection: str, delivery: DeliverSm, answer: Respond
    ) -> None:
        slot = self._slot_of(carrier, delivery.destination)
        if slot != self._ownership.share.slot:
            self._forwarded.deliver(slot, carrier, connection, delivery, answer)
        else:
            self.take_in(carrier, connection, delivery, answer)

    def _slot_of(self, carrier: int, address: SmeAddress) -> int:
        ownership = self._ownership
        if not ownership.alone and not ownership.has_address(address.value):
            record = number_of(self._directory, address, self._profile_of(carrier))
            if record is not None:
                return ownership.of_address(record.sender.address)
        return ownership.of_address(address.value)

    def take_in(self, carrier: int, connection: str, delivery: DeliverSm, answer: Respond) -> None:
        """Take a delivery for a number of this process."""
        try:
            if delivery.is_receipt and not self._marked_keywords.has(carrier, delivery):
                self._receipts.received(carrier, delivery, answer)
            else:
                self.inbound.received(carrier, connection, delivery, answer)
        except Exception as error:
            self._receipts.refuse(carrier, delivery, answer, described(error))
