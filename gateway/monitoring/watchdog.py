"""Which messages could go and do not, for how long, and why.

No gateway has more bitter threads than those of queues that stood still unseen. Here a *place* (a
sender towards one class of destinations, or a stage that holds messages) is looked at again and
again: what waits there, how much has left it so far, and what its next message waits for. A place
where nothing has left for too long is *stuck*. Stuck places of one account towards one carrier are
one *episode*: a bind that is down is told once, not once for each of ten thousand senders.

An episode belongs to where it is, not to its reason: a carrier that answers nothing is seen as a
full window, then as throttled after each timeout, then as a full window again, and nothing is over
until something has left or nothing waits any more.

Pure: the time is passed in, seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """What the next message waits for."""

    DATABASE = "database"  # which is away, or behind with what must be written first
    NO_BIND = "no_bind"  # that messages may be written to
    NO_WINDOW = "no_window"  # the carrier answers nothing of what it has
    THROTTLED = "throttled"  # the carrier is given less than is configured
    RATE = "rate"  # of the sender, its campaign, its account or the carrier
    RESTING = "resting"  # the carrier has no room for this recipient
    IN_FLIGHT = "in_flight"  # the one before it, to the same recipient, has no answer
    ASSIGNING = "assigning"  # no sender has time for it
    GATHERING = "gathering"  # media or a lookup, from outside
    READING = "reading"  # its row, which memory had no room for
    LOST_WAKEUP = "lost_wakeup"  # nothing: it could go


class Patience(NamedTuple):
    """How many seconds nothing may leave a place, by what it waits for."""

    stuck_s: float = 60.0  # what should not be
    slow_s: float = 600.0  # what is slow by somebody's will
    lost_s: float = 30.0  # a lost wake-up: the timers that heal one are faster

    def of(self, reason: Reason) -> float:
        if reason is Reason.LOST_WAKEUP:
            return self.lost_s
        return self.slow_s if reason in SLOW else self.stuck_s


SLOW: Final = frozenset(
    {Reason.THROTTLED, Reason.RATE, Reason.RESTING, Reason.IN_FLIGHT, Reason.ASSIGNING}
)


class Spot(NamedTuple):
    """Where an episode is."""

    account_id: int
    where: str  # the name of a carrier, or of a stage


class WaitingGroup(NamedTuple):
    """Places that wait in one spot for one reason."""

    account_id: int
    where: str  # the name of a carrier, or of a stage
    reason: Reason

    @property
    def spot(self) -> Spot:
        return Spot(self.account_id, self.where)


class Sight(NamedTuple):
    """One place, at one look."""

    place: Hashable
    group: WaitingGroup
    left: int  # how much has left it so far: any change is progress
    waiting: int  # segments
    sid: str  # of the message whose turn it is
    in_rows: int = 0  # messages behind those, for which memory has no room
    under_way: bool = (
        False  # nothing waits, and what left has no answer: it only keeps what is stuck
    )
    queue: Hashable = None  # whose `waiting` and `in_rows` these are, where several places share it


@dataclass(slots=True)
class Standstill:
    """The places of one group, or of one spot, where nothing leaves."""

    group: WaitingGroup  # of a spot: that which weighs most
    seconds: float  # of the worst of the group
    sid: str  # of the message whose turn it is there
    queues: dict[Hashable, tuple[int, int]]  # segments that wait, and messages in rows behind them

    @property
    def places(self) -> int:
        """How many queues: a sender's is one, whatever classes of destinations it waits for."""
        return len(self.queues)

    @property
    def waiting(self) -> int:
        """Segments."""
        return sum(segments for segments, _ in self.queues.values())

    @property
    def in_rows(self) -> int:
        """Messages behind those, for which memory has no room."""
        return sum(in_rows for _, in_rows in self.queues.values())


class Changes(NamedTuple):
    """What is to be told after a look."""

    opened: list[Standstill]
    closed: list[Standstill]  # as they were when they were last seen


@dataclass(slots=True)
class _Place:
    left: int
    since: float  # nothing has left since
    reason: Reason  # at the last look
    reason_since: float
    stuck_for: Reason | None = None  # it is stuck, and stays so until something leaves


