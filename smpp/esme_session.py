"""The ESME's side of a session: it binds, submits, and answers what it is delivered.

What is written is read in its order. So whatever the peer answers proves that
it had all that we wrote before: deliveries answered before a request that it
answers, or before an orderly unbind, are `Settled`, and will not come again.
While some are not, and nothing else is asked, an enquire_link asks (a peer that
leaves it unanswered is not held to be dead for that).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import CodecError
from smpp.events import (
    Answered,
    BindRefused,
    Bound,
    Delivered,
    Ended,
    Malformed,
    Notified,
    Responded,
    SessionEvent,
    Settled,
)
from smpp.framing import Frame
from smpp.pdu import DeliverSm, FramedSubmit, Pdu, SubmitSm
from smpp.session import NotBound, Session, SessionConfig, WindowFull
from smpp.states import ACCEPTED, ESME, BindType, Move, SessionState

CONFIRM_AFTER_S: Final = 0.2  # for a submit to be answered meanwhile
MOST_UNSETTLED: Final = 10_000  # whose answers may not have arrived; beyond it never settled
RECEIPT_BITS: Final = v.ESM_RECEIPT | v.ESM_INTERMEDIATE


@dataclass(frozen=True, slots=True)
class EsmeConfig(SessionConfig):
    """How one session binds and behaves. All times in seconds."""

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    bind_type: BindType = BindType.TRANSCEIVER
    interface_version: int = 0x34
    address_ton: int = 0
    address_npi: int = 0
    address_range: str = ""
    bind_timeout_s: float = 10.0
    # How often we ask whether our answers to messages have arrived, at most; 0 never asks.
    confirm_interval_s: float = 1.0

    def __post_init__(self) -> None:
        SessionConfig.__post_init__(self)
        if self.bind_timeout_s <= 0:
            raise ValueError("bind_timeout_s must be positive")
        self.bind_pdu(1)

    def bind_pdu(self, sequence: int) -> bytes:
        """The bind request. Raises CodecError (a ValueError) if a field is too long for it."""
        return codec.encode(
            Pdu(
                self.bind_type.value,
                sequence,
                fields={
                    "system_id": self.system_id,
                    "password": self.password,
                    "system_type": self.system_type,
                    "interface_version": self.interface_version,
                    "addr_ton": self.address_ton,
                    "addr_npi": self.address_npi,
                    "address_range": self.address_range,
                },
            )
        )


class EsmeSession(Session):
    """The ESME's side of one connection. See the module's text, and `session`'s."""

    __slots__ = (
        "_bind_sequence",
        "_confirm_again_at",
        "_confirm_at",
        "_deliveries",
        "_unsettled",
        "link",
    )

    role = ESME
    config: EsmeConfig

    def __init__(self, config: EsmeConfig, *, link: int = 0, first_sequence: int = 0) -> None:
        super().__init__(config, first_sequence)
        # Number of the connection, copied into each delivery so that its answer finds it.
        self.link = link
        self._bind_sequence = 0
        self._deliveries = 0
        # Answered, and the last request that was written before: in the order of the answers.
        self._unsettled: deque[tuple[int, DeliverSm]] = deque(maxlen=MOST_UNSETTLED)
        self._confirm_at = 0.0  # earliest time to ask whether answers have arrived
        self._confirm_again_at = 0.0  # the same, once the last such question is answered

    # What the owner asks of it ------------------------------------------------

    def connected(self, now: float) -> None:
        """The connection is up: send the bind."""
        super().connected(now)
        self._deadline_at = now + self.config.bind_timeout_s
        self._bind_sequence = self.next_sequence()
        self._advance(Move.BIND_SENT)
        self.send(self.config.bind_pdu(self._bind_sequence))

    def submit(self, message: SubmitSm | FramedSubmit, token: object, now: float) -> None:
        """Send `message`; its outcome will name `token`.

        Raises NotBound, WindowFull, or CodecError for a message with no octets;
        then nothing has happened.
        """
        if not self.may_send:
            raise NotBound(self.state.name)
        window = self.window
        if len(window) >= self.config.window:
            raise WindowFull
        sequence = self._sequence + 1
        if sequence > codec.MAX_SEQUENCE or sequence in window:
            sequence = self.next_sequence()
        if isinstance(message, FramedSubmit):
            pdu = codec.encode_framed(message, sequence)
        else:
            pdu = codec.encode_submit(message, sequence)
        self._sequence = sequence
        window[sequence] = (token, now + self.config.response_timeout_s, v.SUBMIT_SM)
        self.last_message_at = now
        self.output.append(pdu)

    def answer(self, delivery: DeliverSm, status: int = 0) -> bool:
        """Send the response to a delivery; False if it is not owed (any more)."""
        sequence = delivery.sequence
        if sequence not in self._owed:
            return False
        self._owed.discard(sequence)
        if status == 0 and not delivery.esm_class & RECEIPT_BITS:
            if not self._unsettled:
                self._confirm_at = max(self._confirm_at, self.last_received_at + CONFIRM_AFTER_S)
            self._unsettled.append((self._sequence, delivery))
        self.send(codec.encode_submit_resp(sequence, b"", status, delivery.command | v.RESPONSE))
        return True

    # Time -----------------------------------------------------------------------

    def deadline(self) -> float:
        """As `Session.deadline`; and when to ask whether answers have arrived."""
        due = super().deadline()
        if self._unsettled and self.bound and self.config.confirm_interval_s:
            due = min(due, self._confirm_at)
        return due

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what is due at `now`."""
        events = super().tick(now)
        interval_s = self.config.confirm_interval_s
        if self._unsettled and self.bound and interval_s and now >= self._confirm_at:
            self._confirm_again_at = now + interval_s
            self._confirm_at = now + self.config.response_timeout_s
            self._enquire()
        return events

    def _overdue(self) -> str:
        if self.state is SessionState.BINDING:
            return f"no answer to the bind in {self.config.bind_timeout_s:g} s"
        return super()._overdue()

    # Bytes ----------------------------------------------------------------------

    def _read(self, frames: list[Frame], events: list[SessionEvent]) -> list[Frame] | None:
        window = self.window
        left = iter(frames)
        for command, status, sequence, pdu in left:
            if command == v.SUBMIT_SM_RESP and sequence in window:
                token, _, sent = window.pop(sequence)
                if self._unsettled:
                    self._proved(sequence, events)
                message_id, tlvs = codec.decode_submit_resp(pdu)
                if sent == v.SUBMIT_SM:
                    events.append(Answered(token, status, message_id, tlvs))
                else:
                    events.append(
                        Responded(
                            token, Pdu(command, sequence, status, {"message_id": message_id}, tlvs)
                        )
                    )
            elif command == v.DELIVER_SM and self.bound:
                try:
                    delivery = codec.decode_deliver(pdu)
                except CodecError as error:
                    self._unreadable(pdu, command, sequence, error, events)
                else:
                    self._delivered(delivery, pdu, events)
            else:
                self._rare(pdu, command, status, sequence, events)
                if events and events[-1].__class__ is Ended:
                    return list(left)
        return None

    def _unreadable(
        self, pdu: bytes, command: int, sequence: int, error: CodecError, events: list[SessionEvent]
    ) -> None:
        if command not in (v.DELIVER_SM, v.DATA_SM):
            super()._unreadable(pdu, command, sequence, error, events)
            return
        self.send(codec.encode_submit_resp(sequence, b"", error.status, command | v.RESPONSE))
        events.append(Malformed(pdu, str(error)))

    def _requested(self, read: Pdu, pdu: bytes, events: list[SessionEvent]) -> None:
        if read.command == v.DATA_SM or read.command == v.DELIVER_SM:
            self._delivered(codec.message_from(read), pdu, events)
        else:
            events.append(Notified(read))

    def _answered(
        self, pdu: bytes, command: int, status: int, sequence: int, events: list[SessionEvent]
    ) -> None:
        if command & ~v.RESPONSE not in v.BINDS:
            super()._answered(pdu, command, status, sequence, events)
        elif sequence != self._bind_sequence:
            self.unmatched += 1
            events.append(Malformed(pdu, "a bind response with a sequence_number we did not use"))
        elif status:
            self._bind_refused(status, "bind refused", events)
        else:
            read = codec.decode(pdu)
            version = dict(read.tlvs).get(v.SC_INTERFACE_VERSION, b"")
            self._advance(ACCEPTED[self.config.bind_type])
            self.last_message_at = self.last_received_at
            events.append(Bound(read.text("system_id"), int.from_bytes(version[:1], "big")))

    def _nacked(self, pdu: bytes, status: int, sequence: int, events: list[SessionEvent]) -> None:
        if self.state is SessionState.BINDING:
            status = status or v.ESME_RUNKNOWNERR
            self._bind_refused(status, "bind refused by generic_nack", events)
        else:
            super()._nacked(pdu, status, sequence, events)

    def _bind_refused(self, status: int, how: str, events: list[SessionEvent]) -> None:
        events.append(BindRefused(status))
        events.append(self._end(f"{how}: {v.status_name(status)}"))

    def _delivered(self, delivery: DeliverSm, pdu: bytes, events: list[SessionEvent]) -> None:
        self._deliveries += 1
        delivery.link, delivery.number = self.link, self._deliveries
        self._owed.add(delivery.sequence)
        self.last_message_at = self.last_received_at
        events.append(Delivered(delivery))
        if delivery.flaw:
            events.append(Malformed(pdu, f"{delivery.flaw}: taken without it"))

    # What the peer has read -------------------------------------------------------

    def _enquiry_answered(self, sequence: int, events: list[SessionEvent]) -> bool:
        if sequence in self._enquiries:
            self._confirm_at = self._confirm_again_at
        return super()._enquiry_answered(sequence, events)

    def _proved(self, sequence: int, events: list[SessionEvent]) -> None:
        settled = 0
        for before, _ in self._unsettled:
            if not 0 < (sequence - before & codec.MAX_SEQUENCE) <= codec.MAX_SEQUENCE >> 1:
                break
            settled += 1
        self._settle(settled, events)

    def _all_read(self, events: list[SessionEvent]) -> None:
        self._settle(len(self._unsettled), events)

    def _settle(self, count: int, events: list[SessionEvent]) -> None:
        if count:
            deliveries = tuple(self._unsettled.popleft()[1] for _ in range(count))
            events.append(Settled(deliveries))
