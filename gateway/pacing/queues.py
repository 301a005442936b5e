"""The queues the pacer schedules: who waits for what, in which order.

* A **fifo** holds one account's and service's messages of one priority on one sender, in
  acceptance order.
* A **line** is a sender towards one destination class: a token bucket, and its fifos. It is
  what the pacer's heap and rings hold.
* A **chain** is the rest of the mail for one recipient of a sender: at most one message per
  (sender, recipient) waits in a line or is in flight, the *owner*; the others are chained
  behind it and take its place one by one. So a later one cannot overtake, whatever is resent.

A chained message remembers the position at which it would have stood in its fifo. When it
is let go it stands there again: not at the end, where newer mail would go first, and not at
the front, where it would overtake older mail for others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Final, Protocol

from gateway.pacing.bucket import TokenBucket
from gateway.pacing.fair import FairKey, FairQueue


class QueuedMessage(Protocol):
    """What the pacer needs to know of a message.

    The pacer never writes to one, and finds it again by what it reads here: none of it may
    change between `enqueue` and the message's release or removal.
    """

    @property
    def sender_id(self) -> int: ...
    @property
    def segments(self) -> int: ...
    @property
    def account_id(self) -> int: ...
    @property
    def service_id(self) -> int | None: ...
    @property
    def priority(self) -> int: ...  # smaller goes first, 0 is normal
    @property
    def recipient(self) -> str: ...
    @property
    def expires_at(self) -> float: ...  # on the clock of deadlines
    @property
    def carrier_id(self) -> int: ...
    @property
    def destination_class(self) -> Hashable: ...


BEFORE_ALL: Final = -1  # the position of a message that was put back
_AFTER_RETURNED: Final = 1 << 62


class Fifo:
    """Messages in acceptance order, with places kept for those that are chained.

    `items` are numbered from `first`. `resumed` holds messages that return to a place among
    them; they go before the item that stands at their position now. `gone` names messages that
    were removed and are passed over when they come up.
    """

    __slots__ = ("first", "gone", "items", "priority", "resumed")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.items: deque[QueuedMessage] = deque()
        self.first = 0
        self.resumed: list[tuple[int, int, QueuedMessage]] = []  # position, order, message
        self.gone: set[int] = set()

    def append(self, item: QueuedMessage) -> None:
        if id(item) in self.gone:  # removed and come again: the old place must not hide it
            self._sweep()
        self.items.append(item)

    def next_position(self) -> int:
        """Where a message accepted now would stand."""
        return self.first + len(self.items)

    def resume(self, item: QueuedMessage, position: int, order: int) -> None:
        """Let `item` return to `position`; `order` settles who is first at the same one."""
        if id(item) in self.gone:
            self._sweep()
        heappush(self.resumed, (position, order, item))

    def head(self) -> QueuedMessage | None:
        """The message whose turn it is, None when there is none left."""
        while True:
            if self.resumed and (not self.items or self.resumed[0][0] <= self.first):
                item = self.resumed[0][2]
            elif self.items:
                item = self.items[0]
            else:
                return None
            if not self.gone or id(item) not in self.gone:
                return item
            self.gone.discard(id(item))
            self.pop()

    def pop(self) -> QueuedMessage:
        """Take out what `head` answered."""
        if self.resumed and (not self.items or self.resumed[0][0] <= self.first):
            return heappop(self.resumed)[2]
        self.first += 1
        return self.items.popleft()

    def _sweep(self) -> None:
        """Take the removed messages out now, keeping everyone's place: slow, right and rare."""
        self.resumed = [entry for entry in self.resumed if id(entry[2]) not in self.gone]
        for item in self.items:
            if id(item) not in self.gone:
                # After whoever returned to the same position.
                self.resumed.append((self.first, _AFTER_RETURNED, item))
            self.first += 1
        self.resumed.sort()
        self.items.clear()
        self.gone.clear()


class Flow:
    """One account's and service's fifos on one line, the smallest priority first."""

    __slots__ = ("fifos", "key")

    def __init__(self, key: FairKey) -> None:
        self.key = key
        self.fifos: list[Fifo] = []

    def fifo(self, priority: int) -> Fifo:
        for fifo in self.fifos:
            if fifo.priority == priority:
                return fifo
        fifo = Fifo(priority)
        self.fifos.append(fifo)
        self.fifos.sort(key=lambda fifo: fifo.priority)
        return fifo

    def head(self) -> tuple[Fifo, QueuedMessage] | None:
        while self.fifos:
            fifo = self.fifos[0]
            item = fifo.head()
            if item is not None:
                return fifo, item
            del self.fifos[0]
        return None


def _next_segments(flow: Flow) -> float:
    head = flow.head()
    return head[1].segments if head is not None else 0


class SharedGate:
    """A bucket that many lines share, with those that wait for it."""

    __slots__ = ("armed", "bucket", "lines")

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.lines: deque[Line] = deque()
        self.armed = False  # stands in the heap


class Line:
    """A sender towards one destination class."""

    __slots__ = ("_crowd", "_flows", "bucket", "gates", "left", "not_before", "placed", "sender")

    def __init__(self, sender: SenderQueue, bucket: TokenBucket) -> None:
        self.sender = sender
        self.bucket = bucket
        self.gates: tuple[SharedGate, ...] = ()  # what it shares with other lines; mostly nothing
        self.not_before = float("-inf")  # a throttled head holds the whole line until then
        self.placed = False  # in a carrier's ring, or waiting at a gate
        self.left = 0  # messages that were answered, or withdrawn
        self._flows: dict[FairKey, Flow] = {}
        self._crowd: FairQueue[Flow] | None = None  # only while two flows or more share the line

    def fifo(self, item: QueuedMessage) -> Fifo:
        """The fifo that `item` belongs to, made if need be."""
        key = (item.account_id, item.service_id)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = Flow(key)
            if len(self._flows) == 2:
                self._crowd = FairQueue(_next_segments)
                for other in self._flows.values():
                    self._crowd.add(other.key, other)
            elif self._crowd is not None:
                self._crowd.add(key, flow)
        return flow.fifo(item.priority)

    def head(self) -> tuple[Fifo, QueuedMessage] | None:
        """The next message of the line by fairness, priority and order."""
        while self._flows:
            flow = (
                self._crowd.peek() if self._crowd is not None else next(iter(self._flows.values()))
            )
            head = flow.head()
            if head is not None:
                return head
            del self._flows[flow.key]
            if self._crowd is not None:
                self._crowd.discard()
                if len(self._flows) < 2:
                    self._crowd = None
        self._flows = {}  # an emptied dict keeps its table
        return None

    def pop(self, fifo: Fifo, segments: int) -> QueuedMessage:
        """Take out what `head` answered."""
        if self._crowd is not None:
            self._crowd.charge(segments)
        return fifo.pop()

    def ready_at(self, segments: int, now: float) -> float:
        """When the line's own bucket lets a message go."""
        at = self.bucket.ready_at(segments, now)
        return at if at >= self.not_before else self.not_before


Follower = tuple[Line, int, QueuedMessage]  # line, position in its fifo, message


class SenderQueue:
    """All that is kept of one sender; a few hundred bytes when idle."""

    __slots__ = ("flying", "id", "lines", "recipients", "waiting")

    def __init__(self, sender_id: int) -> None:
        self.id = sender_id
        self.waiting = 0  # segments in lines and chains
        self.flying = 0  # segments released and not yet done
        self.lines: dict[Hashable, Line] = {}
        # recipient -> followers of the owner; None while there are none
        self.recipients: dict[str, deque[Follower] | None] = {}
