"""Both sides of a session talk to each other, their octets cut anywhere: whatever one sends
arrives at the other once, and is answered once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smpp import codec
from smpp.esme_session import EsmeConfig, EsmeSession
from smpp.events import (
    Answered,
    BindRequested,
    Bound,
    Delivered,
    DeliveriesTaken,
    Ended,
    SessionEvent,
    SubmitsReceived,
)
from smpp.pdu import DeliverSm, SmeAddress, SubmitSm
from smpp.smsc_session import SmscConfig, SmscSession
from smpp.states import BindType

WINDOW = 4
OWED = 3


def message(number: int) -> SubmitSm:
    return SubmitSm(SmeAddress(1, 1, "15550001111"), SmeAddress(1, 1, "44"), b"%d" % number)


class BothRoles(RuleBasedStateMachine):
    """Octets lie on the wire of each direction until a rule carries some of them over."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sent = 0
        self.to_smsc = self.to_esme = b""
        self.asked = self.refused = False
        self.behind: list[SessionEvent] = []
        self.submitted: set[int] = set()
        self.submits: list[int] = []
        self.unanswered: list[int] = []
        self.answered: dict[int, int] = {}
        self.throttled: set[int] = set()
        self.delivered: set[int] = set()
        self.deliveries: list[int] = []
        self.owed: list[DeliverSm] = []
        self.taken: list[int] = []
        self.ended: list[str] = []

    @initialize(bind_type=st.sampled_from(BindType))
    def connect(self, bind_type: BindType) -> None:
        self.esme = EsmeSession(
            EsmeConfig("app", "secret", bind_type=bind_type, window=WINDOW, enquire_interval_s=0)
        )
        self.smsc = SmscSession(SmscConfig(window=WINDOW, most_owed=OWED, enquire_interval_s=0))
        self.smsc.connected(0.0)
        self.esme.connected(0.0)

    # What the owners do ---------------------------------------------------------

    @precondition(lambda self: self.asked)
    @rule()
    def accept(self) -> None:
        self.asked = False
        self._at_smsc(self.smsc.accept(self.now))

    @precondition(lambda self: self.esme.window_free)
    @rule()
    def submit(self) -> None:
        self.sent += 1
        self.submitted.add(self.sent)
        self.esme.submit(message(self.sent), self.sent, self.now)

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data(), status=st.sampled_from([0, 0, 0x45]))
    def answer_submit(self, data: st.DataObject, status: int) -> None:
        sequence = data.draw(st.sampled_from(self.unanswered))
        self.unanswered.remove(sequence)
        assert self.smsc.answer(sequence, b"id%d" % sequence, status)
        assert not self.smsc.answer(sequence)

    @precondition(lambda self: self.smsc.window_free)
    @rule()
    def deliver(self) -> None:
        self.sent += 1
        self.delivered.add(self.sent)
        self.smsc.deliver(message(self.sent), self.sent, self.now)

    @precondition(lambda self: self.owed)
    @rule(data=st.data())
    def answer_delivery(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(self.owed))
        self.owed.remove(delivery)
        assert self.esme.answer(delivery)

    @rule(side=st.sampled_from(["esme", "smsc"]))
    def enquire(self, side: str) -> None:
        session = self.esme if side == "esme" else self.smsc
        if session.bound:
            session._enquire()

    # What the wire does -----------------------------------------------------------

    @rule(count=st.integers(1, 200))
    def carry_to_smsc(self, count: int) -> None:
        self.to_smsc += self.esme.take_output()
        data, self.to_smsc = self.to_smsc[:count], self.to_smsc[count:]
        self._at_smsc(self.smsc.receive(data, self.now))

    @rule(count=st.integers(1, 200))
    def carry_to_esme(self, count: int) -> None:
        self.to_esme += self.smsc.take_output()
        data, self.to_esme = self.to_esme[:count], self.to_esme[count:]
        self._at_esme(self.esme.receive(data, self.now))

    def _at_smsc(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, BindRequested):
                assert event.password == "secret"
                self.asked = True
            elif isinstance(event, SubmitsReceived):
                for sequence, pdu in event:
                    self.submits.append(int(codec.decode_submit(pdu).short_message))
                    self.unanswered.append(sequence)
            elif isinstance(event, DeliveriesTaken):
                self.taken += [token for token in event if isinstance(token, int)]
            else:
                assert isinstance(event, Ended), event
                self.ended.append(event.reason)

    def _at_esme(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, Answered):
                assert isinstance(event.token, int)
                assert event.token not in self.answered
                self.answered[event.token] = event.status
                if event.status == 0x58:
                    self.throttled.add(event.token)
            elif isinstance(event, Delivered):
                self.deliveries.append(int(event.delivery.short_message))
                self.owed.append(event.delivery)
            elif isinstance(event, Ended):
                self.ended.append(event.reason)
            else:
                assert isinstance(event, Bound) or type(event).__name__ == "Settled", event

    # What holds ---------------------------------------------------------------------

    @invariant()
    def nothing_comes_twice_or_from_nowhere(self) -> None:
        assert len(set(self.submits)) == len(self.submits)
        assert set(self.submits) <= self.submitted
        assert self.deliveries == sorted(set(self.deliveries))
        assert set(self.deliveries) <= self.delivered
        assert len(set(self.taken)) == len(self.taken)
        assert set(self.taken) <= set(self.deliveries)
        assert set(self.submits).isdisjoint(self.throttled)
        assert self.smsc.owed == len(self.unanswered) <= OWED if self.smsc.bound else True

    def teardown(self) -> None:
        """Everything that is under way arrives, is answered, and both sides part in order."""
        if not hasattr(self, "smsc"):
            return
        for _ in range(3 * WINDOW):
            self.carry_to_smsc(100_000)
            if self.asked:
                self.accept()
            for sequence in self.unanswered:
                assert self.smsc.answer(sequence)
            self.unanswered.clear()
            self.carry_to_esme(100_000)
            for delivery in self.owed:
                assert self.esme.answer(delivery)
            self.owed.clear()
        self.nothing_comes_twice_or_from_nowhere()
        assert set(self.submits) | self.throttled == self.submitted == set(self.answered)
        assert set(self.deliveries) == self.delivered == set(self.taken)
        assert self.smsc.in_flight == self.esme.in_flight == self.esme.owed == 0
        assert self.esme.unmatched == self.smsc.unmatched == 0
        self.esme.unbind(self.now)
        self.carry_to_smsc(100_000)
        self.carry_to_esme(100_000)
        assert self.ended == ["unbound by the ESME", "unbound"]


TestBothRoles = BothRoles.TestCase
