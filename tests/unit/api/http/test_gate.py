"""The limits of one account, with the clock in hand."""

from __future__ import annotations

import pytest

from gateway.api.http.errors import ApiError
from gateway.api.http.limits import Gate


class Hand:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refusal(gate: Gate, account_id: int) -> ApiError:
    with pytest.raises(ApiError) as caught:
        gate.enter(account_id)
    assert (caught.value.code, caught.value.status) == (20429, 429)
    return caught.value


def test_requests_under_way_are_counted_per_account() -> None:
    gate = Gate(2, None, Hand())
    assert [gate.enter(1), gate.enter(1), gate.enter(2)] == [1, 2, 1]
    assert refusal(gate, 1).headers == {"Retry-After": "1"}
    gate.leave(1)
    assert gate.enter(1) == 2
    assert gate.refused == 1


def test_a_second_of_requests_may_come_at_once_and_then_at_the_rate() -> None:
    hand = Hand()
    gate = Gate(None, 4.0, hand)
    for _ in range(4):
        gate.enter(1)
    assert refusal(gate, 1).headers == {"Retry-After": "1"}
    hand.now += 0.25
    assert gate.enter(1) == 5
    refusal(gate, 1)
    hand.now += 3600
    for _ in range(4):
        gate.enter(1)
    refusal(gate, 1)
    assert gate.enter(2) == 1


def test_a_slow_rate_lets_one_through_and_says_how_long_to_wait() -> None:
    hand = Hand()
    gate = Gate(None, 0.1, hand)
    gate.enter(1)
    assert refusal(gate, 1).headers == {"Retry-After": "11"}
    hand.now += 10
    assert gate.enter(1) == 2
