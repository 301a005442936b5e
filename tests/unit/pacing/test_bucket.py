"""Token buckets (docs/spec/messaging-services.md#token-bucket)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pacing.bucket import WINDOW_S, TokenBucket


def test_a_full_bucket_lets_a_seconds_worth_go_at_once() -> None:
    bucket = TokenBucket(10.0)
    for _ in range(10):
        assert bucket.ready_at(1, 0.0) == 0.0
        bucket.take(1, 0.0)
    assert bucket.ready_at(1, 0.0) > 0.0


def test_a_long_message_goes_when_the_bucket_is_full_and_the_next_waits_for_its_parts() -> None:
    bucket = TokenBucket(1.0)
    assert bucket.ready_at(5, 0.0) == 0.0
    bucket.take(5, 0.0)
    assert bucket.level(0.0) == -4.0
    assert bucket.ready_at(1, 0.0) == pytest.approx(5.0)


def test_one_segment_per_second_is_spaced_by_a_second() -> None:
    bucket = TokenBucket(1.0)
    now, times = 0.0, []
    for _ in range(20):
        now = bucket.ready_at(1, now)
        bucket.take(1, now)
        times.append(now)
    assert times == pytest.approx(list(range(20)))


def test_a_rate_below_one_still_lets_a_message_go() -> None:
    bucket = TokenBucket(0.1)
    bucket.take(1, 0.0)
    assert bucket.ready_at(1, 0.0) == pytest.approx(10.0)


def test_rate_zero_is_never_ready() -> None:
    assert TokenBucket(0.0).ready_at(1, 5.0) == float("inf")


def test_a_burst_is_paid_back_within_ten_seconds_and_no_longer() -> None:
    bucket = TokenBucket(100.0)
    now, times = 0.0, []
    while now < 40.0:
        bucket.take(1, now)
        times.append(now)
        now = bucket.ready_at(1, now)
    assert sum(at <= 10.0 for at in times) <= 1001
    assert sum(20.0 <= at < 30.0 for at in times) >= 999


def test_a_late_wake_up_costs_next_to_nothing() -> None:
    bucket = TokenBucket(100.0)
    now, sent = 0.0, 0
    while now < 100.0:
        while bucket.ready_at(1, now) <= now:
            bucket.take(1, now)
            sent += 1
        now = bucket.ready_at(1, now) + 0.015
    assert sent >= 0.99 * 100 * 100


def test_tokens_given_back_can_be_used_again() -> None:
    bucket = TokenBucket(1.0)
    bucket.take(1, 0.0)
    bucket.give_back(1, 0.0)
    assert bucket.ready_at(1, 0.0) == 0.0


def test_a_new_rate_keeps_what_was_taken() -> None:
    bucket = TokenBucket(1.0)
    bucket.take(3, 0.0)
    bucket.set_rate(2.0, 0.0)
    assert bucket.ready_at(1, 0.0) == pytest.approx(1.5)


def test_a_bucket_is_full_again_when_nothing_is_owed() -> None:
    bucket = TokenBucket(10.0)
    assert bucket.full(0.0)
    bucket.take(1, 0.0)
    assert not bucket.full(5.0)
    assert bucket.full(11.0)


@given(
    rate=st.floats(0.1, 200.0),
    steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 12), st.booleans()), max_size=200),
)
def test_no_window_of_ten_seconds_holds_more_than_the_rate_and_one_message(
    rate: float, steps: list[tuple[float, int, bool]]
) -> None:
    bucket = TokenBucket(rate)
    now = 0.0
    sent: list[tuple[float, int]] = []
    for pause, segments, greedy in steps:
        now += pause
        for _ in range(40 if greedy else 1):
            ready = bucket.ready_at(segments, now)
            if ready > now + 30.0:
                break
            now = ready
            bucket.take(segments, now)
            sent.append((now, segments))
    largest = max((segments for _, segments in sent), default=0)
    first = 0
    total = 0
    for at, segments in sent:
        total += segments
        while sent[first][0] <= at - WINDOW_S:
            total -= sent[first][1]
            first += 1
        assert total <= rate * WINDOW_S + largest + 0.01


@given(st.floats(0.1, 100.0), st.floats(0.0, 20.0), st.integers(1, 12))
def test_ready_at_is_when_it_is_ready(rate: float, elapsed: float, segments: int) -> None:
    bucket = TokenBucket(rate)
    for _ in range(3):
        bucket.take(segments, 0.0)
    at = bucket.ready_at(segments, elapsed)
    assert at >= elapsed
    assert bucket.ready_at(segments, at) == pytest.approx(at)
