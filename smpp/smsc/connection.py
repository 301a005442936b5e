"""One ESME's connection to the simulator: an SMSC's session, and bad behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.events import (
    Answered,
    BindRequested,
    DeliveriesTaken,
    Ended,
    Malformed,
    Requested,
    SessionEvent,
    SubmitsReceived,
    TimedOut,
)
from smpp.pdu import Pdu, SubmitSm
from smpp.receipt import state_of
from smpp.smsc_session import SmscConfig, SmscSession

if TYPE_CHECKING:
    from smpp.smsc.carrier import SimulatedCarrier
    from smpp.smsc.scenario import CarrierScenario

SYSTEM_ID: Final = "tandem-smsc"
# Before the bind no carrier is known whose timers and window these are; what is answered, and how
# often, is the scenario's.
_UNBOUND: Final = SmscConfig(system_id=SYSTEM_ID, most_owed=0)

_RETRY: Final = frozenset({v.ESME_RSYSERR, v.ESME_RMSGQFUL, v.ESME_RTHROTTLED, v.ESME_RX_T_APPN})

# Who binds, with what password: the carrier, or the command_status of the refusal.
Login = Callable[["SmscConnection", str, str], "SimulatedCarrier | int"]


class SmscConnection(asyncio.Protocol):
    """One connection, before and after its bind."""

    def __init__(
        self, number: int, login: Login, on_lost: Callable[[SmscConnection], None]
    ) -> None:
        self.number = number
        self.name = f"#{number}"
        self.carrier: SimulatedCarrier | None = None
        # Half open: reads and writes nothing, and stays.
        self.deaf = False
        self._session = SmscSession(_UNBOUND)
        self._login = login
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answers: list[bytes] = []
        self._flush_due = False
        self._dripping: list[bytes] = []
        self._stalled = False
        self._writable = True

    # What the carrier asks of it --------------------------------------------------

    @property
    def can_deliver(self) -> bool:
        """Whether a deliver_sm may be sent on it now."""
        session = self._session
        return (
            session.may_send
            and len(session.window) < session.config.window
            and self._writable
            and self._transport is not None
        )

    def configure(self, scenario: CarrierScenario) -> None:
        """Behave as `scenario` says from now on."""
        self._session.config = _config(scenario)

    def send(self, pdu: bytes) -> None:
        """Write a PDU at the end of this turn of the loop."""
        self._session.output.append(pdu)
        if not self._flush_due:
            self._flush_soon()

    def answer(self, pdu: bytes) -> None:
        """As `send`, but shuffled among the other answers of this turn if the scenario says so."""
        carrier = self.carrier
        if carrier is not None and carrier.scenario.faults.shuffle_answers:
            self._answers.append(pdu)
            self._flush_soon()
        else:
            self.send(pdu)

    def deliver(self, body: bytes) -> None:
        """Send a deliver_sm; ask `can_deliver` before."""
        assert self.carrier is not None
        self.carrier.ledger.counters.deliveries += 1
        self._session.deliver_octets(body, body, self._loop.time())
        if not self._flush_due:
            self._flush_soon()

    def stall(self, seconds: float) -> None:
        """Read and write nothing for a while."""
        if self._stalled or self._transport is None or self.carrier is None:
            return
        self._stalled = True
        self._transport.pause_reading()
        self.carrier.agenda.add(seconds, self._resume)

    def _resume(self) -> None:
        self._stalled = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._flush()

    def go_deaf(self) -> None:
        """Become a half-open connection."""
        self.deaf = True

    def disconnect(self) -> None:
        """Reset the connection, with whatever was to be written."""
        if self._transport is not None:
            if self.carrier is not None:
                self.carrier.ledger.counters.disconnects += 1
            self._transport.abort()

    def close(self) -> None:
        """Close in good order, but without unbind."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def unbind(self) -> None:
        """Ask the ESME to go; the connection is closed with its answer, or without it in time."""
        self._session.unbind(self._loop.time())
        self._flush_soon()

    def send_malformed(self, kind: str) -> None:
        """Send one of scenario.MALFORMED."""
        assert self.carrier is not None
        self.carrier.ledger.counters.malformed_sent += 1
        self.send(_malformed(kind, self._session.next_sequence()))

    def watch(self, now: float) -> None:
        """Once a second: what has waited too long."""
        carrier = self.carrier
        if carrier is not None:
            silent_s = now - self._session.last_received_at
            if 0 < carrier.scenario.inactivity_s < silent_s:
                self.disconnect()
                return
        if not self.deaf:
            self._hand_on(self._session.tick(now))

    # What asyncio tells it --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._session.connected(self._loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        carrier = self.carrier
        if self.deaf and carrier is not None and carrier.scenario.inactivity_s:
            # A half-open session does not hear that the other side has gone: it
            # counts as bound until the carrier's timer has run out.
            silent_s = self._loop.time() - self._session.last_received_at
            rest_s = max(carrier.scenario.inactivity_s - silent_s, 0.0)
            carrier.agenda.add(rest_s, self._gone)
        else:
            self._gone()

    def _gone(self) -> None:
        self._on_lost(self)
        carrier = self.carrier
        if carrier is not None and (bodies := self._session.unanswered()):
            carrier.take_back(cast(list[bytes], bodies))

    def pause_writing(self) -> None:
        """An ESME that does not read is not read either: its answers would pile up here."""
        self._writable = False
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if self._transport is not None and not self._stalled:
            self._transport.resume_reading()
        if self.carrier is not None:
            self.carrier.pump()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        session = self._session
        self._hand_on(session.receive(data, self._loop.time()))
        carrier = self.carrier
        if carrier is not None:
            if session.enquired:
                carrier.ledger.counters.enquire_links += session.enquired
                session.enquired = 0
            if carrier.waiting:
                carrier.pump()

    # Inside -------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        transport = self._transport
        if transport is None or self.deaf or self._stalled:
            return
        data = self._session.take_output()
        if self._answers:
            assert self.carrier is not None
            self.carrier.shuffle(self._answers)
            data = b"".join(self._answers) + data
            self._answers.clear()
        if not data:
            return
        if self.carrier is not None and self.carrier.scenario.faults.one_octet_writes:
            if not self._dripping:
                self._loop.call_soon(self._drip)
            self._dripping.append(data)
        else:
            transport.write(data)

    def _drip(self) -> None:
        """One octet a turn of the loop, so that each is a write of its own."""
        data = b"".join(self._dripping)
        self._dripping.clear()
        if self._transport is None:
            return
        self._transport.write(data[:1])
        if len(data) > 1:
            self._dripping.append(data[1:])
            self._loop.call_soon(self._drip)

    def _hand_on(self, events: list[SessionEvent]) -> None:
        carrier = self.carrier
        for event in events:
            if isinstance(event, SubmitsReceived):
                assert carrier is not None
                for sequence, pdu in event:
                    carrier.submit(self, pdu, sequence)
            elif isinstance(event, DeliveriesTaken):
                assert carrier is not None
                for body in cast(list[bytes], event):
                    carrier.delivery_answered(body)
            else:
                self._rare(event)
        if not self._flush_due and self._session.has_output:
            self._flush_soon()

    def _rare(self, event: SessionEvent) -> None:
        carrier = self.carrier
        if isinstance(event, BindRequested):
            self._bind(event)
        elif isinstance(event, Ended):
            self.close()
        elif carrier is None:
            return
        elif isinstance(event, Answered):
            carrier.ledger.counters.deliveries_refused += 1
            if event.status in _RETRY:
                carrier.agenda.add(carrier.scenario.deliver_retry_s, carrier.again, (event.token,))
        elif isinstance(event, TimedOut):
            carrier.again(cast(bytes, event.token))
        elif isinstance(event, Requested):
            _REQUESTS[event.request.command](self, carrier, event.request)
        elif isinstance(event, Malformed) and event.data[4] < 0x80:  # a response is no request
            carrier.ledger.counters.malformed_received += 1

    def _bind(self, request: BindRequested) -> None:
        found = self._login(self, request.system_id, request.password)
        if isinstance(found, int):
            self._session.refuse(found)
            self.close()
            return
        self.carrier = found
        self.name = f"{found.scenario.system_id}#{self.number}"
        found.connections.append(self)
        behind = self._session.accept(self._loop.time(), _config(found.scenario))
        found.pump()
        self._hand_on(behind)

    def _data_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        message = codec.message_from(pdu)
        as_submit = SubmitSm(
            message.source,
            message.destination,
            b"",
            message.data_coding,
            message.esm_class,
            message.registered_delivery,
            message.service_type,
            tlvs=message.tlvs,
        )
        data = codec.encode_submit(as_submit, pdu.sequence)
        carrier.submit(self, data, pdu.sequence, v.DATA_SM_RESP)

    def _submit_multi(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        carrier.submit_multi(self, pdu)

    def _query_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        entry = carrier.find(pdu.text("message_id"))
        if entry is None:
            self._session.respond(pdu, v.ESME_RQUERYFAIL)
            return
        state = int(state_of(entry.outcome))
        self._session.respond(
            pdu, 0, message_id=entry.carrier_id, final_date="", message_state=state, error_code=0
        )

    def _cancel_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        entry = carrier.find(pdu.text("message_id"))
        if entry is None:
            self._session.respond(pdu, v.ESME_RCANCELFAIL)
            return
        carrier.cancelled.add(entry.carrier_id.encode("latin-1"))
        self._session.respond(pdu)

    def _replace_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        known = carrier.find(pdu.text("message_id")) is not None
        self._session.respond(pdu, 0 if known else v.ESME_RREPLACEFAIL)


_REQUESTS: Final[dict[int, Callable[[SmscConnection, SimulatedCarrier, Pdu], None]]] = {
    v.DATA_SM: SmscConnection._data_sm,
    v.SUBMIT_MULTI: SmscConnection._submit_multi,
    v.QUERY_SM: SmscConnection._query_sm,
    v.CANCEL_SM: SmscConnection._cancel_sm,
    v.REPLACE_SM: SmscConnection._replace_sm,
}


def _config(scenario: CarrierScenario) -> SmscConfig:
    return SmscConfig(
        system_id=SYSTEM_ID,
        window=scenario.deliver_window,
        response_timeout_s=scenario.deliver_timeout_s,
        enquire_interval_s=scenario.enquire_interval_s,
        most_owed=0,
    )


def _malformed(kind: str, sequence: int) -> bytes:
    """One of scenario.MALFORMED: what carriers were seen to send."""
    head = b"\0\x01\x01447700900000\0\x01\x0115550001111\0"
    flags = b"\0\0\0\0\0\0\0\0\0"
    bodies: dict[str, tuple[int, int, bytes]] = {
        "unknown_command": (0x00010203, 0, b"what"),
        "cut_deliver": (v.DELIVER_SM, 0, head[:9]),
        # A header announced in a message without octets: aborted Osmocom's parser.
        "udhi_empty": (v.DELIVER_SM, 0, head + b"\x40" + flags[1:] + b"\0"),
        "bad_tlv": (v.DELIVER_SM, 0, head + flags + b"\x02hi\x04\x24\xff\xff!"),
        "vendor_tlv": (v.DELIVER_SM, 0, head + flags + b"\x02hi\x14\x11\0\x03abc"),
        "stray_response": (v.SUBMIT_SM_RESP, 0, b"stray\0"),
        "nack": (v.GENERIC_NACK, v.ESME_RSYSERR, b""),
    }
    if kind == "short_frame":
        return HEADER.pack(2, v.ENQUIRE_LINK, 0, sequence)
    if kind == "huge_frame":
        return HEADER.pack(0x7FFFFFFF, v.DELIVER_SM, 0, sequence)
    command, status, body = bodies[kind]
    if kind == "nack":
        sequence = 0  # as when the request could not even be read (§4.3.1)
    if kind == "stray_response":
        sequence = codec.MAX_SEQUENCE - sequence
    return HEADER.pack(16 + len(body), command, status, sequence) + body
