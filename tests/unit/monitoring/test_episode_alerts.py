"""The last word about a spot is true within the quiet time; one that flaps does not flood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from gateway.monitoring.episode_alerts import EpisodeAlerts
from gateway.monitoring.watchdog import (
    Patience,
    Reason,
    Sight,
    Spot,
    Standstill,
    WaitingGroup,
    Watchdog,
)
from gateway.observe.alerts import QUIET_S

PATIENCE = Patience(stuck_s=60.0, slow_s=600.0, lost_s=30.0)
SPOT = Spot(1, "carrier")
EVERY_S = 5
OVER = "over"


def episode(reason: Reason = Reason.NO_BIND, seconds: float = 60.0) -> dict[Spot, Standstill]:
    return {SPOT: Standstill(WaitingGroup(*SPOT, reason), seconds, "SM1", {"sender": (5, 0)})}


class Operator:
    """Reads what is told, and when."""

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self.telling = EpisodeAlerts(quiet_s)
        self.dog = Watchdog(PATIENCE)
        self.read: list[tuple[float, str]] = []

    def hears(self, now: float, episodes: dict[Spot, Standstill]) -> list[str]:
        words = [
            OVER if over else one.group.reason.value
            for over, one in self.telling.look(now, episodes)
        ]
        self.read += [(now, word) for word in words]
        return words

    def sees(self, now: float, reason: Reason, left: int) -> list[str]:
        sight = Sight("sender", WaitingGroup(*SPOT, reason), left, 5, "SM1")
        self.dog.look(now, [sight])
        return self.hears(now, dict(self.dog.episodes))

    def most_in_a_quiet_time(self) -> Counter[bool]:
        """The most words of a standstill, and of its end, in any time as long as the quiet."""
        most: Counter[bool] = Counter()
        for begin, _ in self.read:
            words = [w == OVER for at, w in self.read if begin <= at < begin + QUIET_S]
            most |= Counter(words)
        return most


def test_an_episode_is_told_once_and_once_when_it_is_over() -> None:
    operator = Operator()
    assert operator.hears(0.0, episode()) == ["no_bind"]
    assert operator.hears(1000.0, episode()) == []
    assert operator.hears(2000.0, {}) == [OVER]
    assert operator.hears(3000.0, {}) == []


def test_over_says_how_long_it_was() -> None:
    telling = EpisodeAlerts(QUIET_S)
    telling.look(0.0, episode(seconds=60.0))
    telling.look(40.0, episode(seconds=100.0))
    [(over, one)] = telling.look(45.0, {})
    assert (over, one.seconds) == (True, 100.0)


def test_another_reason_is_told_inside_the_episode_once_it_was_quiet() -> None:
    operator = Operator()
    operator.hears(0.0, episode(Reason.NO_WINDOW))
    assert operator.hears(QUIET_S - 0.001, episode(Reason.THROTTLED)) == []
    assert operator.hears(QUIET_S, episode(Reason.THROTTLED)) == ["throttled"]


def test_a_reason_that_is_back_when_the_quiet_ends_is_not_told_again() -> None:
    operator = Operator()
    operator.hears(0.0, episode(Reason.NO_WINDOW))
    operator.hears(30.0, episode(Reason.THROTTLED))
    assert operator.hears(70.0, episode(Reason.NO_WINDOW)) == []


@pytest.mark.parametrize("after", [0.001, QUIET_S - 0.001, QUIET_S, 10 * QUIET_S])
def test_what_opens_anew_after_over_is_always_told(after: float) -> None:
    operator = Operator()
    operator.hears(0.0, episode())
    assert operator.hears(18.0, {}) == [OVER]
    assert operator.hears(18.0 + after, episode()) == ["no_bind"]


def test_a_second_over_within_the_quiet_is_told_at_its_end() -> None:
    operator = Operator()
    for now, episodes in ((0.0, episode()), (10.0, {}), (20.0, episode())):
        operator.hears(now, episodes)
    assert operator.hears(30.0, {}) == []
    assert operator.hears(10.0 + QUIET_S - 0.001, {}) == []
    assert operator.hears(10.0 + QUIET_S, {}) == [OVER]
    assert operator.hears(1000.0, {}) == []


def test_what_opens_again_before_its_over_was_told_goes_on_being_told_as_stuck() -> None:
    operator = Operator()
    for now, episodes in ((0.0, episode()), (10.0, {}), (20.0, episode()), (30.0, {})):
        operator.hears(now, episodes)
    assert operator.hears(40.0, episode()) == []
    assert [word for _, word in operator.read][-1] == "no_bind"
    assert operator.hears(10.0 + QUIET_S, episode()) == []
    assert operator.hears(100.0, {}) == [OVER]


def test_without_a_quiet_time_everything_is_told() -> None:
    operator = Operator(quiet_s=0.0)
    for now in range(10):
        operator.hears(float(now), {} if now % 2 else episode())
    assert len(operator.read) == 10


def test_a_longer_quiet_time_holds_back_longer() -> None:
    operator = Operator(quiet_s=6000.0)
    operator.hears(0.0, episode(Reason.NO_WINDOW))
    assert operator.hears(5999.0, episode(Reason.THROTTLED)) == []
    assert operator.hears(6000.0, episode(Reason.THROTTLED)) == ["throttled"]


def test_spots_are_told_by_themselves_and_forgotten() -> None:
    operator = Operator()
    other = {
        Spot(2, "carrier"): Standstill(WaitingGroup(2, "carrier", Reason.NO_BIND), 60.0, "", {})
    }
    assert operator.hears(0.0, episode()) == ["no_bind"]
    assert operator.hears(1.0, episode() | other) == ["no_bind"]
    assert operator.hears(2.0, {}) == [OVER, OVER]
    operator.hears(2.0 + QUIET_S, {})
    assert operator.telling._told == {}


# With the watchdog ----------------------------------------------------------------------------


def test_a_carrier_that_answers_nothing_is_never_told_as_over() -> None:
    """Its window is full, and after each timeout it is throttled for a while: for ten minutes."""
    operator = Operator()
    for now in range(0, 601, EVERY_S):
        reason = Reason.THROTTLED if now // 30 % 2 else Reason.NO_WINDOW
        operator.sees(float(now), reason, left=0)
    assert operator.read[0] == (60.0, "no_window")
    assert {word for _, word in operator.read} <= {"no_window", "throttled"}
    assert operator.most_in_a_quiet_time() == {False: 1}


FlapOf = Callable[[int], tuple[Reason, int]]


def flapping(period: int) -> FlapOf:
    """A bind that is up for one look in each period, and one message leaves."""
    return lambda now: (Reason.NO_BIND if now % period else Reason.NO_WINDOW, now // period)


@pytest.mark.parametrize("period", [10, 65, 70, 100, 130])
@pytest.mark.parametrize("down_for_good", [True, False])
def test_ten_minutes_of_flapping_are_few_alerts_and_the_last_is_right(
    period: int, down_for_good: bool
) -> None:
    operator = Operator()
    flap = flapping(period)
    for now in range(0, 600, EVERY_S):
        operator.sees(float(now), *flap(now))
    left = 600 // period
    for now in range(600, 800, EVERY_S):
        if down_for_good:
            operator.sees(float(now), Reason.NO_BIND, left)
        else:
            operator.sees(float(now), Reason.RATE, left + now)
    most = operator.most_in_a_quiet_time()
    assert most[True] <= 1
    assert most[False] <= 2
    if down_for_good:
        assert operator.read[-1][1] == "no_bind"
    elif operator.read:
        at, word = operator.read[-1]
        assert word == OVER
        assert at <= 600 + QUIET_S


def test_episodes_that_flap_at_every_look_are_bounded_and_the_last_word_is_right() -> None:
    """With a patience of nothing: open and over at every other look, for ten minutes."""
    for last in ({}, episode()):
        operator = Operator()
        for now in range(0, 600, EVERY_S):
            operator.hears(float(now), {} if now // EVERY_S % 2 else episode())
        for now in range(600, 600 + int(QUIET_S) + 1, EVERY_S):
            operator.hears(float(now), last)
        assert operator.most_in_a_quiet_time() == {False: 2, True: 1}
        assert 10 <= len(operator.read) <= 22
        assert operator.read[-1][1] == ("no_bind" if last else OVER)