class Watchdog:
    """Remembers each place from one look to the next. Memory: an entry for each that waits."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._places: dict[Hashable, _Place] = {}
        self._episodes: dict[Spot, Standstill] = {}
        self._still: dict[WaitingGroup, Standstill] = {}

    @property
    def still(self) -> Mapping[WaitingGroup, Standstill]:
        """Every group that waited at the last look, stuck or not yet."""
        return self._still

    @property
    def episodes(self) -> Mapping[Spot, Standstill]:
        """The groups that are stuck."""
        return self._episodes

    def look(self, now: float, sights: Iterable[Sight]) -> Changes:
        """Take in every place where something waits; say what became stuck, and what healed."""
        places: dict[Hashable, _Place] = {}
        still: dict[WaitingGroup, Standstill] = {}
        stuck: dict[WaitingGroup, Standstill] = {}
        for sight in sights:
            if sight.under_way:
                self._keep(sight, places, stuck, now)
                continue
            place = self._seen(sight, now)
            places[sight.place] = place
            _count(still, sight.group, sight, now - self._since(place))
            self._effects(place, now)
            if place.stuck_for is not None:
                group = sight.group._replace(reason=place.stuck_for)
                _count(stuck, group, sight, now - place.since)
        self._places, self._still = places, still
        before, self._episodes = self._episodes, self._by_spot(stuck)
        opened = [episode for spot, episode in self._episodes.items() if spot not in before]
        closed = [standstill for spot, standstill in before.items() if spot not in self._episodes]
        return Changes(opened, closed)

    def _keep(
        self,
        sight: Sight,
        places: dict[Hashable, _Place],
        stuck: dict[WaitingGroup, Standstill],
        now: float,
    ) -> None:
        """What was stuck and is in flight now is not over before it is answered."""
        place = self._places.get(sight.place)
        if place is None or place.stuck_for is None or place.left != sight.left:
            return
        places[sight.place] = place
        _count(stuck, sight.group._replace(reason=place.stuck_for), sight, now - place.since)

    def _seen(self, sight: Sight, now: float) -> _Place:
        reason = sight.group.reason
        place = self._places.get(sight.place)
        if place is None:
            return _Place(sight.left, now, reason, now)
        if place.left != sight.left:
            place.left, place.since, place.stuck_for = sight.left, now, None
        if place.reason is not reason:
            place.reason, place.reason_since = reason, now
        return place

    def _since(self, place: _Place) -> float:
        """Since when its present reason counts."""
        if place.reason is Reason.LOST_WAKEUP:  # seen once it is chance: the next turn takes it
            return max(place.since, place.reason_since)
        return place.since

    def _effects(self, place: _Place, now: float) -> None:
        """Once stuck it stays so, whatever more patience its next reason has."""
        if now - self._since(place) >= self._patience.of(place.reason) or (
            place.stuck_for is not None and place.reason is not Reason.LOST_WAKEUP
        ):
            place.stuck_for = place.reason

    def _by_spot(self, stuck: Mapping[WaitingGroup, Standstill]) -> dict[Spot, Standstill]:
        """One episode for each spot. Its reason is what is broken there, before what is slow."""
        episodes: dict[Spot, Standstill] = {}
        for standstill in sorted(stuck.values(), key=_weight, reverse=True):
            known = episodes.get(standstill.group.spot)
            if known is None:
                episodes[standstill.group.spot] = replace(
                    standstill, queues=dict(standstill.queues)
                )
            else:
                known.queues.update(standstill.queues)
        return episodes


def _weight(standstill: Standstill) -> tuple[bool, float]:
    return standstill.group.reason not in SLOW, standstill.seconds


def _count(
    groups: dict[WaitingGroup, Standstill], group: WaitingGroup, sight: Sight, seconds: float
) -> None:
    queue = sight.place if sight.queue is None else sight.queue
    standstill = groups.get(group)
    if standstill is None:
        standstill = groups[group] = Standstill(group, seconds, sight.sid, {})
    standstill.queues[queue] = (sight.waiting, sight.in_rows)
    if seconds > standstill.seconds:
        standstill.seconds, standstill.sid = seconds, sight.sid
