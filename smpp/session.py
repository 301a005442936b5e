"""One SMPP session, without any I/O: what both sides of it have in common.

Bytes and the time go in; events and bytes come out. Who owns a session feeds
it (`receive`), asks it to send, carries away what it wants to write
(`take_output`), and calls `tick` when `deadline` has come. Nothing here reads a
clock, opens a socket or sleeps. `esme_session` and `smsc_session` are the two
roles.

Theory of operation:

1. A session lives for one connection. Its states and every move between them
   are the table `MOVES`; what the peer may send in which state is the role's
   `receivable` (SMPP 3.4 §2.2, §2.3).
2. Every request we send takes a place in the window, in memory, before its
   bytes exist: a response cannot be faster than its correlation. The timeout
   is the same for all, so the window (a dict, in order of sending) is also the
   list of deadlines.
3. Peculiar is not fatal. A PDU that cannot be understood is answered, reported
   as `Malformed` and forgotten; only a broken frame, of which nobody can say
   where the next PDU begins, ends the session.
4. A role reads its two hot PDUs itself, in one loop: the other side's messages,
   and the responses to its own. Everything else comes to `_rare`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER, CodecError
from smpp.events import (
    Answered,
    Ended,
    LateAnswer,
    Malformed,
    Responded,
    SessionEvent,
    TimedOut,
)
from smpp.framing import BrokenFrame, Frame, Framing
from smpp.pdu import Pdu
from smpp.states import BOUND, MOVES, Move, Role, SessionState

MOST_ENQUIRIES: Final = 16
UNBIND_S: Final = 5.0  # for the answer to our unbind, at most

# Sees what was read or is about to be written at once: "in" or "out", and the octets of one or more
# whole PDUs (`framing.pieces` finds them).
Tap = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """How a session of either role behaves. All times in seconds."""

    # Requests sent and not yet answered, at most.
    window: int = 100
    response_timeout_s: float = 30.0
    # Silence after which we ask whether the peer is there; 0 never asks.
    enquire_interval_s: float = 30.0
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
        if self.response_timeout_s <= 0:
            raise ValueError("response_timeout_s must be positive")


class WindowFull(Exception):
    """As many requests as the window holds are unanswered."""


class NotBound(Exception):
    """There is no bound session that may send this."""


class Session(ABC):
    """What both roles do on one connection. See the module's text."""

    __slots__ = (
        "_asked_at",
        "_deadline_at",
        "_enquiries",
        "_expired",
        "_framing",
        "_owed",
        "_receivable",
        "_sequence",
        "_unbind_sequence",
        "bound",
        "config",
        "enquired",
        "last_message_at",
        "last_received_at",
        "may_send",
        "output",
        "state",
        "tap",
        "unmatched",
        "window",
    )

    role: ClassVar[Role]

    def __init__(self, config: SessionConfig, first_sequence: int) -> None:
        self.config = config
        self.state = SessionState.OPEN
        # Whether messages may pass.
        self.bound = False
        # Whether messages may be sent in this state at all (SMPP 3.4 §2.3).
        self.may_send = False
        self.tap: Tap | None = None
        # Responses that answered nothing we know of.
        self.unmatched = 0
        # The peer's enquire_links.
        self.enquired = 0
        self.last_received_at = 0.0
        self.last_message_at = 0.0
        # Requests sent and not answered: token, deadline and command by sequence_number.
        self.window: dict[int, tuple[object, float, int]] = {}
        # What has gathered to be written.
        self.output: list[bytes] = []
        self._receivable = self.role.receivable[SessionState.OPEN]
        self._asked_at: float | None = None  # when the unanswered enquire_link was sent
        self._deadline_at = float("inf")  # of the bind, then of the unbind
        self._unbind_sequence = 0
        self._enquiries: dict[int, None] = {}  # sequences of enquire_links not answered
        self._sequence = first_sequence
        self._expired: dict[int, object] = {}
        self._owed: set[int] = set()  # sequences of requests that wait for our answer
        self._framing = Framing()

    # What the owner asks of it ------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the session is over: nothing more is read or sent."""
        return self.state is SessionState.CLOSED

    @property
    def window_free(self) -> int:
        """How many requests may be sent now."""
        return self.config.window - len(self.window) if self.may_send else 0

    @property
    def in_flight(self) -> int:
        """Requests sent and not answered."""
        return len(self.window)

    @property
    def owed(self) -> int:
        """Messages received and not answered."""
        return len(self._owed)

    def connected(self, now: float) -> None:
        """The connection is up."""
        self.last_received_at = self.last_message_at = now

    def request(self, pdu: Pdu, token: object, now: float) -> None:
        """Send any request that has a response: query_sm, cancel_sm, replace_sm, data_sm…

        It takes a place in the window and comes back as Responded or TimedOut.
        Raises NotBound, WindowFull, or CodecError for one with no octets; then
        nothing has happened.
        """
        self._check_room()
        sequence = self.next_sequence()
        data = codec.encode(Pdu(pdu.command, sequence, 0, pdu.fields, pdu.tlvs))
        self.window[sequence] = (token, now + self.config.response_timeout_s, pdu.command)
        self.last_message_at = now
        self.send(data)

    def send(self, pdu: bytes) -> None:
        """Write these octets as they are: what they say is the caller's to know."""
        self.output.append(pdu)

    def unbind(self, now: float) -> None:
        """Begin an orderly end; Ended follows with the peer's answer, or without it in time."""
        if not self.bound:
            return
        self._advance(Move.UNBIND_SENT)
        self._deadline_at = now + min(self.config.response_timeout_s, UNBIND_S)
        self._unbind_sequence = self.next_sequence()
        self.send(HEADER.pack(16, v.UNBIND, 0, self._unbind_sequence))

    def take_output(self) -> bytes:
        """What has gathered to be written; it is forgotten here."""
        output = self.output
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        if data and self.tap is not None:
            self.tap("out", data)
        return data

    @property
    def has_output(self) -> bool:
        """Whether `take_output` would give anything."""
        return bool(self.output)

    def unanswered(self) -> list[object]:
        """Tokens of the messages that were sent and not answered, in order, forgotten here.

        Nobody can know whether the peer took them: call it when the connection is gone.
        """
        message = self.role.message
        tokens = [token for token, _, command in self.window.values() if command == message]
        self.window.clear()
        return tokens

    # Time -----------------------------------------------------------------------

    def deadline(self) -> float:
        """When `tick` has something to do, if nothing else happens before."""
        if not self.bound:
            return self._deadline_at
        config = self.config
        if self._asked_at is not None:
            due = self._asked_at + config.response_timeout_s
        elif config.enquire_interval_s:
            due = self.last_received_at + config.enquire_interval_s
        else:
            due = float("inf")
        if self.window:
            due = min(due, next(iter(self.window.values()))[1])
        if config.inactivity_timeout_s:
            due = min(due, self.last_message_at + config.inactivity_timeout_s)
        return due

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what is due at `now`."""
        if not self.bound:
            return [self._end(self._overdue())] if now >= self._deadline_at else []
        events: list[SessionEvent] = []
        config = self.config
        self._expire(now, events)
        if self._asked_at is not None:
            if now >= self._asked_at + config.response_timeout_s:
                events.append(self._end(f"no sign of life in {now - self.last_received_at:.1f} s"))
                return events
        elif config.enquire_interval_s and now >= self.last_received_at + config.enquire_interval_s:
            self._asked_at = now
            self._enquire()
        if (
            config.inactivity_timeout_s
            and now >= self.last_message_at + config.inactivity_timeout_s
        ):
            self.unbind(now)
        return events

    def _overdue(self) -> str:
        """Why the session ends when the deadline of its bind or unbind has come."""
        return "unbound without the peer's answer"

    def _expire(self, now: float, events: list[SessionEvent]) -> None:
        window = self.window
        while window:
            sequence = next(iter(window))
            token, deadline, command = window[sequence]
            if deadline > now:
                return
            del window[sequence]
            if command == self.role.message:
                self._expired[sequence] = token
                if len(self._expired) > self.config.late_answers:
                    del self._expired[next(iter(self._expired))]
            events.append(TimedOut(token))

    def _enquire(self) -> None:
        sequence = self.next_sequence()
        self._enquiries[sequence] = None
        if len(self._enquiries) > MOST_ENQUIRIES:
            del self._enquiries[next(iter(self._enquiries))]
        self.send(HEADER.pack(16, v.ENQUIRE_LINK, 0, sequence))

    # Bytes ----------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[SessionEvent]:
        """Take what came in; return what it means, in order."""
        events: list[SessionEvent] = []
        if self.state is SessionState.CLOSED:
            return events
        frames, broken = self._framing.cut(data, self.config.max_pdu_bytes)
        if frames:
            self.last_received_at = now
            self._asked_at = None
            left = self._read(frames, events)
            if self.tap is not None:
                self._show(frames[: -len(left)] if left else frames)
            if left is not None:
                return events
        if broken is not None:
            self._break(broken, events)
        return events

    def _show(self, frames: list[Frame]) -> None:
        """Let the tap see the PDUs that were taken of one read."""
        if frames and self.tap is not None:
            alone = len(frames) == 1  # what need not be joined, of a bind that is not busy
            self.tap("in", frames[0][3] if alone else b"".join([pdu for _, _, _, pdu in frames]))

    @abstractmethod
    def _read(self, frames: list[Frame], events: list[SessionEvent]) -> list[Frame] | None:
        """Take these PDUs, all of them and None as a rule.

        Else what comes next is not to be read, or not yet: those are returned that were left.
        """

    def _break(self, broken: BrokenFrame, events: list[SessionEvent]) -> None:
        self.send(HEADER.pack(16, v.GENERIC_NACK, v.ESME_RINVCMDLEN, broken.sequence))
        events.append(Malformed(broken.data, broken.reason))
        events.append(self._end(broken.reason))

    def _rare(
        self, pdu: bytes, command: int, status: int, sequence: int, events: list[SessionEvent]
    ) -> None:
        """Everything that its role has not read in its loop."""
        if command == v.ENQUIRE_LINK:
            self.enquired += 1
            self.send(HEADER.pack(16, v.ENQUIRE_LINK_RESP, 0, sequence))
        elif command == v.ENQUIRE_LINK_RESP:
            self._enquiry_answered(sequence, events)
        elif command not in self._receivable:
            refusal = self._out_of_place(command)
            if not command & v.RESPONSE:
                self.send(HEADER.pack(16, *refusal, sequence))
            events.append(Malformed(pdu, f"{v.command_name(command)} in state {self.state.name}"))
        elif command == v.UNBIND:
            self.send(HEADER.pack(16, v.UNBIND_RESP, 0, sequence))
            self._all_read(events)
            events.append(self._end(f"unbound by the {self.role.peer}"))
        elif command == v.UNBIND_RESP:
            self._proved(self._unbind_sequence, events)
            events.append(self._end("unbound"))
        elif command == v.GENERIC_NACK:
            self._nacked(pdu, status, sequence, events)
        elif command & v.RESPONSE:
            self._answered(pdu, command, status, sequence, events)
        else:
            try:
                read = codec.decode(pdu)
            except CodecError as error:
                self._unreadable(pdu, command, sequence, error, events)
            else:
                self._requested(read, pdu, events)

    def _out_of_place(self, command: int) -> tuple[int, int]:
        """Command and status of the answer to a request that may not come in this state."""
        known = command in v.COMMAND_NAMES
        return v.GENERIC_NACK, v.ESME_RINVBNDSTS if known else v.ESME_RINVCMDID

    def _unreadable(
        self, pdu: bytes, command: int, sequence: int, error: CodecError, events: list[SessionEvent]
    ) -> None:
        """Answer a request we cannot read with why, so that it is not sent for ever."""
        self.send(HEADER.pack(16, v.GENERIC_NACK, error.status, sequence))
        events.append(Malformed(pdu, str(error)))

    @abstractmethod
    def _requested(self, read: Pdu, pdu: bytes, events: list[SessionEvent]) -> None:
        """A request that may come now, and could be read."""

    def _nacked(self, pdu: bytes, status: int, sequence: int, events: list[SessionEvent]) -> None:
        """A generic_nack refuses what it names, whatever its status says (SMPP 3.4 §4.3)."""
        status = status or v.ESME_RUNKNOWNERR
        if self._enquiry_answered(sequence, events):
            return  # it knows no enquire_link, and is there
        if sequence in self.window:
            token, _, sent = self.window.pop(sequence)
            self._proved(sequence, events)
            if sent == self.role.message:
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
        """A response that is not a plain hit: a refusal, another command's, a late one, a stray."""
        message = self.role.message
        if sequence in self.window:
            token, _, sent = self.window[sequence]
            if command != sent | v.RESPONSE:
                self.unmatched += 1
                events.append(
                    Malformed(pdu, f"{v.command_name(command)} to our {v.command_name(sent)}")
                )
                return
            del self.window[sequence]
            self._proved(sequence, events)
            if sent == message:
                events.append(Answered(token, status, *codec.decode_submit_resp(pdu)))
            else:
                events.append(Responded(token, codec.decode(pdu)))
        elif command == message | v.RESPONSE and sequence in self._expired:
            message_id, tlvs = codec.decode_submit_resp(pdu)
            self._proved(sequence, events)
            events.append(LateAnswer(self._expired.pop(sequence), status, message_id, tlvs))
        else:
            self.unmatched += 1
            events.append(Malformed(pdu, f"{v.command_name(command)} to nothing we sent"))

    def _enquiry_answered(self, sequence: int, events: list[SessionEvent]) -> bool:
        """An enquire_link of ours is answered; False if it is none of ours."""
        if sequence not in self._enquiries:
            return False
        del self._enquiries[sequence]
        self._proved(sequence, events)
        return True

    # A role that has nothing to settle by these does nothing.
    def _proved(self, sequence: int, events: list[SessionEvent]) -> None:  # noqa: B027
        """The peer answered this request: it has read whatever was written before."""

    def _all_read(self, events: list[SessionEvent]) -> None:  # noqa: B027
        """The peer ends in good order: it has read whatever was written."""

    # Its own small tools ---------------------------------------------------------

    def _advance(self, move: Move) -> None:
        before = self._receivable
        self.state = state = MOVES[self.state, move]
        self.bound = state in BOUND
        self.may_send = state in self.role.sends_in
        self._receivable = self.role.receivable[state]
        if move is Move.UNBIND_SENT:  # what was on its way is taken still
            self._receivable &= before | {v.UNBIND_RESP}

    def _end(self, reason: str) -> Ended:
        self._advance(Move.ENDED)
        self._deadline_at = float("inf")
        return Ended(reason)

    def _check_room(self) -> None:
        if not self.may_send:
            raise NotBound(self.state.name)
        if len(self.window) >= self.config.window:
            raise WindowFull

    def next_sequence(self) -> int:
        """The next free number from 1 to 0x7FFFFFFF (SMPP 3.4 §3.2), wrapping; it is used now."""
        sequence = self._sequence
        while True:  # ends: the window holds far fewer than there are numbers
            sequence = sequence + 1 if sequence < codec.MAX_SEQUENCE else 1
            if sequence not in self.window:
                self._sequence = sequence
                return sequence
