"""The rate of a carrier that shows signs of congestion."""

from __future__ import annotations

from itertools import pairwise

from gateway.channels.smpp.congestion import (
    CLIMB_S,
    HOLD_S,
    LEAST_RATE,
    LIFT_S,
    SPREAD_S,
    SPREAD_WIDE,
    Aimd,
    Spread,
)


def busy(aimd: Aimd, per_second: int, seconds: float, start: float = 0.0) -> float:
    """Let the carrier take that much; returns the time after it."""
    now = start
    for number in range(round(per_second * seconds)):
        now = start + number / per_second
        aimd.taken(now)
    return now


def climbed(aimd: Aimd, start: float, seconds: float) -> float:
    """Tick every second; returns the time after it."""
    for second in range(1, round(seconds) + 1):
        aimd.tick(start + second)
    return start + round(seconds)


def test_without_congestion_the_configured_rate_stands() -> None:
    aimd = Aimd(100.0, 0.0)
    now = busy(aimd, 100, 5)
    assert not aimd.tick(now + 1)
    assert aimd.rate == 100.0
    assert not aimd.lowered
    assert aimd.reason == ""


def test_a_refusal_halves_the_rate_and_says_why() -> None:
    aimd = Aimd(100.0, 0.0)
    now = busy(aimd, 100, 5)
    assert aimd.congested("ESME_RTHROTTLED", now, now)
    assert aimd.rate is not None
    assert 45 <= aimd.rate <= 50
    assert aimd.reason == "ESME_RTHROTTLED"


def test_the_refusals_of_one_window_count_once() -> None:
    aimd = Aimd(100.0, 0.0)
    now = busy(aimd, 100, 5)
    assert aimd.congested("throttled", now, now)
    rate = aimd.rate
    for number in range(100):
        assert not aimd.congested("throttled", now - 0.5, now + number / 1000)
    # Written before the step down, answered long after it: an echo.
    assert not aimd.congested("slow", now - 0.1, now + 20)
    assert aimd.rate == rate


def test_a_sign_within_the_hold_does_not_count_and_one_at_its_end_does() -> None:
    aimd = Aimd(100.0, 0.0)
    now = busy(aimd, 100, 5)
    aimd.congested("throttled", now, now)
    assert not aimd.congested("throttled", now + 0.1, now + HOLD_S - 0.01)
    assert aimd.congested("throttled", now + 0.1, now + HOLD_S)


def test_a_carrier_that_takes_a_tenth_is_found_with_one_step() -> None:
    aimd = Aimd(None, 0.0)
    now = busy(aimd, 10, 3)
    aimd.congested("throttled", now, now)
    assert aimd.rate is not None
    assert 4.5 <= aimd.rate <= 5.5


def test_a_carrier_that_refuses_everything_is_still_asked() -> None:
    aimd = Aimd(50.0, 0.0)
    for second in range(100):
        aimd.congested("full", second, second)
    assert aimd.rate is not None
    # What it climbs between two refusals is all there is left.
    assert LEAST_RATE <= aimd.rate <= 50 / CLIMB_S


def test_it_climbs_by_equal_steps_and_stops_at_the_configured_rate() -> None:
    aimd = Aimd(90.0, 0.0)
    now = busy(aimd, 90, 3)
    aimd.congested("throttled", now, now)
    rates = [aimd.rate or 0.0]
    for second in range(1, 40):
        aimd.tick(now + second)
        rates.append(aimd.rate or 0.0)
    steps = {round(b - a, 6) for a, b in pairwise(rates) if b < 90}
    assert steps == {3.0}
    assert rates[-1] == 90.0
    assert not aimd.lowered


def test_from_the_bottom_it_is_back_within_the_climb() -> None:
    aimd = Aimd(200.0, 0.0)
    for second in range(20):
        aimd.congested("full", second, second)
    now = climbed(aimd, 19, CLIMB_S - 2)
    assert aimd.lowered
    climbed(aimd, now, 3)
    assert aimd.rate == 200.0


