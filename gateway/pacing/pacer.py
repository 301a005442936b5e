"""Which messages may go now, and when to look again
(docs/spec/messaging-services.md#throughput-and-queues, docs/reliability.md#order).

One pacer schedules all senders of a worker; it starts no task and sets no timer. It is told
the time, and answers.

A message goes when everything it needs is there *in one step*: the tokens of its sender
towards its destination class, of its campaign and accounts, of its connector, and room in the
connector's window. Tokens of all segments are taken at once, and nothing is taken when one
thing is missing.

Where a line (a sender towards one destination class) waits:

* in its carrier's **ring** while only the connector can hold it up; deficit round robin
  chooses there between accounts and services;
* at a **gate** while a bucket is empty. Gates stand in one heap by time. The line's own
  bucket is a gate for one; campaigns and accounts are gates for many, which pass in turn;
* nowhere when it is empty.

Chains of messages to one recipient, fifos and priorities are in `queues`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from enum import Enum
from heapq import heapify, heappop, heappush
from types import MappingProxyType
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from gateway.pacing.bucket import TokenBucket
from gateway.pacing.expiry import ExpiryWheel
from gateway.pacing.fair import FairQueue
from gateway.pacing.queues import BEFORE_ALL, Fifo, Line, QueuedMessage, SenderQueue, SharedGate

Q = TypeVar("Q", bound=QueuedMessage)

_LEAST_RATE: Final = 1e-9
_NO_LIMIT: Final = 1e9  # for a gate that was lifted while lines waited at it
BATCH: Final = 500  # messages per release: what is claimed must be written in one turn


class SharedBucket(NamedTuple):
    """A bucket that many senders share: who names the same key shares it, at the same rate."""

    key: Hashable
    rate: float


class RateLimits(Protocol):
    """Rates in segments per second.

    Besides a sender's own there are those that its lines share (a campaign towards one country,
    all numbers of a kind for media) and those of an account (its own, its parent's): none, one or
    several. A carrier's may be None, for no limit.
    """

    def sender(self, sender_id: int, destination_class: Hashable) -> float: ...
    def shared(self, sender_id: int, destination_class: Hashable) -> tuple[SharedBucket, ...]: ...
    def account(self, account_id: int) -> tuple[SharedBucket, ...]: ...
    def carrier(self, carrier_id: int) -> float | None: ...


class HeldBy(Enum):
    """What the head of a line waits for, as far as the pacer knows; room is not its business."""

    NOTHING = 0
    RATE = 1  # tokens of its sender, campaign or account
    CARRIER = 2  # tokens of its carrier
    FLIGHT = 3  # the message before it, to the same recipient


class Waits(NamedTuple, Generic[Q]):
    """A line where something waits."""

    sender_id: int
    destination_class: Hashable
    left: int  # messages that have left it so far, and were answered
    waiting: int  # segments, of the whole sender
    head: Q | None
    held: HeldBy


class _Carrier:
    """A connector: the lines that could submit to it, and what is under way."""

    __slots__ = ("armed", "bucket", "flying", "id", "ring")

    def __init__(self, carrier_id: int, bucket: TokenBucket | None) -> None:
        self.id = carrier_id
        self.bucket = bucket
        self.ring: FairQueue[Line] = FairQueue(_segments_of_head)
        self.flying = 0
        self.armed = False  # stands in the heap


def _segments_of_head(line: Line) -> float:
    head = line.head()
    return head[1].segments if head is not None else 0


class _Flight:
    """A released message that is not done."""

    __slots__ = ("carrier", "item", "line", "order", "segments")

    def __init__(self, item: QueuedMessage, carrier: _Carrier, line: Line, order: int) -> None:
        self.item = item  # keeps id() from being given to another message
        self.carrier = carrier
        self.line = line
        self.order = order
        self.segments = item.segments


class Pacer(Generic[Q]):
    """The queues of all senders of a worker."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._senders: dict[int, SenderQueue] = {}
        self._carriers: dict[int, _Carrier] = {}
        self._shared: dict[Hashable, SharedGate] = {}
        self._accounts: dict[int, tuple[SharedGate, ...]] = {}
        # When to look at a line's own bucket, a gate or a carrier again. The number settles ties.
        self._heap: list[tuple[float, int, Line | SharedGate | _Carrier]] = []
        self._flights: dict[int, _Flight] = {}  # by id() of the message
        self._expiry: ExpiryWheel[Q] = ExpiryWheel()
        self._expired: list[Q] = []
        self._ahead = 0.0  # of the clock of deadlines, when last asked
        self._order = 0
        self._now = 0.0
        self._more = False  # something may go as soon as anyone asks
        self._turn = 0

    def __len__(self) -> int:
        """Messages that wait, of all senders."""
        return len(self._expiry)

    # In.

    def enqueue(self, sender_id: int, item: Q, now: float) -> None:
        """Let `item` wait for its sender, behind everything accepted before it."""
        self._at_least(now)
        sender = self._senders.get(sender_id)
        if sender is None:
            sender = self._senders[sender_id] = SenderQueue(sender_id)
        line = self._line(sender, item.destination_class)
        fifo = line.fifo(item)
        sender.waiting += item.segments
        self._expiry.add(item)
        recipients = sender.recipients
        if item.recipient not in recipients:  # nobody ahead of it
            recipients[item.recipient] = None
            fifo.append(item)
            self._activate(line)
            return
        followers = recipients[item.recipient]
        if followers is None:
            followers = recipients[item.recipient] = deque()
        followers.append((line, fifo.next_position(), item))

    def put_back(self, item: Q, not_before: float | None = None, *, refund: bool = False) -> None:
        """Let a released message go again, at the head where it was.

        `not_before` holds its whole line until then (a throttled head waits and keeps its
        place). `refund` returns its tokens: only for what never reached the carrier. A message
        may have expired meanwhile; it is then reported by `expire`.
        """
        flight = self._flights.pop(id(item))
        line, sender = flight.line, flight.line.sender
        sender.flying -= flight.segments
        flight.carrier.flying -= flight.segments
        sender.waiting += flight.segments
        if refund:
            self._give_back(flight)
        if not_before is not None:
            line.not_before = max(line.not_before, not_before)
        line.fifo(item).resume(item, BEFORE_ALL, flight.order)
        self._expiry.add(item)
        self._activate(line)

    # Out.

    def release(self, now: float, room: Callable[[int], int], limit: int = BATCH) -> list[Q]:
        """Up to `limit` messages that go now, in the order to write them.

        `room` answers how many segments a carrier's window takes now. A message larger than
        the whole window goes when the carrier has nothing else under way. Every released
        message must be followed by `done` or `put_back`.
        """
        now = self._at_least(now)
        if self._heap and self._heap[0][0] <= now:
            self._wake(now)
        self._more = False
        out: list[Q] = []
        carriers = [carrier for carrier in self._carriers.values() if carrier.ring.turns]
        if len(carriers) > 1:  # no carrier is always the first to use up the limit
            self._turn = (self._turn + 1) % len(carriers)
            carriers = carriers[self._turn :] + carriers[: self._turn]
        for carrier in carriers:
            self._serve(carrier, room(carrier.id), now, out, limit)
            if len(out) >= limit:
                self._more = True
                break
        return out

    def admit(self, item: Q, now: float, room: Callable[[int], int]) -> bool:
        """Let `item` go at once if nothing stands before it and nothing is missing.

        The short way of a message that finds its sender idle: as `enqueue` and `release`, in
        one step. False changes nothing, and `item` may then be enqueued.
        """
        now = self._at_least(now)
        sender = self._senders.get(item.sender_id)
        if sender is None:
            sender = self._senders[item.sender_id] = SenderQueue(item.sender_id)
        carrier = self._carrier(item.carrier_id)
        line = self._line(sender, item.destination_class)
        segments = item.segments
        if (
            item.recipient in sender.recipients
            or line.placed
            or carrier.ring.turns
            or line.ready_at(segments, now) > now
        ):
            return False
        gates = self._gates(line, item)
        for gate in gates:
            if gate.lines or gate.bucket.ready_at(segments, now) > now:
                return False
        if carrier.bucket is not None and carrier.bucket.ready_at(segments, now) > now:
            return False
        free = room(item.carrier_id)
        if segments > free and (carrier.flying or free <= 0):
            return False
        sender.recipients[item.recipient] = None
        self._take(line, gates, carrier, segments, now)
        self._fly(item, carrier, line, segments)
        return True

    def done(self, item: Q, *, left: bool = True) -> None:
        """A released message was answered: the next one to its recipient may follow.

        Not `left`: it was given up without an answer, which is no sign that anything gets through.
        """
        flight = self._flights.pop(id(item), None)
        if flight is None:
            return
        sender = flight.line.sender
        flight.line.left += left
        sender.flying -= flight.segments
        flight.carrier.flying -= flight.segments
        self._next_of_chain(sender, item.recipient)
        self._tidy(sender)

    def withdraw(self, item: Q) -> None:
        """A released message did not go after all and is ours no more: its tokens return."""
        flight = self._flights.get(id(item))
        if flight is not None:
            self._give_back(flight)
            self.done(item)

    def remove(self, item: Q) -> bool:
        """Take out a waiting message (canceled, or selected anew); False if it does not wait."""
        if self._expiry.take(item) is None:
            return False
        sender = self._senders[item.sender_id]
        self._leave(sender, item)
        self._tidy(sender)
        return True

    def expire(self, now: float, ahead: float = 0.0) -> list[Q]:
        """Messages whose time has passed, taken out. In flight ones are not touched.

        `ahead`: seconds that the clock of `expires_at` is ahead of `now`, which it only is once
        somebody has set the wall clock. It holds until the next call.
        """
        self._ahead = ahead
        now = self._at_least(now) + ahead
        if self._expiry.next_time() <= now:
            for item in self._expiry.due(now):
                sender = self._senders[item.sender_id]
                self._leave(sender, item)
                self._tidy(sender)
                self._expired.append(item)
        if not self._expired:
            return []
        expired, self._expired = self._expired, []
        return expired

    # Questions.

    def next_time(self) -> float | None:
        """When to call `release` and `expire` again; None when only an event can change anything.

        Events are `enqueue`, `done`, `put_back` and new room at a carrier.
        """
        if self._more or self._expired:
            return self._now
        expiry = self._expiry.next_time() - self._ahead
        time = self._heap[0][0] if self._heap else math.inf
        if expiry < time:
            time = expiry
        return time if time < math.inf else None

    def backlog(self, sender_id: int) -> int:
        """Segments of a sender that wait or are in flight."""
        sender = self._senders.get(sender_id)
        return sender.waiting + sender.flying if sender is not None else 0

    def waiting(self, sender_id: int) -> int:
        """Segments of a sender that wait."""
        sender = self._senders.get(sender_id)
        return sender.waiting if sender is not None else 0

    def queues(self) -> Iterator[tuple[int, int, int]]:
        """Of every sender that has something: its id, segments that wait, segments in flight."""
        for sender in self._senders.values():
            if sender.waiting or sender.flying:
                yield sender.id, sender.waiting, sender.flying

    def waits(self, now: float) -> Iterator[Waits[Q]]:
        """Every line that has something to send, with what its head waits for."""
        headless_senders = set()
        for sender in self._senders.values():
            if not sender.waiting:
                continue
            headless = True
            for destination_class, line in sender.lines.items():
                head = line.head()
                if head is not None:
                    headless = False
                    item: Q = head[1]  # type: ignore[assignment]
                    held = self._held_up(line, item, now)
                    yield Waits(sender.id, destination_class, line.left, sender.waiting, item, held)
            if headless:  # all of it is for recipients whose message before is under way
                headless_senders.add(sender.id)
        if headless_senders:
            yield from (waits for waits in self.under_way() if waits.sender_id in headless_senders)

    def under_way(self) -> Iterator[Waits[Q]]:
        """Every line of which something is in flight, or rests, and which has no head."""
        for line in {flight.line for flight in self._flights.values()}:
            if line.head() is None:
                sender = line.sender
                destination_class = next(
                    key for key, other in sender.lines.items() if other is line
                )
                yield Waits(
                    sender.id, destination_class, line.left, sender.waiting, None, HeldBy.FLIGHT
                )

    def _held_up(self, line: Line, item: QueuedMessage, now: float) -> HeldBy:
        segments = item.segments
        if line.ready_at(segments, now) > now:
            return HeldBy.RATE
        for gate in self._gates(line, item):
            if gate.lines or gate.bucket.ready_at(segments, now) > now:
                return HeldBy.RATE
        bucket = self._carrier(item.carrier_id).bucket
        if bucket is not None and bucket.ready_at(segments, now) > now:
            return HeldBy.CARRIER
        return HeldBy.NOTHING

    def rates_changed(self, now: float) -> None:
        """Read all limits again; what was taken stays taken."""
        now = self._at_least(now)
        before, self._shared = self._shared, {}
        for sender in self._senders.values():
            for destination_class, line in sender.lines.items():
                line.bucket.set_rate(self._limits.sender(sender.id, destination_class), now)
                shared = self._limits.shared(sender.id, destination_class)
                line.gates = self._gates_of(shared, before) if shared else ()
        for account_id in self._accounts:
            shared = self._limits.account(account_id)
            self._accounts[account_id] = self._gates_of(shared, before) if shared else ()
        for key, gate in before.items():
            if key not in self._shared:  # lifted; whoever waits there is let go
                gate.bucket.set_rate(_NO_LIMIT, now)
        for carrier in self._carriers.values():
            self._renew_carrier(carrier, now)
        # Times in the heap may be too late now: look at everything at once.
        self._heap = [(now, order, thing) for _, order, thing in self._heap]
        heapify(self._heap)

    def carrier_rate_changed(self, carrier_id: int, now: float, *, rest: bool = False) -> None:
        """Read one carrier's limit again; with `rest` it gets no burst of saved tokens either."""
        now = self._at_least(now)
        carrier = self._carriers.get(carrier_id)
        if carrier is None:
            return
        self._renew_carrier(carrier, now)
        if rest and carrier.bucket is not None:
            carrier.bucket.drain(now)
        self._at(now, carrier)  # the time it stands in the heap with may be too late now

    # Inside.

    def _at_least(self, now: float) -> float:
        """The pacer's own time, which never goes back."""
        if now > self._now:
            self._now = now
        return self._now

    def _renew_carrier(self, carrier: _Carrier, now: float) -> None:
        rate = self._limits.carrier(carrier.id)
        if rate is None:
            carrier.bucket = None
        elif carrier.bucket is None:
            carrier.bucket = TokenBucket(rate, now)
        else:
            carrier.bucket.set_rate(rate, now)

    def _gates_of(
        self,
        shared: tuple[SharedBucket, ...],
        before: Mapping[Hashable, SharedGate] = MappingProxyType({}),
    ) -> tuple[SharedGate, ...]:
        """The gates of these buckets, made if need be; those of `before` keep their level."""
        gates = []
        for key, rate in shared:
            gate = self._shared.get(key)
            if gate is None:
                gate = before.get(key)
                if gate is None:
                    gate = SharedGate(TokenBucket(rate, self._now))
                else:
                    gate.bucket.set_rate(rate, self._now)
                self._shared[key] = gate
            gates.append(gate)
        return tuple(gates)

    def _carrier(self, carrier_id: int) -> _Carrier:
        carrier = self._carriers.get(carrier_id)
        if carrier is None:
            rate = self._limits.carrier(carrier_id)
            bucket = TokenBucket(rate, self._now) if rate is not None else None
            carrier = self._carriers[carrier_id] = _Carrier(carrier_id, bucket)
        return carrier

    def _line(self, sender: SenderQueue, destination_class: Hashable) -> Line:
        line = sender.lines.get(destination_class)
        if line is None:
            rate = self._limits.sender(sender.id, destination_class)
            line = sender.lines[destination_class] = Line(sender, TokenBucket(rate, self._now))
            shared = self._limits.shared(sender.id, destination_class)
            if shared:
                line.gates = self._gates_of(shared)
        return line

    def _gates(self, line: Line, item: QueuedMessage) -> tuple[SharedGate, ...]:
        """The shared buckets `item` needs besides its line's and its carrier's; mostly none."""
        account = self._accounts.get(item.account_id)
        if account is None:
            account = self._gates_of(self._limits.account(item.account_id))
            self._accounts[item.account_id] = account
        gates = line.gates
        if not gates:
            return account
        return gates + account if account else gates

    def _activate(self, line: Line) -> None:
        """Something was added to `line`: see that it waits somewhere."""
        if line.placed:
            return
        head = line.head()
        if head is not None:
            line.placed = True
            self._ring(line, head[1])
            self._more = True

    def _ring(self, line: Line, item: QueuedMessage) -> None:
        self._carrier(item.carrier_id).ring.add((item.account_id, item.service_id), line)

    def _at(self, time: float, thing: Line | SharedGate | _Carrier) -> None:
        self._order += 1
        heappush(self._heap, (time, self._order, thing))

    def _wake(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            thing = heappop(heap)[2]
            if isinstance(thing, Line):
                self._to_ring(thing)
                continue
            thing.armed = False
            if isinstance(thing, SharedGate):
                self._open(thing, now)

    def _to_ring(self, line: Line) -> None:
        head = line.head()
        if head is None:
            line.placed = False
        else:
            self._ring(line, head[1])

    def _open(self, gate: SharedGate, now: float) -> None:
        """Let pass as many lines as the bucket has tokens for."""
        tokens = gate.bucket.level(now)
        promised = 0.0
        while gate.lines:
            wanted = _segments_of_head(gate.lines[0])
            at = gate.bucket.ready_at(math.ceil(wanted + promised), now)
            if promised and tokens - promised < min(wanted, gate.bucket.burst):
                # Not before what is promised has been taken and come in again.
                at = max(at, now + promised / max(gate.bucket.rate, _LEAST_RATE))
            if at > now:  # it keeps its place
                self._arm(gate, at)
                return
            promised += wanted
            self._to_ring(gate.lines.popleft())

    def _arm(self, thing: SharedGate | _Carrier, at: float) -> None:
        if not thing.armed:
            thing.armed = True
            self._at(at, thing)

    def _serve(self, carrier: _Carrier, free: int, now: float, out: list[Q], limit: int) -> None:
        """Release from one carrier's ring until it, its window or `limit` gives out."""
        ring = carrier.ring
        while ring.turns:
            if len(out) >= limit:
                self._more = True
                return
            line = ring.peek()
            head = self._living_head(line, now)
            if head is None:
                ring.discard()
                line.placed = False
                continue
            fifo, item = head
            if item.carrier_id != carrier.id:  # selected anew while others stood before it
                ring.discard()
                self._ring(line, item)
                self._more = True  # that carrier may have been served before this one
                continue
            segments = item.segments
            gates = self._gates(line, item)
            if not self._granted(line, gates, segments, now):
                ring.discard()
                continue
            if carrier.bucket is not None:
                at = carrier.bucket.ready_at(segments, now)
                if at > now:
                    self._arm(carrier, at)
                    return
            if segments > free and (carrier.flying or free <= 0):
                return  # room is news that comes from outside
            self._take(line, gates, carrier, segments, now)
            leaving = self._no_longer_waiting(line.pop(fifo, segments))
            line.sender.waiting -= segments
            self._fly(leaving, carrier, line, segments)
            out.append(leaving)
            free -= segments
            self._requeue(carrier, line, item, segments)

    def _living_head(self, line: Line, now: float) -> tuple[Fifo, QueuedMessage] | None:
        """The line's next message that has not expired; expired ones go aside on the way."""
        while (head := line.head()) is not None:
            fifo, item = head
            if item.expires_at > now + self._ahead:
                return head
            line.pop(fifo, 0)
            self._expired.append(self._no_longer_waiting(item))
            line.sender.waiting -= item.segments
            self._next_of_chain(line.sender, item.recipient)
        return None

    def _granted(
        self, line: Line, gates: tuple[SharedGate, ...], segments: int, now: float
    ) -> bool:
        """Whether the line's own bucket and those of `gates` let its head go.

        If not, the line is put where it waits for the first that does not.
        """
        at = line.ready_at(segments, now)
        if at > now:
            self._at(at, line)
            return False
        for gate in gates:
            at = gate.bucket.ready_at(segments, now)
            if at > now:
                gate.lines.append(line)
                self._arm(gate, at)
                return False
        return True

    def _take(
        self,
        line: Line,
        gates: tuple[SharedGate, ...],
        carrier: _Carrier,
        segments: int,
        now: float,
    ) -> None:
        """Take the tokens of a message, all of them."""
        line.bucket.take(segments, now)
        for gate in gates:
            gate.bucket.take(segments, now)
        if carrier.bucket is not None:
            carrier.bucket.take(segments, now)

    def _fly(self, item: Q, carrier: _Carrier, line: Line, segments: int) -> None:
        """`item` goes now: it is in flight until `done` or `put_back`."""
        line.sender.flying += segments
        carrier.flying += segments
        self._order += 1
        self._flights[id(item)] = _Flight(item, carrier, line, self._order)

    def _give_back(self, flight: _Flight) -> None:
        """Return every token that `_take` took."""
        flight.line.bucket.give_back(flight.segments, self._now)
        for gate in self._gates(flight.line, flight.item):
            gate.bucket.give_back(flight.segments, self._now)
        if flight.carrier.bucket is not None:
            flight.carrier.bucket.give_back(flight.segments, self._now)

    def _requeue(self, carrier: _Carrier, line: Line, item: QueuedMessage, segments: int) -> None:
        """After `item` left: the line stays in the ring, or moves, or is empty."""
        head = line.head()
        if head is None:
            carrier.ring.discard(segments)
            line.placed = False
            return
        following = head[1]
        if (
            following.carrier_id == carrier.id
            and following.account_id == item.account_id
            and following.service_id == item.service_id
        ):
            carrier.ring.charge(segments)
        else:
            carrier.ring.discard(segments)
            self._ring(line, following)

    def _next_of_chain(self, sender: SenderQueue, recipient: str) -> None:
        """The owner of `recipient` is gone: the first behind it takes its place."""
        followers = sender.recipients[recipient]
        if not followers:
            del sender.recipients[recipient]
            return
        line, position, item = followers.popleft()
        if not followers:
            sender.recipients[recipient] = None
        self._order += 1
        line.fifo(item).resume(item, position, self._order)
        self._activate(line)

    def _leave(self, sender: SenderQueue, item: QueuedMessage) -> None:
        """Take a waiting message out of its chain, or out of its line."""
        sender.waiting -= item.segments
        followers = sender.recipients[item.recipient]
        for index, (_, _, follower) in enumerate(followers or ()):
            if follower is item and followers is not None:
                del followers[index]
                if not followers:
                    sender.recipients[item.recipient] = None
                return
        sender.lines[item.destination_class].fifo(item).gone.add(id(item))
        self._next_of_chain(sender, item.recipient)

    def _tidy(self, sender: SenderQueue) -> None:
        """Give back the memory that a past queue needed."""
        if not sender.recipients:
            sender.recipients = {}

    def _no_longer_waiting(self, item: QueuedMessage) -> Q:
        found = self._expiry.take(item)
        assert found is not None, "every waiting message is in the wheel"
        return found
