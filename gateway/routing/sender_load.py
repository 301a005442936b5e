"""Where every sender stands: backlog, mappings, last use; and who is next in a group.

Selection takes, among equal candidates, the one with the fewest mappings, then the shortest
expected wait, then the least recently used, then the lowest sid
(docs/spec/messaging-services.md#sticky-sender step 9, docs/spec/messaging-services.md#scaler).
Asking four hundred senders for each message would cost more than everything else, so `SenderLoads`
keeps a heap per group that is asked about.

The heap is lazy. What happens to a sender mostly moves it *back* (a mapping, a queued
segment, a use), and an entry that is too good is found out when it comes to the top: it is
computed anew and sinks. Only what moves a sender *forward* (a segment sent, a mapping gone, a
carrier up again) must be told to the heap, and is noted in a set until somebody asks. So the
invariant is: each member has one entry that counts, and it is no worse than the truth unless
the member is noted.

`Load` is the whole of what selection needs; any object with these methods will do, and is
asked one candidate at a time. `SenderLoads` is the one that stays fast.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from enum import IntEnum
from typing import Final, Protocol

from gateway.routing.destination import Destination
from gateway.routing.sender_pool import CandidateGroup, Sender

# Below this many members, looking at each is as fast as a heap and needs no upkeep.
_SMALL_GROUP: Final = 4
_ORDERS_BOUND: Final = 20_000


class Load(Protocol):
    """The moving facts about senders."""

    def backlog(self, sender_id: int) -> float:
        """Segments queued or in flight."""

    def rate(self, sender_id: int, destination: Destination) -> float:
        """Segments per second towards `destination`."""

    def last_used(self, sender_id: int) -> float:
        """When a message was last assigned to it; 0 for never."""

    def mappings(self, sender_id: int) -> int:
        """Stored sticky mappings of its channel."""

    def full(self, sender_id: int) -> bool:
        """Whether its queue is at its limit (docs/spec/messaging-services.md#queue-limits)."""

    def carrier_up(self, carrier_id: int) -> bool:
        """Whether its connector can submit."""


class Level(IntEnum):
    """How willingly a candidate is taken; a lower level goes first whatever the load."""

    GOOD = 0
    UNHEALTHY = 1  # only when the service skips unhealthy senders
    DOWN = 2
    FULL = 3


# level, mappings (0 unless sticky), expected wait in seconds, last use, sid
Rank = tuple[int, int, float, float, str]


def rank(
    sender: Sender, load: Load, destination: Destination, by_mappings: bool, by_health: bool
) -> Rank:
    """The place of a candidate among its equals; the lowest is taken."""
    backlog = load.backlog(sender.id)
    return (
        level(sender, load, by_health),
        load.mappings(sender.id) if by_mappings else 0,
        expected_wait(backlog, load.rate(sender.id, destination)) if backlog else 0.0,
        load.last_used(sender.id),
        sender.sid,
    )


def level(sender: Sender, load: Load, by_health: bool) -> Level:
    """Whether anything speaks against a candidate."""
    if load.full(sender.id):
        return Level.FULL
    if not load.carrier_up(sender.carrier_id):
        return Level.DOWN
    if by_health:
        healthy: Callable[[int], bool] | None = getattr(load, "healthy", None)
        if healthy is not None and not healthy(sender.id):
            return Level.UNHEALTHY
    return Level.GOOD


def expected_wait(backlog: float, rate: float) -> float:
    """Seconds until a new message would leave."""
    return backlog / rate if rate > 0 else float("inf")


class SharedLimit:
    """Senders whose queues have one limit together: an account's, a campaign's
    (docs/spec/messaging-services.md#queue-limits).

    What has no sender yet counts for it too: that of `accounts`, or of `place` (a service and a
    country).
    """

    __slots__ = ("accounts", "backlog", "limit", "place")

    def __init__(
        self,
        limit: float,
        accounts: tuple[int, ...] = (),
        place: tuple[int, str] | None = None,
    ) -> None:
        self.limit = limit
        self.accounts = accounts
        self.place = place
        self.backlog = 0


class SenderLoad:
    """One sender's figures."""

    __slots__ = ("backlog", "healthy", "last_used", "limit", "mappings", "orders", "together")

    def __init__(self) -> None:
        self.backlog = 0
        self.last_used = 0.0
        self.mappings = 0
        self.limit = float("inf")
        self.healthy = True
        self.orders: list[_Order] = []
        self.together: tuple[SharedLimit, ...] = ()

    def moved_forward(self, sender_id: int) -> None:
        for order in self.orders:
            order.moved.add(sender_id)


class _Order:
    """The members of one group by rank, for one class of destinations."""

    __slots__ = ("believed", "group", "heap", "members", "moved", "rank")

    def __init__(self, group: CandidateGroup, rank: Callable[[Sender], Rank]) -> None:
        self.group = group
        self.rank = rank
        self.members = {sender.id: sender for sender in group}
        self.moved: set[int] = set()
        self.rebuild()

    def rebuild(self) -> None:
        self.believed = {sender.id: self.rank(sender) for sender in self.group}
        self.heap = [(self.believed[sender.id], sender) for sender in self.group]
        heapq.heapify(self.heap)
        self.moved.clear()

    def first(self) -> tuple[Rank, Sender]:
        heap, believed = self.heap, self.believed
        if self.moved:
            for sender_id in self.moved:
                sender = self.members[sender_id]
                true = self.rank(sender)
                if true < believed[sender_id]:  # else its entry is good enough
                    believed[sender_id] = true
                    heapq.heappush(heap, (true, sender))
            self.moved.clear()
            if len(heap) > 2 * len(self.members) + 16:  # superseded entries pile up
                self.rebuild()
                heap, believed = self.heap, self.believed
        while True:
            entry = heap[0]
            place, sender = entry
            if place is not believed[sender.id]:  # superseded by a better one
                heapq.heappop(heap)
                continue
            true = self.rank(sender)
            if true == place:
                return entry
            believed[sender.id] = true
            heapq.heapreplace(heap, (true, sender))


def _by_country(destination: Destination) -> Hashable:
    # Rates differ by these only (mps_defaults.csv).
    return destination.country if destination.country in ("US", "CA", "GB") else ""


class SenderLoads:
    """The figures of all senders of a process, kept by its pipeline; implements `Load`.

    `rate` answers segments per second for a sender and a destination. `class_of` gives what
    of a destination the rate depends on.
    """

    def __init__(
        self,
        rate: Callable[[int, Destination], float],
        class_of: Callable[[Destination], Hashable] = _by_country,
    ) -> None:
        self._rate = rate
        self._class_of = class_of
        self._stands: dict[int, SenderLoad] = {}
        self._down: set[int] = set()
        self._orders: dict[tuple[int, Hashable, bool, bool], _Order] = {}
        self._with_others: set[int] = set()  # senders that are `SharedLimit` with others

    def _stand(self, sender_id: int) -> SenderLoad:
        stand = self._stands.get(sender_id)
        if stand is None:
            stand = self._stands[sender_id] = SenderLoad()
        return stand

    # What happened.

    def assigned(self, sender_id: int, segments: int, now: float) -> None:
        """A message was given to the sender: queued, or straight into flight."""
        stand = self._stand(sender_id)
        stand.backlog += segments
        for limit in stand.together:
            limit.backlog += segments
        stand.last_used = max(stand.last_used, now)

    def settled(self, sender_id: int, segments: int) -> None:
        """A message left the sender's queue for good: answered, failed or canceled."""
        stand = self._stand(sender_id)
        segments = min(segments, stand.backlog)
        stand.backlog -= segments
        for limit in stand.together:
            limit.backlog -= segments
        stand.moved_forward(sender_id)

    def mapped(self, sender_id: int, change: int = 1) -> None:
        """Sticky mappings to the sender were stored, or removed when `change` is negative."""
        stand = self._stand(sender_id)
        stand.mappings = max(0, stand.mappings + change)
        if change < 0:
            stand.moved_forward(sender_id)

    def set_mappings(self, sender_id: int, count: int) -> None:
        """The stored count, as loaded or reconciled."""
        stand = self._stand(sender_id)
        stand.mappings = count
        stand.moved_forward(sender_id)

    def set_limit(self, sender_id: int, segments: float) -> None:
        """The backlog at which the sender is full
        (docs/spec/messaging-services.md#queue-limits)."""
        stand = self._stand(sender_id)
        stand.limit = segments
        stand.moved_forward(sender_id)

    def set_together(self, limits: Iterable[tuple[SharedLimit, Iterable[int]]]) -> None:
        """All limits that senders have together, with the senders of each."""
        for sender_id in self._with_others:
            self._stand(sender_id).together = ()
        self._with_others.clear()
        for limit, sender_ids in limits:
            for sender_id in sender_ids:
                stand = self._stand(sender_id)
                stand.together += (limit,)
                limit.backlog += stand.backlog
                self._with_others.add(sender_id)

    def set_healthy(self, sender_id: int, healthy: bool) -> None:
        """Whether enough of the sender's last messages were delivered."""
        stand = self._stand(sender_id)
        stand.healthy = healthy
        stand.moved_forward(sender_id)

    def set_carrier(self, carrier_id: int, up: bool) -> None:
        """The connector of `carrier_id` came up or went down."""
        if not up:
            self._down.add(carrier_id)
            return
        self._down.discard(carrier_id)
        for order in self._orders.values():
            order.moved.update(
                sender.id for sender in order.group if sender.carrier_id == carrier_id
            )

    def rates_changed(self) -> None:
        """Some rate answers differently now."""
        for order in self._orders.values():
            order.rebuild()

    def forget(self, sender_id: int) -> None:
        """The sender is in no pool any more. Call `keep_only` first."""
        stand = self._stands.get(sender_id)
        if stand is not None and not stand.orders:
            del self._stands[sender_id]

    def keep_only(self, groups: set[CandidateGroup]) -> None:
        """Drop what is kept about groups of pools that were replaced."""
        for key, order in list(self._orders.items()):
            if order.group not in groups:
                self._drop(key)

    # What selection asks.

    def backlog(self, sender_id: int) -> float:
        return self._stand(sender_id).backlog

    def rate(self, sender_id: int, destination: Destination) -> float:
        return self._rate(sender_id, destination)

    def last_used(self, sender_id: int) -> float:
        return self._stand(sender_id).last_used

    def mappings(self, sender_id: int) -> int:
        return self._stand(sender_id).mappings

    def limit(self, sender_id: int) -> float:
        """The backlog, in segments, at which the sender is full; infinity for none."""
        return self._stand(sender_id).limit

    def together(self, sender_id: int) -> tuple[SharedLimit, ...]:
        """The limits that the sender has together with others."""
        return self._stand(sender_id).together

    def full(self, sender_id: int) -> bool:
        stand = self._stand(sender_id)
        return stand.backlog >= stand.limit

    def carrier_up(self, carrier_id: int) -> bool:
        return carrier_id not in self._down

    def healthy(self, sender_id: int) -> bool:
        return self._stand(sender_id).healthy

    def first(
        self, group: CandidateGroup, destination: Destination, by_mappings: bool, by_health: bool
    ) -> tuple[Rank, Sender]:
        """The member of a non-empty `group` with the lowest rank."""
        if len(group.senders) <= _SMALL_GROUP:
            return min(
                (self._rank(sender, destination, by_mappings, by_health), sender)
                for sender in group.senders
            )
        key = (id(group), self._class_of(destination), by_mappings, by_health)
        order = self._orders.get(key)
        if order is None:
            order = self._open(key, group, destination)
        return order.first()

    def _open(
        self, key: tuple[int, Hashable, bool, bool], group: CandidateGroup, destination: Destination
    ) -> _Order:
        if len(self._orders) >= _ORDERS_BOUND:
            self._drop(next(iter(self._orders)))
        by_mappings, by_health = key[2], key[3]
        order = _Order(
            group, lambda sender: self._rank(sender, destination, by_mappings, by_health)
        )
        self._orders[key] = order
        for sender in group:
            self._stand(sender.id).orders.append(order)
        return order

    def _drop(self, key: tuple[int, Hashable, bool, bool]) -> None:
        order = self._orders.pop(key)
        for sender in order.group:
            orders = self._stand(sender.id).orders
            if order in orders:
                orders.remove(order)

    def _rank(
        self, sender: Sender, destination: Destination, by_mappings: bool, by_health: bool
    ) -> Rank:
        """`rank`, without the calls."""
        stand = self._stands.get(sender.id) or self._stand(sender.id)
        backlog = stand.backlog
        if backlog >= stand.limit:
            level = 3
        elif self._down and sender.carrier_id in self._down:
            level = 2
        else:
            level = 1 if by_health and not stand.healthy else 0
        return (
            level,
            stand.mappings if by_mappings else 0,
            expected_wait(backlog, self._rate(sender.id, destination)) if backlog else 0.0,
            stand.last_used,
            sender.sid,
        )
