"""One simulated carrier: takes messages, decides what becomes of them, reports, delivers.

Two ways through `submit`. A message that nothing special is to happen to costs
a few microseconds: scan, answer, ledger, one entry in the agenda. Everything a
scenario can turn on lives behind `_carefully`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from smpp import codec
from smpp import vocabulary as v
from smpp.codec import HEADER
from smpp.pdu import FieldValue, MultiDestination, Pdu
from smpp.smsc import mobile
from smpp.smsc.agenda import Agenda
from smpp.smsc.ledger import InjectedMessage, Ledger, LedgerEntry
from smpp.smsc.receipts import spell, stamp, text_of, tlvs_of
from smpp.smsc.scenario import CarrierScenario, ScenarioRule

if TYPE_CHECKING:
    from smpp.smsc.connection import SmscConnection

_NO_RECEIPT = "none"
_STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
_START = frozenset({"START", "UNSTOP", "YES"})
_NETWORK_STOPPED = ScenarioRule(stat="REJECTD", err="069")


class Course:
    """A rule, prepared: what becomes of a message that takes it."""

    __slots__ = ("delay_s", "err", "outcome", "plain", "prefix", "reports", "rule", "stat")

    def __init__(self, rule: ScenarioRule) -> None:
        self.rule = rule
        self.prefix = rule.prefix.encode()
        self.stat = rule.stat.encode()
        self.err = rule.err.encode()
        self.delay_s = rule.receipt_after_s
        self.reports = rule.stat != _NO_RECEIPT and rule.receipt_copies > 0
        self.outcome = (
            v.status_name(rule.status)
            if rule.status
            else (rule.stat if self.reports else "NO_RECEIPT")
        )
        self.plain = self.reports and rule == ScenarioRule(
            prefix=rule.prefix, stat=rule.stat, err=rule.err, receipt_after_s=rule.receipt_after_s
        )


class SimulatedCarrier:
    """A carrier and its binds."""

    def __init__(
        self,
        scenario: CarrierScenario,
        ledger: Ledger,
        agenda: Agenda,
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self.ledger = ledger
        self.agenda = agenda
        self.connections: list[SmscConnection] = []
        # (sender, recipient) between which the network lets nothing pass (STOP).
        self.blocked: set[tuple[str, str]] = set()
        # Of subscribers' messages whose parts are not all answered, by id() of the part.
        self._inbound: OrderedDict[int, tuple[bytes, InjectedMessage]] = OrderedDict()
        self.cancelled: set[bytes] = set()
        self._random = random
        self._clock = clock
        self._number = random.randrange(0x1000_0000, 0x6000_0000)
        self._first = self._number
        self._queue: deque[bytes] = deque()
        self._turn = 0
        self._reference = random.randrange(256)
        self._tokens = 0.0
        self._tokens_at = 0.0
        self._peculiar = 0
        self.configure(scenario)

    def configure(self, scenario: CarrierScenario) -> None:
        """Behave as `scenario` says from now on; what was promised before stays."""
        self.scenario = scenario
        rules = sorted(scenario.rules, key=lambda rule: -len(rule.prefix))
        self._courses = [Course(rule) for rule in rules]
        self._default = Course(ScenarioRule())
        self._faulty = scenario.faults.any
        self._careful = bool(self._faulty or scenario.throttle_per_s or scenario.network_stop)
        self._plain_receipts = (
            scenario.receipts == "text"
            and scenario.receipt_ids == "same"
            and not scenario.faults.drift_after
        )
        self._tokens = max(scenario.throttle_per_s, 1.0)
        for connection in self.connections:
            connection.configure(scenario)

    # Submits --------------------------------------------------------------------

    def submit(
        self,
        connection: SmscConnection,
        pdu: bytes,
        sequence: int,
        response: int = v.SUBMIT_SM_RESP,
    ) -> None:
        """Take a submit_sm: answer it (unless `response` is 0), write it down, plan its receipt."""
        try:
            source_at = pdu.index(0, 16) + 1
            destination_at = pdu.index(0, source_at + 2) + 1
            flags_at = pdu.index(0, destination_at + 2) + 1
            end = pdu.index(0, pdu.index(0, flags_at + 3) + 1)
            registered = pdu[end + 1]
            text_at = end + 6
            text_end = text_at + pdu[end + 5]
            if text_end > len(pdu):
                raise IndexError
            if text_end < len(pdu):
                codec.decode_tlvs(pdu, text_end)
        except (ValueError, IndexError):
            self.ledger.counters.malformed_received += 1
            connection.send(codec.encode_submit_resp(sequence, b"", v.ESME_RINVMSGLEN, response))
            return
        self.ledger.counters.submits += 1
        self._number += 1
        message_id = self._id()
        course = (
            self._course(pdu[destination_at + 2 : flags_at - 1]) if self._courses else self._default
        )
        receipt = (
            connection,
            course,
            message_id,
            pdu[source_at:destination_at],
            pdu[destination_at:flags_at],
            pdu[text_at : min(text_at + 20, text_end)] if not pdu[flags_at] & v.ESM_UDHI else b"",
            now := self._clock(),
        )
        if self._careful or not course.plain:
            self._carefully(connection, pdu, sequence, response, registered, receipt)
            return
        if response:
            connection.send(
                HEADER.pack(17 + len(message_id), response, 0, sequence) + message_id + b"\0"
            )
        self.ledger.entries.append(
            LedgerEntry(
                now,
                connection.name,
                self.scenario.name,
                message_id.decode("latin-1"),
                pdu,
                course.outcome,
            )
        )
        if registered & 3 == 1 or (registered & 3 == 2 and course.stat != b"DELIVRD"):
            self.agenda.add(course.delay_s, self._receipt, receipt)

    def submit_multi(self, connection: SmscConnection, pdu: Pdu) -> None:
        """Take a submit_multi as one submit for each of its addresses, answered once."""
        destinations = pdu.fields.get("dest_address", ())
        assert isinstance(destinations, tuple)
        message = codec.message_from(pdu)
        for destination in destinations:
            if isinstance(destination, MultiDestination) and destination.address is not None:
                message.destination = destination.address
                self.submit(connection, codec.encode_submit(message, pdu.sequence), 0, 0)
        fields: dict[str, FieldValue] = {"message_id": self._id().decode("latin-1")}
        connection.send(codec.encode(Pdu(v.SUBMIT_MULTI | v.RESPONSE, pdu.sequence, 0, fields)))

    def shuffle(self, answers: list[bytes]) -> None:
        """Put answers in another order, by the scenario's seed."""
        self._random.shuffle(answers)

    def _id(self) -> bytes:
        form = self.scenario.ids
        if form == "hex":
            return b"%08x" % self._number
        if form == "HEX":
            return b"%08X" % self._number
        if form == "decimal":
            return b"%010d" % self._number
        return str(UUID(int=self._random.getrandbits(128), version=4)).encode()

    def _course(self, destination: bytes) -> Course:
        for course in self._courses:
            if destination.startswith(course.prefix) and (
                course.rule.share >= 1.0 or self._random.random() < course.rule.share
            ):
                return course
        return self._default

    def _carefully(
        self,
        connection: SmscConnection,
        pdu: bytes,
        sequence: int,
        response: int,
        registered: int,
        receipt: tuple[SmscConnection, Course, bytes, bytes, bytes, bytes, float],
    ) -> None:
        """As `submit`, with all that a scenario can ask for."""
        _, course, message_id, source, destination, quoted, now = receipt
        number = self._number - self._first
        if self.blocked and (_digits(source), _digits(destination)) in self.blocked:
            course = Course(_NETWORK_STOPPED)
            receipt = (connection, course, message_id, source, destination, quoted, now)
        rule = course.rule
        status, outcome = rule.status, course.outcome
        if self.scenario.throttle_per_s and not self._token():
            status = self.scenario.throttle_status
            outcome = v.status_name(status)
            self.ledger.counters.throttled += 1
        if status:
            self.ledger.counters.refused += 1
        self.ledger.entries.append(
            LedgerEntry(
                now,
                connection.name,
                self.scenario.name,
                "" if status else message_id.decode("latin-1"),
                pdu,
                outcome,
            )
        )
        wanted = registered & 3
        reports = (
            not status
            and course.reports
            and (wanted == 1 or (wanted == 2 and course.stat != b"DELIVRD"))
        )
        if reports and rule.receipt_before_response:
            self._receipt(*receipt)
        if response and (rule.answer or status):
            answer = codec.encode_submit_resp(
                sequence, b"" if status else message_id, status, response
            )
            copies = 2 if _nth(number, self.scenario.faults.duplicate_answer_every) else 1
            for _ in range(copies):
                if rule.answer_after_s:
                    self.agenda.add(rule.answer_after_s, connection.send, (answer,))
                else:
                    connection.answer(answer)
        if reports:
            delay = rule.receipt_after_s
            if rule.receipt_jitter_s:
                delay += self._random.random() * rule.receipt_jitter_s
            if rule.intermediate or registered & 0x10:
                self.agenda.add(delay / 2, self._intermediate, receipt)
            done = 1 if rule.receipt_before_response else 0
            for copy in range(done, rule.receipt_copies):
                self.agenda.add(delay * (copy + 1), self._receipt, receipt)
        if self._faulty:
            self._faults(connection, number)

    def _token(self) -> bool:
        """Whether the throttle lets one more pass: a bucket of one second."""
        rate = self.scenario.throttle_per_s
        now = self._clock()
        if self._tokens_at:
            self._tokens += max(now - self._tokens_at, 0.0) * rate
        self._tokens = min(self._tokens, max(rate, 1.0))
        self._tokens_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _faults(self, connection: SmscConnection, number: int) -> None:
        faults = self.scenario.faults
        if _nth(number, faults.malformed_every) and faults.malformed:
            kind = faults.malformed[self._peculiar % len(faults.malformed)]
            self._peculiar += 1
            connection.send_malformed(kind)
        if _nth(number, faults.stall_every):
            connection.stall(faults.stall_s)
        if _nth(number, faults.half_open_every):
            connection.go_deaf()
        if _nth(number, faults.disconnect_every):
            connection.disconnect()

    # Receipts -------------------------------------------------------------------

    def _receipt(
        self,
        connection: SmscConnection,
        course: Course,
        message_id: bytes,
        source: bytes,
        destination: bytes,
        quoted: bytes,
        submitted: float,
    ) -> None:
        scenario = self.scenario
        self.ledger.counters.receipts += 1
        zone = scenario.receipt_zone_minutes
        off = scenario.receipt_clock_off_s
        submit_date = stamp(int(submitted + off) // 60, zone)
        done_date = stamp(int(self._clock() + off) // 60, zone)
        stat = course.stat
        err = course.err
        if self.cancelled and message_id in self.cancelled:
            stat = b"DELETED"
        if self._plain_receipts and not course.rule.receipt_id:
            text = b"id:%b sub:001 dlvrd:%b submit date:%b done date:%b stat:%b err:%b text:%b" % (
                message_id,
                b"001" if stat == b"DELIVRD" else b"000",
                submit_date,
                done_date,
                stat,
                err,
                quoted,
            )
            tail = b""
            coding = 0
        else:
            shown = spell(message_id, self._id_form(course.rule))
            form = scenario.receipts
            text = text_of(form, shown, submit_date, done_date, stat, err, quoted)
            tail = tlvs_of(shown, stat, err) if form in ("tlv", "both") else b""
            coding = 8 if form == "ucs2" else 0
        other = course.rule.receipt_on_other_bind
        body = b"\0%b%b\x04\0\0\0\0\0\0%c\0%c%b%b" % (
            destination,
            source,
            coding,
            len(text),
            text,
            tail,
        )
        self.deliver(body, None if other else connection, avoid=connection if other else None)

    def _intermediate(
        self,
        connection: SmscConnection,
        course: Course,
        message_id: bytes,
        source: bytes,
        destination: bytes,
        quoted: bytes,
        submitted: float,
    ) -> None:
        text = b"id:%b stat:ENROUTE err:000" % spell(message_id, self._id_form(course.rule))
        body = b"\0%b%b\x20\0\0\0\0\0\0\0\0%c%b" % (destination, source, len(text), text)
        self.deliver(body, connection)

    def _id_form(self, rule: ScenarioRule) -> str:
        faults = self.scenario.faults
        if faults.drift_after and self._number - self._first > faults.drift_after:
            return faults.drift_to
        return rule.receipt_id or self.scenario.receipt_ids

    # Deliveries -----------------------------------------------------------------

    def mobile_originated(
        self, source: str, destination: str, text: str, mode: str = "udh8"
    ) -> tuple[int, int]:
        """A subscriber writes. Returns how many parts were sent, and on how many binds."""
        self._reference += 1
        parts = mobile.bodies(source, destination, text, mode, self._reference)
        self.ledger.counters.mobile_originated += 1
        self._obey_stop(source.lstrip("+"), destination.lstrip("+"), text)
        self._note_inbound(source, destination, text, parts)
        taken = [self.deliver(body, None) for body in parts]
        return len(parts), len({part.name for part in taken if part is not None})

    def _note_inbound(self, source: str, destination: str, text: str, parts: list[bytes]) -> None:
        entry = InjectedMessage(
            self._clock(), self.scenario.name, source, destination, text, len(parts)
        )
        self.ledger.inbound.append(entry)
        for body in parts:
            self._inbound[id(body)] = (body, entry)
        while len(self._inbound) > self.scenario.queue_limit:
            self._inbound.popitem(last=False)

    def delivery_answered(self, body: bytes) -> None:
        """The ESME took a delivery."""
        self.ledger.counters.deliveries_answered += 1
        if self._inbound and (noted := self._inbound.pop(id(body), None)) is not None:
            # What was written to other binds before this answer may wait unread in this very turn
            # of the loop: it was taken earlier, and shall be noted earlier.
            asyncio.get_running_loop().call_soon(self._inbound_answered, noted[1])

    def _inbound_answered(self, entry: InjectedMessage) -> None:
        entry.open_parts -= 1
        if not entry.open_parts:
            entry.answered = self._clock()

    def _obey_stop(self, subscriber: str, sender: str, text: str) -> None:
        word = text.strip().upper()
        if not any(sender.startswith(prefix) for prefix in self.scenario.network_stop):
            return
        if word in _STOP:
            self.blocked.add((sender, subscriber))
        elif word in _START:
            self.blocked.discard((sender, subscriber))

    def deliver(
        self, body: bytes, preferred: SmscConnection | None, *, avoid: SmscConnection | None = None
    ) -> SmscConnection | None:
        """Send a deliver_sm on a bind that takes it, or keep it until there is one."""
        if self._queue:
            self._enqueue(body)
            return None
        if preferred is not None and preferred.can_deliver:
            preferred.deliver(body)
            return preferred
        count = len(self.connections)
        for step in range(count):
            connection = self.connections[(self._turn + step) % count]
            if connection.can_deliver and (connection is not avoid or count == 1):
                self._turn += step + 1
                connection.deliver(body)
                return connection
        if avoid is not None:
            return self.deliver(body, avoid)
        self._enqueue(body)
        return None

    def _enqueue(self, body: bytes) -> None:
        if len(self._queue) >= self.scenario.queue_limit:
            self._queue.popleft()
            self.ledger.counters.deliveries_dropped += 1
        self._queue.append(body)

    def take_back(self, bodies: list[bytes]) -> None:
        """Deliveries whose connection fell before they were answered: first in the queue again."""
        self.ledger.counters.deliveries_repeated += len(bodies)
        self._queue.extendleft(reversed(bodies))
        self.pump()

    def again(self, body: bytes) -> None:
        """A delivery that was refused for the moment."""
        self.ledger.counters.deliveries_repeated += 1
        self.deliver(body, None)

    def pump(self) -> None:
        """Send what waits, as far as binds take it."""
        queue = self._queue
        while queue:
            connection = next(
                (connection for connection in self.connections if connection.can_deliver), None
            )
            if connection is None:
                return
            while queue and connection.can_deliver:
                connection.deliver(queue.popleft())

    @property
    def waiting(self) -> int:
        """Deliveries for which there is no bind."""
        return len(self._queue)

    # Other requests ---------------------------------------------------------------

    def find(self, message_id: str) -> LedgerEntry | None:
        """The submit that got this id, among the last ten thousand."""
        entries = self.ledger.entries
        for back in range(1, min(len(entries), 10_000) + 1):
            if entries[-back].carrier_id == message_id:
                return entries[-back]
        return None


def _digits(address: bytes) -> str:
    """The value of an address as it lies in a PDU: TON, NPI, text, NUL."""
    return address[2:-1].decode("latin-1")


def _nth(number: int, every: int) -> bool:
    return every > 0 and number % every == 0
