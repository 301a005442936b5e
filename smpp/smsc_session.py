"""The SMSC's side of a session: it accepts a bind, takes submits, and delivers.

1. Nothing but a bind may come first, and it must come in time. Its owner
   accepts or refuses it, at once or later; what comes behind it waits.
2. A submit_sm is handed on as it came, unread: who takes millions of them reads
   of each what it needs. Those that came one behind the other are one event.
3. Deliveries have the window, as submits have the ESME's: each ends as DeliveriesTaken,
   Answered (a refusal), TimedOut, or in `unanswered`.
4. At most `most_owed` requests wait for our answers; one more is told that it is
   too many.
"""

from __future__ import annotations

from dataclasses import dataclass

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.events import (
    BindRequested,
    DeliveriesTaken,
    Ended,
    Requested,
    Responded,
    SessionEvent,
    SubmitsReceived,
)
from smpp.framing import Frame
from smpp.pdu import DeliverSm, FieldValue, Pdu, SmeAddress, SubmitSm
from smpp.session import NotBound, Session, SessionConfig, WindowFull
from smpp.states import ACCEPTED, SMSC, BindType, Move, SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class SmscConfig(SessionConfig):
    """How an SMSC treats one ESME. All times in seconds."""

    # Who we say we are.
    system_id: str = "tandem"
    # From the connection to the bind that is accepted.
    session_init_timeout_s: float = 30.0
    # Requests taken and not yet answered; one more is refused with ESME_RTHROTTLED.
    # 0 counts none: the owner may answer as it likes, twice or not at all.
    most_owed: int = 1000

    def __post_init__(self) -> None:
        SessionConfig.__post_init__(self)
        if self.session_init_timeout_s <= 0:
            raise ValueError("session_init_timeout_s must be positive")
        if self.most_owed < 0:
            raise ValueError("most_owed must not be negative")


