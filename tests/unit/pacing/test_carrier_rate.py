"""A carrier whose rate changes while messages wait for it."""

from __future__ import annotations

from pacing_builders import Mail, Rates, mails, plenty

from gateway.pacing.bucket import TokenBucket
from gateway.pacing.pacer import Pacer


def queued(rates: Rates, count: int, **given: object) -> Pacer[Mail]:
    pacer: Pacer[Mail] = Pacer(rates)
    for mail in mails(count, **given):
        pacer.enqueue(mail.sender_id, mail, 0.0)
    return pacer


def released(pacer: Pacer[Mail], now: float) -> list[int]:
    return [mail.number for mail in pacer.release(now, plenty)]


def test_a_carrier_that_is_to_rest_gets_nothing_before_its_next_token() -> None:
    rates = Rates(default=1000.0)
    pacer = queued(rates, 20)
    rates.carriers[1] = 2.0
    pacer.carrier_rate_changed(1, 0.0, rest=True)
    assert released(pacer, 0.0) == []
    assert pacer.next_time() == 0.5
    assert released(pacer, 0.5) == [0]
    assert released(pacer, 0.9) == []
    assert released(pacer, 1.0) == [1]


def test_what_was_refused_goes_first_when_the_carrier_takes_again() -> None:
    rates = Rates(default=1000.0)
    pacer = queued(rates, 5)
    first = pacer.release(0.0, plenty)
    assert [mail.number for mail in first] == [0, 1, 2, 3, 4]
    rates.carriers[1] = 1.0
    pacer.carrier_rate_changed(1, 0.1, rest=True)
    for mail in (first[3], first[1], first[2]):
        pacer.put_back(mail)
    found: list[int] = []
    for second in range(2, 8):
        found += released(pacer, float(second))
    assert found == [1, 2, 3]


def test_a_raised_rate_is_used_at_once_and_a_lifted_one_lets_all_go() -> None:
    rates = Rates(default=1000.0, carriers={1: 0.1})
    pacer = queued(rates, 30)
    assert released(pacer, 0.0) == [0]
    next_time = pacer.next_time()
    assert next_time is not None
    assert next_time > 5
    rates.carriers[1] = 10.0
    pacer.carrier_rate_changed(1, 1.0)
    assert pacer.next_time() == 1.0
    released(pacer, 1.0)
    assert len(released(pacer, 2.0)) >= 9
    del rates.carriers[1]
    pacer.carrier_rate_changed(1, 2.0)
    assert released(pacer, 2.0)[-1] == 29


def test_other_carriers_do_not_notice() -> None:
    rates = Rates(default=1000.0)
    pacer = queued(rates, 5)
    for mail in mails(5, carrier_id=2, sender_id=2):
        pacer.enqueue(2, mail, 0.0)
    rates.carriers[1] = 0.1
    pacer.carrier_rate_changed(1, 0.0, rest=True)
    assert [mail.carrier_id for mail in pacer.release(0.0, plenty)] == [2] * 5


def test_a_carrier_that_nothing_waits_for_may_change_too() -> None:
    pacer: Pacer[Mail] = Pacer(Rates())
    pacer.carrier_rate_changed(7, 0.0, rest=True)
    assert pacer.next_time() is None


def test_a_drained_bucket_has_no_burst_and_a_debt_stays_a_debt() -> None:
    bucket = TokenBucket(5.0)
    bucket.drain(0.0)
    assert bucket.level(0.0) == 0.0
    assert bucket.ready_at(1, 0.0) == 0.2
    bucket.take(3, 0.0)
    bucket.drain(0.0)
    assert bucket.level(0.0) == -3.0
