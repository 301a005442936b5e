"""Which messages could go and do not, for how long, and why.

No gateway has more bitter threads than those of queues that stood still unseen. Here a *place* (a
sender towards one class of destinations, or a stage that holds messages) is looked at again and
again: what waits there, how much has left it so far, and what its next message waits for. A place
where nothing has left for too long is *stuck*. Stuck places with one cause are one *episode*: a
bind that is down is told once, not once for each of ten thousand senders, and once more when it is
over.

Pure: the time is passed in, seconds of a clock that never goes back.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
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


class Group(NamedTuple):
    """What an episode is about."""

    account_id: int
    where: str  # the name of a carrier, or of a stage
    reason: Reason


class Sight(NamedTuple):
    """One place, at one look."""

    place: Hashable
    group: Group
    left: int  # how much has left it so far: any change is progress
    waiting: int  # segments
    sid: str  # of the message whose turn it is


@dataclass(slots=True)
class Standstill:
    """The places of one group, where nothing leaves."""

    group: Group
    seconds: float  # of the worst of them
    sid: str  # of the message whose turn it is there
    places: int
    waiting: int  # segments


class Changes(NamedTuple):
    """What is to be told after a look."""

    opened: list[Standstill]
    closed: list[Standstill]  # as they were when they were last seen


@dataclass(slots=True)
class _Place:
    left: int
    since: float  # nothing has left since
    reason: Reason
    reason_since: float


class Watchdog:
    """Remembers each place from one look to the next. Memory: an entry for each that waits."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._places: dict[Hashable, _Place] = {}
        self._episodes: dict[Group, Standstill] = {}
        self._still: dict[Group, Standstill] = {}

    @property
    def still(self) -> Mapping[Group, Standstill]:
        """Every group that waited at the last look, stuck or not yet."""
        return self._still

    @property
    def episodes(self) -> Mapping[Group, Standstill]:
        """Those that are stuck."""
        return self._episodes

    def look(self, now: float, sights: Iterable[Sight]) -> Changes:
        """Take in every place where something waits; say what became stuck, and what healed."""
        places: dict[Hashable, _Place] = {}
        still: dict[Group, Standstill] = {}
        stuck: dict[Group, Standstill] = {}
        for sight in sights:
            place = self._seen(sight, now)
            places[sight.place] = place
            reason = sight.group.reason
            since = place.since
            if reason is Reason.LOST_WAKEUP:  # seen once it is chance: the next turn takes it
                since = max(since, place.reason_since)
            seconds = now - since
            _count(still, sight, seconds)
            if seconds >= self._patience.of(reason):
                _count(stuck, sight, seconds)
        self._places, self._still = places, still
        opened = [one for group, one in stuck.items() if group not in self._episodes]
        closed = [one for group, one in self._episodes.items() if group not in stuck]
        self._episodes = stuck
        return Changes(opened, closed)

    def _seen(self, sight: Sight, now: float) -> _Place:
        reason = sight.group.reason
        place = self._places.get(sight.place)
        if place is None:
            return _Place(sight.left, now, reason, now)
        if place.left != sight.left:
            place.left, place.since = sight.left, now
        if place.reason is not reason:
            place.reason, place.reason_since = reason, now
        return place


def _count(groups: dict[Group, Standstill], sight: Sight, seconds: float) -> None:
    one = groups.get(sight.group)
    if one is None:
        groups[sight.group] = Standstill(sight.group, seconds, sight.sid, 1, sight.waiting)
        return
    one.places += 1
    one.waiting += sight.waiting
    if seconds > one.seconds:
        one.seconds, one.sid = seconds, sight.sid