class SmscSession(Session):
    """The SMSC's side of one connection. See the module's text, and `session`'s."""

    __slots__ = ("_bind_sequence", "_takes_submits", "bind_type")

    role = SMSC
    config: SmscConfig

    def __init__(self, config: SmscConfig, *, first_sequence: int = 0) -> None:
        super().__init__(config, first_sequence)
        # What the ESME bound as, or wants to.
        self.bind_type: BindType | None = None
        self._bind_sequence = 0
        self._takes_submits = False

    # What the owner asks of it ------------------------------------------------

    def connected(self, now: float) -> None:
        """The connection is up: a bind must come in time."""
        super().connected(now)
        self._deadline_at = now + self.config.session_init_timeout_s

    def accept(self, now: float, config: SmscConfig | None = None) -> list[SessionEvent]:
        """Accept the bind, from now on by `config`; return what came behind it.

        It does nothing when the session has ended while the owner thought.
        """
        if self.state is not SessionState.BINDING or self.bind_type is None:
            return []
        if config is not None:
            self.config = config
        self._advance(ACCEPTED[self.bind_type])
        self.last_received_at = self.last_message_at = now
        response = Pdu(
            self.bind_type.value | v.RESPONSE,
            self._bind_sequence,
            fields={"system_id": self.config.system_id},
            tlvs=((v.SC_INTERFACE_VERSION, b"\x34"),),
        )
        self.send(codec.encode(response))
        return self.receive(b"", now)

    def refuse(self, status: int) -> None:
        """Refuse the bind; the session is over: write what is left and close the connection."""
        if self.state is SessionState.BINDING and self.bind_type is not None:
            command = self.bind_type.value | v.RESPONSE
            self.send(HEADER.pack(16, command, status, self._bind_sequence))
            self._end("bind refused")

    def deliver(self, message: SubmitSm | DeliverSm, token: object, now: float) -> None:
        """Send `message`; its outcome will name `token`. Raises as `request`."""
        self.deliver_octets(codec.encode_deliver(message, 0)[codec.HEADER_OCTETS :], token, now)

    def deliver_octets(self, body: bytes, token: object, now: float) -> None:
        """As `deliver`: `body` is what follows the header of a deliver_sm."""
        window = self.window
        if not self.may_send:
            raise NotBound(self.state.name)
        if len(window) >= self.config.window:
            raise WindowFull
        sequence = self._sequence + 1
        if sequence > codec.MAX_SEQUENCE or sequence in window:
            sequence = self.next_sequence()
        self._sequence = sequence
        window[sequence] = (token, now + self.config.response_timeout_s, v.DELIVER_SM)
        self.last_message_at = now
        pdu = HEADER.pack(16 + len(body), v.DELIVER_SM, 0, sequence) + body
        self.output.append(pdu)

    def answer(self, sequence: int, message_id: bytes = b"", status: int = 0) -> bool:
        """Send the response to a submit_sm; False if it is not owed (any more)."""
        if not self._pay(sequence):
            return False
        self.send(codec.encode_submit_resp(sequence, message_id, status))
        return True

    def respond(self, request: Pdu, status: int = 0, **fields: FieldValue) -> bool:
        """Send the response to any other request; False if it is not owed (any more).

        One that refuses has no body, unless there are `fields`. Raises CodecError.
        """
        command = request.command | v.RESPONSE
        if status and not fields:
            data = HEADER.pack(16, command, status, request.sequence)
        else:
            data = codec.encode(Pdu(command, request.sequence, status, fields))
        if not self._pay(request.sequence):
            return False
        self.send(data)
        return True

    # Bytes ----------------------------------------------------------------------

    def _read(self, frames: list[Frame], events: list[SessionEvent]) -> list[Frame] | None:
        if self.state is SessionState.BINDING:
            self._hold(frames, events)
            return frames
        window = self.window
        most_owed = self.config.most_owed
        submits: SubmitsReceived
        taken: DeliveriesTaken
        run_of = 0  # the command of the last event's PDUs
        left = iter(frames)
        for command, status, sequence, pdu in left:
            if command == v.SUBMIT_SM and self._takes_submits:
                if most_owed and not self._owe(command, sequence):
                    continue
                if run_of != command:
                    run_of = command
                    self.last_message_at = self.last_received_at
                    submits = SubmitsReceived()
                    events.append(submits)
                submits.append((sequence, pdu))
            elif command == v.DELIVER_SM_RESP and not status and sequence in window:
                token, _, sent = window.pop(sequence)
                if sent != v.DELIVER_SM:
                    run_of = 0
                    events.append(Responded(token, Pdu(command, sequence)))
                    continue
                if run_of != command:
                    run_of = command
                    taken = DeliveriesTaken()
                    events.append(taken)
                taken.append(token)
            else:
                run_of = 0
                self._rare(pdu, command, status, sequence, events)
                last = events[-1].__class__ if events else None
                if last is BindRequested or last is Ended:
                    behind = list(left)
                    if last is BindRequested:
                        self._framing.put_back(behind)
                    return behind
        return None

    def _hold(self, frames: list[Frame], events: list[SessionEvent]) -> None:
        """Keep what comes behind a bind until that is answered, as far as a PDU may be long."""
        self._framing.put_back(frames)
        if (held := len(self._framing)) > self.config.max_pdu_bytes:
            events.append(self._end(f"{held} octets behind a bind that is not answered"))

    def _out_of_place(self, command: int) -> tuple[int, int]:
        if command in v.BINDS:
            return command | v.RESPONSE, v.ESME_RALYBND
        if command in SMSC.receivable[SessionState.BOUND_TRX]:
            return command | v.RESPONSE, v.ESME_RINVBNDSTS
        return v.GENERIC_NACK, v.ESME_RINVCMDID

    def _requested(self, read: Pdu, pdu: bytes, events: list[SessionEvent]) -> None:
        if read.command not in v.BINDS:
            self.last_message_at = self.last_received_at
            if not self.config.most_owed or self._owe(read.command, read.sequence):
                events.append(Requested(read))
            return
        self._advance(Move.BIND_CAME)
        self._bind_sequence = read.sequence
        self.bind_type = BindType(read.command)
        events.append(
            BindRequested(
                self.bind_type,
                read.text("system_id"),
                read.text("password"),
                read.text("system_type"),
                read.number("interface_version"),
                SmeAddress(
                    read.number("addr_ton"), read.number("addr_npi"), read.text("address_range")
                ),
            )
        )

    # Its own small tools ---------------------------------------------------------

    def _advance(self, move: Move) -> None:
        super()._advance(move)
        self._takes_submits = v.SUBMIT_SM in self._receivable

    def _owe(self, command: int, sequence: int) -> bool:
        """Whether there is room for one more request to be answered; if not, it is now refused."""
        if len(self._owed) >= self.config.most_owed:
            self.send(HEADER.pack(16, command | v.RESPONSE, v.ESME_RTHROTTLED, sequence))
            return False
        self._owed.add(sequence)
        return True

    def _pay(self, sequence: int) -> bool:
        """Whether the request may be answered now."""
        if not self.config.most_owed:
            return True
        paid = sequence in self._owed
        self._owed.discard(sequence)
        return paid

    def _overdue(self) -> str:
        if self.state is SessionState.UNBINDING:
            return super()._overdue()
        return f"no bind in {self.config.session_init_timeout_s:g} s"
