"""How long a bind waits, by what happened to it."""

from __future__ import annotations

from random import Random

import pytest

from smpp.backoff import Backoff, BackoffConfig, RefusalClass, classify


class Highest(Random):
    """A die that always shows its highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b


def backoff(**config: float) -> Backoff:
    return Backoff(BackoffConfig(**config), Highest())


def test_failures_double_the_bound_of_the_wait_up_to_the_most():
    one = backoff(first_s=1.0, most_s=10.0)
    assert [one.failed(0.0) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_session_that_lasted_starts_the_waits_anew_and_a_short_one_does_not():
    one = backoff(first_s=1.0, most_s=60.0, settled_s=10.0)
    waits = []
    for now in (0.0, 1.0, 2.0):
        one.bound(now)
        waits.append(one.lost(now + 0.1))
    assert waits == [1.0, 2.0, 4.0]
    one.bound(10.0)
    assert one.lost(20.0) == 1.0


def test_the_jitter_is_full():
    one = Backoff(BackoffConfig(first_s=64.0, most_s=64.0), Random(1))
    waits = [one.failed(0.0) for _ in range(500)]
    assert min(waits) < 1.0
    assert max(waits) > 63.0
    assert 28 < sum(waits) / 500 < 36


def test_a_thousand_failures_do_not_overflow():
    one = backoff()
    for _ in range(2000):
        assert one.failed(0.0) <= 60.0


@pytest.mark.parametrize(
    ("status", "wait"),
    [(0x0E, 300.0), (0x0F, 300.0), (0x08, 10.0), (0x0D, 10.0), (0x53, 120.0), (0x0401, 30.0)],
)
def test_each_class_has_its_own_wait_and_it_does_not_shrink(status, wait):
    one = backoff()
    for _ in range(3):
        assert one.refused(status, 0.0) == pytest.approx(wait * 1.1)


def test_wrong_credentials_are_never_hammered():
    one = Backoff(BackoffConfig(), Random(1))
    assert min(one.refused(0x0E, 0.0) for _ in range(100)) >= 300.0


def test_already_bound_waits_out_a_known_inactivity_timer():
    one = backoff(already_bound_s=120.0)
    one.lost(1000.0)
    assert one.refused(0x05, 1020.0) == pytest.approx(100.0 * 1.1)
    assert one.refused(0x05, 1130.0) == pytest.approx(120.0 * 1.1)


def test_already_bound_learns_the_timer_where_it_is_not_known():
    one = backoff(already_bound_probe_s=15.0, most_s=60.0)
    one.lost(1000.0)
    assert one.refused(0x05, 1001.0) == pytest.approx(15.0 * 1.1)
    assert one.refused(0x05, 1017.0) == pytest.approx(30.0 * 1.1)
    one.bound(1050.0)
    assert one.learned_s == 50.0
    one.lost(5000.0)
    assert one.refused(0x05, 5002.0) == pytest.approx(48.0 * 1.1)


def test_a_learned_timer_that_no_longer_holds_falls_back_to_probing():
    one = backoff(already_bound_probe_s=15.0, most_s=60.0)
    one.learned_s = 40.0
    one.lost(0.0)
    one.refused(0x05, 1.0)
    assert one.refused(0x05, 41.0) == pytest.approx(30.0 * 1.1)


def test_every_status_has_a_class():
    assert classify(0x05) is RefusalClass.ALREADY_BOUND
    assert {classify(status) for status in range(0x200)} == set(RefusalClass)


def test_a_configuration_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="first_s"):
        BackoffConfig(first_s=0)
    with pytest.raises(ValueError, match="first_s"):
        BackoffConfig(first_s=10, most_s=5)
