"""One SMPP session as the ESME sees it, without any I/O.

Bytes and the time go in; events and bytes come out. Who owns a session feeds
it (`receive`), asks it to send (`submit`, `answer`, `request`), carries away
what it wants to write (`take_output`), and calls `tick` when `deadline` has
come. Nothing here reads a clock, opens a socket or sleeps.

Theory of operation:

1. A session lives for one connection. Its states and every move between them
   are the table `MOVES`; what the peer may send in which state is the table
   `RECEIVABLE` (SMPP 3.4 §2.2, §2.3).
2. Every request we send takes a place in the window, in memory, before its
   bytes exist: a response cannot be faster than its correlation. The timeout
   is the same for all, so the window (a dict, in order of sending) is also the
   list of deadlines.
3. Peculiar is not fatal. A PDU that cannot be understood is answered, reported
   as `Malformed` and forgotten; only a broken frame, of which nobody can say
   where the next PDU begins, ends the session.
4. What is written is read in its order. So whatever the peer answers proves
   that it had all that we wrote before: deliveries answered before a request
   that it answers, or before an orderly unbind, are `Settled`, and will not
   come again. While some are not, and nothing else is asked, an enquire_link
   asks (a peer that leaves it unanswered is not held to be dead for that).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.events import (
    Answered,
    BindRefused,
    Bound,
    Delivered,
    Ended,
    LateAnswer,
    Malformed,
    Notified,
    Responded,
    SessionEvent,
    Settled,
    TimedOut,
)
from smpp.pdu import DeliverSm, Pdu, SubmitSm
from smpp.states import ACCEPTED, BOUND, MOVES, RECEIVABLE, BindType, Move, SessionState

__all__ = ["BindType", "NotBound", "Session", "SessionConfig", "SessionState", "WindowFull"]

CONFIRM_AFTER_S = 0.2  # for a submit to be answered meanwhile
MOST_UNSETTLED = 10_000  # deliveries whose answers may not have arrived; beyond it never settled
MOST_ENQUIRIES = 16
RECEIPT_BITS = v.ESM_RECEIPT | v.ESM_INTERMEDIATE

# Sees every PDU: "in" or "out", and its octets.
Tap = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How one session binds and behaves. All times in seconds."""

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""
    bind_type: BindType = BindType.TRANSCEIVER
    interface_version: int = 0x34
    address_ton: int = 0
    address_npi: int = 0
    address_range: str = ""
    # Requests sent and not yet answered, at most.
    window: int = 100
    response_timeout_s: float = 30.0
    # Silence after which we ask whether the peer is there; 0 never asks.
    enquire_interval_s: float = 30.0
    # How often we ask whether our answers to messages have arrived, at most; 0 never asks.
    confirm_interval_s: float = 1.0
    bind_timeout_s: float = 10.0
    # Time without any message after which we unbind; 0 never does.
    inactivity_timeout_s: float = 0.0
    max_pdu_bytes: int = 65_536
    # Timed-out requests whose late response is still recognised, at most.
    late_answers: int = 10_000

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError("window must be at least 1")
        if self.max_pdu_bytes < 1024:
            raise ValueError("max_pdu_bytes must be at least 1024")
        for name in ("response_timeout_s", "bind_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
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


class WindowFull(Exception):
    """As many requests as the window holds are unanswered."""


class NotBound(Exception):
    """There is no bound session that may send this."""


class Session:
    """The ESME's side of one connection. See the module's text."""

    __slots__ = (
        "_asked_at",
        "_bind_sequence",
        "_buffer",
        "_confirm_again_at",
        "_confirm_at",
        "_deadline_at",
        "_deliveries",
        "_enquiries",
        "_expired",
        "_needed",
        "_output",
        "_owed",
        "_sequence",
        "_unbind_sequence",
        "_unsettled",
        "_window",
        "config",
        "last_message_at",
        "last_received_at",
        "link",
        "state",
        "tap",
        "unmatched",
    )

    def __init__(self, config: SessionConfig, *, link: int = 0, first_sequence: int = 0) -> None:
        self.config = config
        # Number of the connection, copied into each delivery so that its answer finds it.
        self.link = link
        self.state = SessionState.OPEN
        self.tap: Tap | None = None
        # Responses that answered nothing we know of.
        self.unmatched = 0
        self.last_received_at = 0.0
        self.last_message_at = 0.0
        self._asked_at: float | None = None  # when the unanswered enquire_link was sent
        self._deadline_at = 0.0  # of the bind, then of the unbind
        self._bind_sequence = 0
        self._unbind_sequence = 0
        self._deliveries = 0
        # Answered, and the last request that was written before: in the order of the answers.
        self._unsettled: deque[tuple[int, DeliverSm]] = deque(maxlen=MOST_UNSETTLED)
        self._enquiries: dict[int, None] = {}  # sequences of enquire_links not answered
        self._confirm_at = 0.0  # earliest time to ask whether answers have arrived
        self._confirm_again_at = 0.0  # the same, once the last such question is answered
        self._sequence = first_sequence
        self._window: dict[
            int, tuple[object, float, int]
        ] = {}  # sequence: token, deadline, command
        self._expired: dict[int, object] = {}
        self._owed: set[int] = set()  # sequences of deliveries that wait for our answer
        self._output: list[bytes] = []
        self._buffer = bytearray()
        self._needed = 0

    # What the owner asks of it ------------------------------------------------

    @property
    def bound(self) -> bool:
        """Whether messages may pass."""
        return self.state in BOUND

    @property
    def closed(self) -> bool:
        """Whether the session is over: nothing more is read or sent."""
        return self.state is SessionState.CLOSED

    @property
    def can_submit(self) -> bool:
        """Whether this session may send submit_sm at all (SMPP 3.4 §2.3)."""
        return self.state is SessionState.BOUND_TRX or self.state is SessionState.BOUND_TX

    @property
    def window_free(self) -> int:
        """How many requests may be sent now."""
        if self.state is SessionState.BOUND_TRX or self.state is SessionState.BOUND_TX:
            return self.config.window - len(self._window)
        return 0

    @property
    def in_flight(self) -> int:
        """Requests sent and not answered."""
        return len(self._window)

    @property
    def owed(self) -> int:
        """Deliveries received and not answered."""
        return len(self._owed)

    def connected(self, now: float) -> None:
        """The connection is up: send the bind."""
        config = self.config
        self.last_received_at = self.last_message_at = now
        self._deadline_at = now + config.bind_timeout_s
        self._bind_sequence = self._next_sequence()
        self._advance(Move.BIND_SENT)
        self._send(config.bind_pdu(self._bind_sequence))

    def submit(self, message: SubmitSm, token: object, now: float) -> None:
        """Send `message`; its outcome will name `token`.

        Raises NotBound, WindowFull, or CodecError for a message with no octets;
        then nothing has happened.
        """
        if not (self.state is SessionState.BOUND_TRX or self.state is SessionState.BOUND_TX):
            raise NotBound(self.state.name)
        window = self._window
        if len(window) >= self.config.window:
            raise WindowFull
        sequence = self._sequence + 1
        if sequence > codec.MAX_SEQUENCE or sequence in window:
            sequence = self._next_sequence()
        pdu = codec.encode_submit(message, sequence)
        self._sequence = sequence
        window[sequence] = (token, now + self.config.response_timeout_s, v.SUBMIT_SM)
        self.last_message_at = now
        self._output.append(pdu)
        if self.tap is not None:
            self.tap("out", pdu)

    def request(self, pdu: Pdu, token: object, now: float) -> None:
        """Send any other request that has a response: query_sm, cancel_sm, replace_sm, data_sm…

        It takes a place in the window and comes back as Responded or TimedOut.
        Raises as `submit`.
        """
        if not self.can_submit:
            raise NotBound(self.state.name)
        if len(self._window) >= self.config.window:
            raise WindowFull
        sequence = self._next_sequence()
        data = codec.encode(Pdu(pdu.command, sequence, 0, pdu.fields, pdu.tlvs))
        self._window[sequence] = (token, now + self.config.response_timeout_s, pdu.command)
        self.last_message_at = now
        self._send(data)

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
        self._send(codec.encode_submit_resp(sequence, b"", status, delivery.command | v.RESPONSE))
        return True

    def unbind(self, now: float) -> None:
        """Begin an orderly end; Ended follows with the peer's answer, or without it in time."""
        if self.state not in BOUND:
            return
        self._advance(Move.UNBIND_SENT)
        self._deadline_at = now + min(self.config.response_timeout_s, 5.0)
        self._unbind_sequence = self._next_sequence()
        self._send(HEADER.pack(16, v.UNBIND, 0, self._unbind_sequence))

    def take_output(self) -> bytes:
        """What has gathered to be written; it is forgotten here."""
        output = self._output
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    @property
    def has_output(self) -> bool:
        """Whether `take_output` would give anything."""
        return bool(self._output)

    def unanswered(self) -> list[object]:
        """Tokens of the submits that were sent and not answered, in order, forgotten here.

        Nobody can know whether the SMSC took them: call it when the connection is gone.
        """
        tokens = [token for token, _, command in self._window.values() if command == v.SUBMIT_SM]
        self._window.clear()
        return tokens

    # Time -----------------------------------------------------------------------

    def deadline(self) -> float:
        """When `tick` has something to do, if nothing else happens before."""
        config = self.config
        state = self.state
        if state is SessionState.BINDING or state is SessionState.UNBINDING:
            return self._deadline_at
        if state not in BOUND:
            return float("inf")
        if self._asked_at is not None:
            due = self._asked_at + config.response_timeout_s
        elif config.enquire_interval_s:
            due = self.last_received_at + config.enquire_interval_s
        else:
            due = float("inf")
        if self._window:
            due = min(due, next(iter(self._window.values()))[1])
        if self._unsettled and config.confirm_interval_s:
            due = min(due, self._confirm_at)
        if config.inactivity_timeout_s:
            due = min(due, self.last_message_at + config.inactivity_timeout_s)
        return due

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what is due at `now`."""
        events: list[SessionEvent] = []
        config = self.config
        if self.state is SessionState.BINDING and now >= self._deadline_at:
            return [self._end(f"no answer to the bind in {config.bind_timeout_s:g} s")]
        if self.state is SessionState.UNBINDING and now >= self._deadline_at:
            return [self._end("unbound without the peer's answer")]
        if self.state not in BOUND:
            return events
        self._expire(now, events)
        if self._asked_at is not None:
            if now >= self._asked_at + config.response_timeout_s:
                events.append(self._end(f"no sign of life in {now - self.last_received_at:.1f} s"))
                return events
        elif config.enquire_interval_s and now >= self.last_received_at + config.enquire_interval_s:
            self._asked_at = now
            self._enquire()
        if self._unsettled and config.confirm_interval_s and now >= self._confirm_at:
            self._confirm_again_at = now + config.confirm_interval_s
            self._confirm_at = now + config.response_timeout_s
            self._enquire()
        if (
            config.inactivity_timeout_s
            and now >= self.last_message_at + config.inactivity_timeout_s
        ):
            self.unbind(now)
        return events

    def _expire(self, now: float, events: list[SessionEvent]) -> None:
        window = self._window
        while window:
            sequence = next(iter(window))
            token, deadline, command = window[sequence]
            if deadline > now:
                return
            del window[sequence]
            if command == v.SUBMIT_SM:
                self._expired[sequence] = token
                if len(self._expired) > self.config.late_answers:
                    del self._expired[next(iter(self._expired))]
            events.append(TimedOut(token))

    def _enquire(self) -> None:
        sequence = self._next_sequence()
        self._enquiries[sequence] = None
        if len(self._enquiries) > MOST_ENQUIRIES:
            del self._enquiries[next(iter(self._enquiries))]
        self._send(HEADER.pack(16, v.ENQUIRE_LINK, 0, sequence))

    # Bytes ----------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take what came in; return what it means, in order."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        events: list[SessionEvent] = []
        if self.closed:
            return events
        at = 0
        end = len(data)
        limit = self.config.max_pdu_bytes
        window = self._window
        tap = self.tap
        while end - at >= 16:
            length, command, status, sequence = HEADER.unpack_from(data, at)
            if length < 16 or length > limit:
                self._broken_frame(data[at : at + 64], length, sequence, events)
                return events
            if at + length > end:
                break
            pdu = data[at : at + length]
            at += length
            if tap is not None:
                tap("in", pdu)
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
            elif command == v.DELIVER_SM and self.state in BOUND:
                try:
                    delivery = codec.decode_deliver(pdu)
                except CodecError as error:
                    self._unreadable(pdu, command, sequence, error, events)
                else:
                    self._delivered(delivery, pdu, now, events)
            else:
                self._rare(pdu, command, status, sequence, now, events)
                if events and events[-1].__class__ is Ended:
                    return events
        if at:
            self.last_received_at = now
            self._asked_at = None
        if at < end:
            self._buffer += data[at:] if at else data
            self._needed = HEADER.unpack_from(data, at)[0] if end - at >= 16 else 16
        return events

    def _broken_frame(
        self, data: bytes, length: int, sequence: int, events: list[SessionEvent]
    ) -> None:
        reason = f"command_length {length} " + (
            "is below a header's 16"
            if length < 16
            else f"is over the limit of {self.config.max_pdu_bytes}"
        )
        self._send(HEADER.pack(16, v.GENERIC_NACK, v.ESME_RINVCMDLEN, sequence))
        events.append(Malformed(data, reason))
        events.append(self._end(reason))

    def _unreadable(
        self, pdu: bytes, command: int, sequence: int, error: CodecError, events: list[SessionEvent]
    ) -> None:
        """Answer a request we cannot read with why, so that the SMSC does not send it for ever."""
        if command in (v.DELIVER_SM, v.DATA_SM):
            self._send(codec.encode_submit_resp(sequence, b"", error.status, command | v.RESPONSE))
        elif not command & v.RESPONSE:
            self._send(HEADER.pack(16, v.GENERIC_NACK, error.status, sequence))
        events.append(Malformed(pdu, str(error)))

    def _rare(
        self,
        pdu: bytes,
        command: int,
        status: int,
        sequence: int,
        now: float,
        events: list[SessionEvent],
    ) -> None:
        """Everything that is not a submit_sm_resp in the window or a deliver_sm while bound."""
        if command == v.ENQUIRE_LINK:
            self._send(HEADER.pack(16, v.ENQUIRE_LINK_RESP, 0, sequence))
            return
        if command == v.ENQUIRE_LINK_RESP:
            self._enquiry_answered(sequence, events)
            return
        if command not in RECEIVABLE[self.state]:
            self._out_of_place(pdu, command, sequence, events)
        elif command == v.UNBIND:
            self._send(HEADER.pack(16, v.UNBIND_RESP, 0, sequence))
            self._settle(len(self._unsettled), events)
            events.append(self._end("unbound by the SMSC"))
        elif command == v.UNBIND_RESP:
            self._proved(self._unbind_sequence, events)
            events.append(self._end("unbound"))
        elif command == v.GENERIC_NACK:
            self._nacked(pdu, status, sequence, events)
        elif command & v.RESPONSE and command & ~v.RESPONSE in v.BINDS:
            self._bind_answered(pdu, command, status, sequence, now, events)
        elif command & v.RESPONSE:
            self._answered(pdu, command, status, sequence, events)
        else:
            try:
                read = codec.decode(pdu)
            except CodecError as error:
                self._unreadable(pdu, command, sequence, error, events)
                return
            if command == v.DATA_SM or command == v.DELIVER_SM:
                self._delivered(codec.message_from(read), pdu, now, events)
            else:
                events.append(Notified(read))

    def _out_of_place(
        self, pdu: bytes, command: int, sequence: int, events: list[SessionEvent]
    ) -> None:
        name = v.command_name(command)
        if not command & v.RESPONSE:
            known = command in v.COMMAND_NAMES
            status = v.ESME_RINVBNDSTS if known else v.ESME_RINVCMDID
            self._send(HEADER.pack(16, v.GENERIC_NACK, status, sequence))
        events.append(Malformed(pdu, f"{name} in state {self.state.name}"))

    def _bind_answered(
        self,
        pdu: bytes,
        command: int,
        status: int,
        sequence: int,
        now: float,
        events: list[SessionEvent],
    ) -> None:
        if sequence != self._bind_sequence:
            self.unmatched += 1
            events.append(Malformed(pdu, "a bind response with a sequence_number we did not use"))
            return
        if status:
            self._advance(Move.ENDED)
            events.append(BindRefused(status))
            events.append(Ended(f"bind refused: {v.status_name(status)}"))
            return
        read = codec.decode(pdu)
        version = dict(read.tlvs).get(v.SC_INTERFACE_VERSION, b"")
        self._advance(ACCEPTED[self.config.bind_type])
        self.last_received_at = self.last_message_at = now
        events.append(Bound(read.text("system_id"), int.from_bytes(version[:1], "big")))

    def _nacked(self, pdu: bytes, status: int, sequence: int, events: list[SessionEvent]) -> None:
        """A generic_nack refuses what it names, whatever its status says (SMPP 3.4 §4.3)."""
        status = status or v.ESME_RUNKNOWNERR
        if self.state is SessionState.BINDING:
            self._advance(Move.ENDED)
            events.append(BindRefused(status))
            events.append(Ended(f"bind refused by generic_nack: {v.status_name(status)}"))
        elif self._enquiry_answered(sequence, events):
            return  # it knows no enquire_link, and is there
        elif sequence in self._window:
            token, _, sent = self._window.pop(sequence)
            self._proved(sequence, events)
            if sent == v.SUBMIT_SM:
                events.append(Answered(token, status, "", ()))
            else:
                events.append(Responded(token, Pdu(v.GENERIC_NACK, sequence, status)))
        else:
            self.unmatched += 1
            events.append(
                Malformed(pdu, f"generic_nack {v.status_name(status)} to nothing we sent")
            )

    def _answered(
        self, pdu: bytes, command: int, status: int, sequence: int, events: list[SessionEvent]
    ) -> None:
        """A response that is not a plain hit: another command's, a late one, a stray."""
        if sequence in self._window:
            token, _, sent = self._window[sequence]
            if command != sent | v.RESPONSE:
                self.unmatched += 1
                events.append(
                    Malformed(pdu, f"{v.command_name(command)} to our {v.command_name(sent)}")
                )
                return
            del self._window[sequence]
            self._proved(sequence, events)
            events.append(Responded(token, codec.decode(pdu)))
        elif command == v.SUBMIT_SM_RESP and sequence in self._expired:
            message_id, tlvs = codec.decode_submit_resp(pdu)
            self._proved(sequence, events)
            events.append(LateAnswer(self._expired.pop(sequence), status, message_id, tlvs))
        else:
            self.unmatched += 1
            events.append(Malformed(pdu, f"{v.command_name(command)} to nothing we sent"))

    def _delivered(
        self, delivery: DeliverSm, pdu: bytes, now: float, events: list[SessionEvent]
    ) -> None:
        self._deliveries += 1
        delivery.link, delivery.number = self.link, self._deliveries
        self._owed.add(delivery.sequence)
        self.last_message_at = now
        events.append(Delivered(delivery))
        if delivery.flaw:
            events.append(Malformed(pdu, f"{delivery.flaw}: taken without it"))

    def _enquiry_answered(self, sequence: int, events: list[SessionEvent]) -> bool:
        """An enquire_link of ours is answered; False if it is none of ours."""
        if sequence not in self._enquiries:
            return False
        del self._enquiries[sequence]
        self._confirm_at = self._confirm_again_at
        self._proved(sequence, events)
        return True

    def _proved(self, sequence: int, events: list[SessionEvent]) -> None:
        """The peer answered this request: it has read whatever was written before."""
        settled = 0
        for before, _ in self._unsettled:
            if not 0 < (sequence - before & codec.MAX_SEQUENCE) <= codec.MAX_SEQUENCE >> 1:
                break
            settled += 1
        self._settle(settled, events)

    def _settle(self, count: int, events: list[SessionEvent]) -> None:
        if count:
            deliveries = tuple(self._unsettled.popleft()[1] for _ in range(count))
            events.append(Settled(deliveries))

    # Its own small tools ---------------------------------------------------------

    def _advance(self, move: Move) -> None:
        self.state = MOVES[self.state, move]

    def _end(self, reason: str) -> Ended:
        self._advance(Move.ENDED)
        return Ended(reason)

    def _send(self, pdu: bytes) -> None:
        self._output.append(pdu)
        if self.tap is not None:
            self.tap("out", pdu)

    def _next_sequence(self) -> int:
        """The next free number from 1 to 0x7FFFFFFF (SMPP 3.4 §3.2), wrapping."""
        sequence = self._sequence
        while True:  # ends: the window holds far fewer than there are numbers
            sequence = sequence + 1 if sequence < codec.MAX_SEQUENCE else 1
            if sequence not in self._window:
                self._sequence = sequence
                return sequence
