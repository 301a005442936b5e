"""Artificially inflated traffic is recognised, and ordinary traffic is not."""

from __future__ import annotations

from random import Random

from gateway.routing.pumping import (
    FACTOR,
    LEAST,
    NEW_COUNTRY,
    NEW_FOR_S,
    SEQUENCE,
    STEP,
    WINDOW_S,
    PumpingGuard,
)


def blocked(guard: PumpingGuard, numbers: list[int], now: float, country: str = "GB") -> int:
    return sum(guard.suspects(1, country, f"+{number}", now) for number in numbers)


def scattered(count: int, start: int = 447400000000) -> list[int]:
    """Numbers of one range that do not follow one another."""
    random = Random(1)
    return [start + random.randrange(0, 90_000) * 10 % 99_999 for _ in range(count)]


def test_a_range_that_gets_much_more_than_it_used_to_is_blocked_above_the_least() -> None:
    guard = PumpingGuard()
    assert blocked(guard, scattered(LEAST), 0.0) == 0
    assert blocked(guard, scattered(10), 0.0) == 10
    assert blocked(guard, scattered(10), WINDOW_S) == 0  # a new window


def test_what_a_range_always_gets_is_no_pumping() -> None:
    guard, now = PumpingGuard(), NEW_FOR_S * 10
    guard.suspects(1, "GB", "+441", 0.0)  # the country is not new
    for window in range(60):
        blocked(guard, scattered(LEAST), now + window * WINDOW_S)
    most = int(FACTOR * LEAST * 0.9)
    assert blocked(guard, scattered(most), now + 60 * WINDOW_S) == 0


def test_a_burst_to_a_country_that_is_new_is_blocked() -> None:
    random, guard = Random(2), PumpingGuard()
    numbers = [447_000_000_000 + random.randrange(10**9) for _ in range(NEW_COUNTRY + 5)]
    assert blocked(guard, numbers, 0.0) == 5
    old = PumpingGuard()
    old.suspects(1, "GB", "+441", 0.0)
    assert blocked(old, numbers, NEW_FOR_S) == 0


def test_recipients_that_follow_one_another_are_blocked() -> None:
    for step, expected in ((STEP, 5), (STEP + 1, 0)):
        numbers = [447400000000 + n * step for n in range(SEQUENCE + 5)]
        assert blocked(PumpingGuard(), numbers, 0.0) == expected


def test_accounts_are_counted_apart() -> None:
    guard = PumpingGuard()
    blocked(guard, scattered(LEAST), 0.0)
    assert not guard.suspects(2, "GB", "+447400000000", 0.0)
