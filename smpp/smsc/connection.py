"""One ESME's connection to the simulator: frames, binds, answers, and bad behaviour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.pdu import Pdu, SubmitSm
from smpp.receipt import state_of

if TYPE_CHECKING:
    from smpp.smsc.carrier import SimulatedCarrier

FRAME_LIMIT: Final = 65_536
SESSION_INIT_S: Final = 30.0
SYSTEM_ID: Final = "tandem-smsc"

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
        self.bind_command = 0
        # Half open: reads and writes nothing, and stays.
        self.deaf = False
        self.received_at = 0.0
        self._login = login
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._out: list[bytes] = []
        self._answers: list[bytes] = []
        self._flush_due = False
        self._dripping: list[bytes] = []
        self._stalled = False
        self._writable = True
        self._sequence = 0
        self._unanswered: dict[int, tuple[bytes, float]] = {}
        self._asked_at = 0.0

    # What the carrier asks of it --------------------------------------------------

    @property
    def can_deliver(self) -> bool:
        """Whether a deliver_sm may be sent on it now."""
        return (
            self.bind_command in (v.BIND_RECEIVER, v.BIND_TRANSCEIVER)
            and self.carrier is not None
            and self._writable
            and self._transport is not None
            and len(self._unanswered) < self.carrier.scenario.deliver_window
        )

    def send(self, pdu: bytes) -> None:
        """Write a PDU at the end of this turn of the loop."""
        self._out.append(pdu)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def answer(self, pdu: bytes) -> None:
        """As `send`, but shuffled among the other answers of this turn if the scenario says so."""
        carrier = self.carrier
        if carrier is not None and carrier.scenario.faults.shuffle_answers:
            self._answers.append(pdu)
            if not self._flush_due:
                self._flush_due = True
                self._loop.call_soon(self._flush)
        else:
            self.send(pdu)

    def deliver(self, body: bytes) -> None:
        """Send a deliver_sm; ask `can_deliver` before."""
        self._sequence = sequence = self._sequence % codec.MAX_SEQUENCE + 1
        self._unanswered[sequence] = (body, self._loop.time())
        assert self.carrier is not None
        self.carrier.ledger.counters.deliveries += 1
        self.send(HEADER.pack(16 + len(body), v.DELIVER_SM, 0, sequence) + body)

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
        """Ask the ESME to go; the connection is closed with its answer."""
        self._sequence += 1
        self.send(HEADER.pack(16, v.UNBIND, 0, self._sequence))

    def send_malformed(self, kind: str) -> None:
        """Send one of scenario.MALFORMED."""
        self._sequence += 1
        assert self.carrier is not None
        self.carrier.ledger.counters.malformed_sent += 1
        self.send(_malformed(kind, self._sequence))

    def watch(self, now: float) -> None:
        """Once a second: what has waited too long."""
        carrier = self.carrier
        if carrier is None:
            if now - self.received_at > SESSION_INIT_S:
                self.close()
            return
        scenario = carrier.scenario
        silent_s = now - self.received_at
        if scenario.inactivity_s and silent_s > scenario.inactivity_s:
            self.disconnect()
            return
        if (
            scenario.enquire_interval_s
            and silent_s > scenario.enquire_interval_s
            and now - self._asked_at > scenario.enquire_interval_s
        ):
            self._asked_at = now
            self._sequence += 1
            self.send(HEADER.pack(16, v.ENQUIRE_LINK, 0, self._sequence))
        while self._unanswered and not self.deaf:
            sequence, (body, sent_at) = next(iter(self._unanswered.items()))
            if now - sent_at < scenario.deliver_timeout_s:
                break
            del self._unanswered[sequence]
            carrier.again(body)

    # What asyncio tells it --------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.received_at = self._loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        carrier = self.carrier
        if self.deaf and carrier is not None and carrier.scenario.inactivity_s:
            # A half-open session does not hear that the other side has gone: it
            # counts as bound until the carrier's timer has run out.
            silent_s = self._loop.time() - self.received_at
            rest_s = max(carrier.scenario.inactivity_s - silent_s, 0.0)
            carrier.agenda.add(rest_s, self._gone)
        else:
            self._gone()

    def _gone(self) -> None:
        self._on_lost(self)
        carrier = self.carrier
        if carrier is not None and self._unanswered:
            bodies = [body for body, _ in self._unanswered.values()]
            self._unanswered.clear()
            carrier.take_back(bodies)

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
        self.received_at = self._loop.time()
        if self._buffer:
            data = self._buffer + data
        at = 0
        end = len(data)
        carrier = self.carrier
        takes = carrier is not None and self.bind_command != v.BIND_RECEIVER
        unanswered = self._unanswered
        while end - at >= 16:
            length, command, status, sequence = HEADER.unpack_from(data, at)
            if length < 16 or length > FRAME_LIMIT:
                self.send(HEADER.pack(16, v.GENERIC_NACK, v.ESME_RINVCMDLEN, sequence))
                self.close()
                return
            if at + length > end:
                break
            pdu = data[at : at + length]
            at += length
            if command == v.SUBMIT_SM and takes:
                assert carrier is not None
                carrier.submit(self, pdu, sequence)
            elif command == v.DELIVER_SM_RESP and sequence in unanswered:
                body, _ = unanswered.pop(sequence)
                if status:
                    self._delivery_refused(body, status)
                else:
                    assert carrier is not None
                    carrier.delivery_answered(body)
            else:
                self._rare(pdu, command, status, sequence)
                carrier = self.carrier
                takes = carrier is not None and self.bind_command != v.BIND_RECEIVER
        self._buffer = data[at:]
        if carrier is not None and carrier.waiting:
            carrier.pump()

    # Inside -------------------------------------------------------------------------

    def _flush(self) -> None:
        self._flush_due = False
        transport = self._transport
        if self._answers:
            assert self.carrier is not None
            self.carrier.shuffle(self._answers)
            self._out[:0] = self._answers
            self._answers = []
        if transport is None or self.deaf or self._stalled or not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
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

    def _delivery_refused(self, body: bytes, status: int) -> None:
        assert self.carrier is not None
        self.carrier.ledger.counters.deliveries_refused += 1
        if status in _RETRY:
            self.carrier.agenda.add(
                self.carrier.scenario.deliver_retry_s, self.carrier.again, (body,)
            )

    def _rare(self, pdu: bytes, command: int, status: int, sequence: int) -> None:
        if command == v.ENQUIRE_LINK:
            self.send(HEADER.pack(16, v.ENQUIRE_LINK_RESP, 0, sequence))
            if self.carrier is not None:
                self.carrier.ledger.counters.enquire_links += 1
        elif command == v.UNBIND:
            self.send(HEADER.pack(16, v.UNBIND_RESP, 0, sequence))
            self.close()
        elif command == v.UNBIND_RESP:
            self.close()
        elif command & v.RESPONSE:
            return
        else:
            try:
                self._request(codec.decode(pdu))
            except CodecError as error:
                if self.carrier is not None:
                    self.carrier.ledger.counters.malformed_received += 1
                self.send(HEADER.pack(16, v.GENERIC_NACK, error.status, sequence))

    def _request(self, pdu: Pdu) -> None:
        if pdu.command in v.BINDS:
            self._bind(pdu)
        elif self.carrier is None or (
            self.bind_command == v.BIND_RECEIVER and pdu.command != v.ALERT_NOTIFICATION
        ):
            self._respond(pdu, v.ESME_RINVBNDSTS)
        elif pdu.command in _REQUESTS:
            _REQUESTS[pdu.command](self, self.carrier, pdu)
        else:
            self.send(HEADER.pack(16, v.GENERIC_NACK, v.ESME_RINVCMDID, pdu.sequence))

    def _respond(self, request: Pdu, status: int = 0, **fields: str | int) -> None:
        response = Pdu(request.command | v.RESPONSE, request.sequence, status, dict(fields))
        data = codec.encode(response)
        self.send(data if not status or fields else HEADER.pack(16, *HEADER.unpack(data[:16])[1:]))

    def _bind(self, pdu: Pdu) -> None:
        if self.carrier is not None:
            self._respond(pdu, v.ESME_RALYBND)
            return
        found = self._login(self, pdu.text("system_id"), pdu.text("password"))
        if isinstance(found, int):
            self._respond(pdu, found)
            self.close()
            return
        self.carrier = found
        self.bind_command = pdu.command
        self.name = f"{found.scenario.system_id}#{self.number}"
        found.connections.append(self)
        tlvs = ((v.SC_INTERFACE_VERSION, b"\x34"),)
        self.send(
            codec.encode(
                Pdu(pdu.command | v.RESPONSE, pdu.sequence, 0, {"system_id": SYSTEM_ID}, tlvs)
            )
        )
        found.pump()

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
            self._respond(pdu, v.ESME_RQUERYFAIL)
            return
        state = int(state_of(entry.outcome))
        self._respond(
            pdu, 0, message_id=entry.carrier_id, final_date="", message_state=state, error_code=0
        )

    def _cancel_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        entry = carrier.find(pdu.text("message_id"))
        if entry is None:
            self._respond(pdu, v.ESME_RCANCELFAIL)
            return
        carrier.cancelled.add(entry.carrier_id.encode("latin-1"))
        self._respond(pdu)

    def _replace_sm(self, carrier: SimulatedCarrier, pdu: Pdu) -> None:
        known = carrier.find(pdu.text("message_id")) is not None
        self._respond(pdu, 0 if known else v.ESME_RREPLACEFAIL)


_REQUESTS: Final[dict[int, Callable[[SmscConnection, SimulatedCarrier, Pdu], None]]] = {
    v.DATA_SM: SmscConnection._data_sm,
    v.SUBMIT_MULTI: SmscConnection._submit_multi,
    v.QUERY_SM: SmscConnection._query_sm,
    v.CANCEL_SM: SmscConnection._cancel_sm,
    v.REPLACE_SM: SmscConnection._replace_sm,
}


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