def test_without_a_configured_rate_the_limit_goes_after_a_quiet_minute() -> None:
    aimd = Aimd(None, 0.0)
    now = busy(aimd, 20, 3)
    aimd.congested("throttled", now, now)
    climbed(aimd, now, LIFT_S - 1)
    assert aimd.rate is not None
    aimd.tick(now + LIFT_S)
    assert aimd.rate is None
    assert aimd.reason == ""


def test_without_a_configured_rate_it_returns_towards_the_best_it_saw() -> None:
    aimd = Aimd(None, 0.0)
    now = busy(aimd, 300, 3)
    quiet = now + 10
    aimd.congested("full", quiet, quiet)
    assert aimd.rate is not None
    assert aimd.rate < 1
    climbed(aimd, quiet, CLIMB_S)
    assert 295 <= aimd.rate <= 305


def test_a_pause_before_the_sign_does_not_count_as_a_slow_carrier_for_long() -> None:
    aimd = Aimd(60.0, 0.0)
    aimd.congested("full", 100.0, 100.0)
    assert aimd.rate == 0.5
    climbed(aimd, 100.0, 10)
    assert aimd.rate == 20.5


def test_another_configured_rate_holds_at_once_or_is_climbed_to() -> None:
    aimd = Aimd(100.0, 0.0)
    aimd.set_ceiling(30.0, 1.0)
    assert aimd.rate == 30.0
    now = busy(aimd, 30, 3, start=1.0)
    aimd.congested("throttled", now, now)
    aimd.set_ceiling(5.0, now)
    assert aimd.rate == 5.0
    aimd.set_ceiling(300.0, now)
    assert aimd.rate == 5.0
    climbed(aimd, now, CLIMB_S)
    assert aimd.rate == 300.0


def test_a_configured_rate_below_the_least_one_is_kept() -> None:
    aimd = Aimd(0.05, 0.0)
    aimd.congested("full", 1.0, 1.0)
    assert aimd.rate == 0.05


def test_a_few_refusals_speak_of_recipients_and_many_of_the_carrier() -> None:
    spread = Spread()
    for _ in range(20):
        spread.answered(False, 0.0)
    for _ in range(SPREAD_WIDE - 1):
        spread.answered(True, 0.0)
        assert not spread.wide
    spread.answered(True, 0.0)
    assert spread.wide


def test_refusals_are_forgotten_after_twenty_answers() -> None:
    spread = Spread()
    for _ in range(SPREAD_WIDE):
        spread.answered(True, 0.0)
    for _ in range(20 - SPREAD_WIDE):
        spread.answered(False, 0.0)
        assert spread.wide
    spread.answered(False, 0.0)
    assert not spread.wide


def test_after_a_pause_former_answers_say_nothing() -> None:
    spread = Spread()
    for _ in range(SPREAD_WIDE - 1):
        spread.answered(True, 0.0)
    spread.answered(True, SPREAD_S)
    assert spread.wide
    spread.answered(True, 2 * SPREAD_S + 0.01)
    assert not spread.wide


def test_a_stall_in_the_first_second_of_traffic_does_not_hide_what_the_carrier_took() -> None:
    """It climbs towards that, not from nothing towards one a second."""
    aimd = Aimd(None, 0.0)
    now = busy(aimd, 200, 0.5, start=100.0)  # after a long idle time
    assert aimd.congested("no answer in time", now, now + 3.0)
    assert aimd.best == 100.0
    climbed(aimd, now + 3.0, CLIMB_S / 2)
    assert aimd.rate is not None
    assert aimd.rate > 40.0


def test_a_pause_alone_is_no_measure() -> None:
    aimd = Aimd(None, 0.0)
    now = busy(aimd, 3, 1.0, start=0.0)
    aimd.tick(now + 10.0)
    assert aimd.congested("no answer in time", now, now + 10.0)
    assert aimd.best == 3.0
