"""The pacer (docs/spec/messaging-services.md#throughput-and-queues, docs/reliability.md#order)."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from pacing_builders import Mail, Rates, drain, mails, plenty

from gateway.pacing.pacer import Pacer


def pacer_with(*items: Mail, rates: Rates | None = None) -> Pacer[Mail]:
    pacer: Pacer[Mail] = Pacer(rates or Rates())
    for item in items:
        pacer.enqueue(item.sender_id, item, 0.0)
    return pacer


def numbers(items: list[Mail]) -> list[int]:
    return [item.number for item in items]


def test_an_idle_pacer_has_nothing_to_do() -> None:
    pacer = pacer_with()
    assert pacer.release(0.0, plenty) == []
    assert pacer.next_time() is None
    assert pacer.backlog(1) == 0


def test_a_message_that_can_go_goes_at_once() -> None:
    [mail] = mails(1)
    pacer = pacer_with(mail)
    assert pacer.next_time() == 0.0
    assert pacer.release(0.0, plenty) == [mail]
    assert (pacer.backlog(1), pacer.waiting(1)) == (1, 0)
    pacer.done(mail)
    assert pacer.backlog(1) == 0


def test_messages_leave_in_acceptance_order_at_the_senders_rate() -> None:
    sent = drain(pacer_with(*mails(5)), until=10.0)
    assert [at for at, _ in sent] == pytest.approx([0, 1, 2, 3, 4])
    assert numbers([item for _, item in sent]) == [0, 1, 2, 3, 4]


def test_segments_are_what_is_counted_and_taken_at_once() -> None:
    first, second = mails(2, segments=3)
    sent = drain(pacer_with(first, second), until=10.0)
    assert [at for at, _ in sent] == pytest.approx([0, 3])


def test_destination_classes_have_their_own_rate_and_do_not_hold_each_other_up() -> None:
    slow = mails(3, destination_class=1)
    fast = [Mail(number=9, recipient="+4474", destination_class=0)]
    rates = Rates(classes={(1, 1): 1.0, (1, 0): 10.0})
    sent = drain(pacer_with(*slow, *fast, rates=rates), until=10.0)
    assert (0.0, fast[0]) in sent


def test_one_message_per_recipient_is_in_flight() -> None:
    first, second = Mail(number=0), Mail(number=1)
    other = Mail(number=2, recipient="+1415")
    pacer = pacer_with(first, second, other, rates=Rates(10.0))
    assert pacer.release(0.0, plenty) == [first, other]
    assert pacer.next_time() == 1e9  # only the expiry
    pacer.done(first)
    assert pacer.next_time() == 0.0
    assert pacer.release(0.0, plenty) == [second]


def test_a_message_let_go_stands_where_it_was_accepted() -> None:
    first, second = Mail(number=0), Mail(number=3)
    older, newer = mails(2), [Mail(number=4, recipient="+33"), Mail(number=5, recipient="+34")]
    older[0].number, older[1].number = 1, 2
    pacer = pacer_with(first, *older, second, *newer)
    sent: list[int] = []
    now = 0.0
    while (following := pacer.next_time()) is not None and following < 100:
        now = following
        for item in pacer.release(now, plenty):
            sent.append(item.number)
            pacer.done(item)
    assert sent == [0, 1, 2, 3, 4, 5]


def test_a_message_put_back_keeps_its_place_at_the_head() -> None:
    first, second, third = mails(3)
    pacer = pacer_with(first, second, third, rates=Rates(2.0))
    assert pacer.release(0.0, plenty) == [first, second]
    pacer.put_back(second)
    pacer.put_back(first, not_before=5.0)
    assert pacer.release(4.9, plenty) == []
    assert pacer.backlog(1) == 3
    assert pacer.next_time() == pytest.approx(5.0)
    assert pacer.release(5.0, plenty) == [first, second]
    pacer.done(first)
    pacer.done(second)
    assert [item for _, item in drain(pacer, until=20.0, start=5.0)] == [third]


def test_mail_behind_a_message_put_back_does_not_overtake_it() -> None:
    first, second = Mail(number=0), Mail(number=1)
    pacer = pacer_with(first, second, rates=Rates(10.0))
    assert pacer.release(0.0, plenty) == [first]
    pacer.put_back(first)
    assert pacer.release(0.0, plenty) == [first]
    pacer.done(first)
    assert pacer.release(0.0, plenty) == [second]


def test_tokens_are_returned_only_for_what_never_left() -> None:
    [mail] = mails(1)
    pacer = pacer_with(mail)
    pacer.release(0.0, plenty)
    pacer.put_back(mail, refund=True)
    assert pacer.release(0.0, plenty) == [mail]
    pacer.put_back(mail)
    assert pacer.release(0.0, plenty) == []


def test_the_window_is_never_overfilled() -> None:
    pacer = pacer_with(*mails(10, segments=2), rates=Rates(100.0))
    assert len(pacer.release(0.0, lambda _: 7)) == 3
    assert pacer.next_time() == 1e9
    assert pacer.release(0.0, lambda _: 0) == []


def test_a_message_larger_than_the_window_goes_alone() -> None:
    large, small = mails(2)
    large.segments = 12
    pacer = pacer_with(large, small, rates=Rates(100.0))
    assert pacer.release(0.0, lambda _: 10) == [large]
    pacer = pacer_with(large, rates=Rates(100.0))
    assert pacer.release(0.0, lambda _: 0) == []


@pytest.mark.parametrize(
    "rates",
    [
        Rates(100.0, carriers={1: 2.0}),
        Rates(100.0, accounts={1: 2.0}),
        Rates(100.0, campaigns=dict.fromkeys(range(10), ("A2P", 2.0))),
    ],
    ids=["connector", "account", "campaign"],
)
def test_shared_buckets_hold_for_all_senders_together(rates: Rates) -> None:
    items = mails(20)
    for item in items:
        item.sender_id = item.number % 10
    sent = drain(pacer_with(*items, rates=rates), until=100.0)
    assert len(sent) == 20
    assert sent[-1][0] == pytest.approx(9.0, abs=1.2)
    assert sum(at < 5.0 for at, _ in sent) <= 11
    assert Counter(item.sender_id for _, item in sent[:10]) == Counter(range(10))


def test_a_bulk_service_cannot_starve_another_on_the_same_connector() -> None:
    bulk = mails(500, account_id=1)
    for item in bulk:
        item.sender_id = item.number % 50
    one = [Mail(number=n, account_id=2, sender_id=99, recipient=f"+44{n}") for n in range(50)]
    rates = Rates(100.0, carriers={1: 10.0})
    sent = drain(pacer_with(*bulk, *one, rates=rates), until=100.0)
    first = [item.account_id for at, item in sent if at < 8.0]
    assert first.count(2) == pytest.approx(len(first) / 2, abs=8)


def test_accounts_on_one_sender_share_it_by_segments() -> None:
    long = mails(100, account_id=1, segments=4)
    short = [Mail(account_id=2, recipient=f"+44{n}") for n in range(400)]
    sent = drain(pacer_with(*long, *short, rates=Rates(10.0)), until=40.0)
    got: Counter[int] = Counter()
    for _, item in sent:
        got[item.account_id] += item.segments
    assert got[1] == pytest.approx(got[2], abs=16)


def test_a_smaller_priority_goes_first() -> None:
    normal = mails(3)
    urgent = Mail(number=9, recipient="+1", priority=-1)
    sent = drain(pacer_with(*normal, urgent), until=10.0)
    assert sent[0][1] is urgent


def test_order_to_a_recipient_wins_over_priority() -> None:
    first, urgent = Mail(number=0), Mail(number=1, priority=-1)
    sent = drain(pacer_with(first, urgent), until=10.0)
    assert numbers([item for _, item in sent]) == [0, 1]


def test_an_expired_message_never_goes_and_is_reported() -> None:
    items = mails(5, expires_at=2.5)
    pacer = pacer_with(*items)
    sent = drain(pacer, until=2.9)
    assert numbers([item for _, item in sent]) == [0, 1, 2]
    assert pacer.next_time() == 3.0
    assert numbers(pacer.expire(3.0)) == [3, 4]
    assert pacer.backlog(1) == 0
    assert pacer.expire(3.0) == []


def test_what_the_clock_of_deadlines_was_set_past_never_goes() -> None:
    items = [Mail(number=n, expires_at=at) for n, at in enumerate((600.0, 7_200.0))]
    pacer = pacer_with(*items, rates=Rates(0.0))
    assert pacer.release(0.0, plenty) == []
    assert pacer.expire(1.0) == []
    assert numbers(pacer.expire(2.0, 3_600.0)) == [0]
    assert pacer.next_time() == 3_600.0, "the other one's, on the clock of pacing"


def test_a_clock_of_deadlines_that_was_set_back_ends_nothing_early_nor_for_ever() -> None:
    pacer = pacer_with(*mails(1, expires_at=600.0), rates=Rates(0.0))
    assert pacer.release(0.0, plenty) == []
    assert pacer.expire(4_199.0, -3_600.0) == []
    assert pacer.next_time() == 4_200.0
    assert numbers(pacer.expire(4_200.0, -3_600.0)) == [0]


def test_a_head_that_the_clock_was_set_past_is_not_released() -> None:
    pacer = pacer_with(*mails(1, expires_at=600.0))
    assert pacer.expire(1.0, 598.0) == []
    assert pacer.release(3.0, plenty) == []
    assert numbers(pacer.expire(3.0, 598.0)) == [0]


def test_an_expired_owner_lets_the_next_to_its_recipient_go() -> None:
    blocker = mails(1)
    first, second = Mail(number=1, expires_at=0.5), Mail(number=2)
    pacer = pacer_with(*blocker, first, second)
    expired: list[Mail] = []
    sent = [item for _, item in drain(pacer, until=10.0, expired=expired)]
    assert sent == [*blocker, second]
    assert expired == [first]


def test_expiry_that_is_due_before_anything_can_go_wakes_the_caller() -> None:
    pacer = pacer_with(*mails(1, expires_at=4.0), rates=Rates(0.0))
    assert pacer.release(0.0, plenty) == []
    assert pacer.next_time() == 4.0
    assert len(pacer.expire(4.0)) == 1


def test_a_removed_message_does_not_go() -> None:
    first, second, third = mails(3)
    pacer = pacer_with(first, second, third)
    assert pacer.remove(second)
    assert not pacer.remove(second)
    assert pacer.backlog(1) == 2
    assert [item for _, item in drain(pacer, until=10.0)] == [first, third]


def test_a_message_in_flight_cannot_be_removed() -> None:
    [mail] = mails(1)
    pacer = pacer_with(mail)
    pacer.release(0.0, plenty)
    assert not pacer.remove(mail)


def test_a_removed_owner_and_a_removed_follower_leave_the_rest_in_order() -> None:
    chain = [Mail(number=n) for n in range(5)]
    pacer = pacer_with(*chain, rates=Rates(10.0))
    assert pacer.remove(chain[0])
    assert pacer.remove(chain[2])
    sent = drain(pacer, until=10.0)
    assert numbers([item for _, item in sent]) == [1, 3, 4]


def test_a_message_removed_and_queued_again_goes_once_and_last() -> None:
    first, second, third = mails(3)
    pacer = pacer_with(first, second, third)
    assert pacer.remove(second)
    pacer.enqueue(1, second, 0.0)
    sent = drain(pacer, until=10.0)
    assert [item for _, item in sent] == [first, third, second]


def test_a_message_can_be_moved_to_another_sender() -> None:
    first, second = mails(2)
    pacer = pacer_with(first, second)
    assert pacer.remove(second)
    second.sender_id = 2
    pacer.enqueue(2, second, 0.0)
    assert set(numbers(pacer.release(0.0, plenty))) == {0, 1}


def test_rates_can_change_while_mail_waits() -> None:
    rates = Rates(0.0)
    pacer = pacer_with(*mails(3), rates=rates)
    assert pacer.release(0.0, plenty) == []
    rates.default = 100.0
    pacer.rates_changed(1.0)
    assert len(drain(pacer, until=5.0, start=1.0)) == 3


def test_a_limit_bounds_a_batch_and_the_rest_is_due_at_once() -> None:
    pacer = pacer_with(*mails(10), rates=Rates(100.0))
    assert len(pacer.release(0.0, plenty, limit=4)) == 4
    assert pacer.next_time() == 0.0


def test_carriers_are_independent() -> None:
    stuck, free = mails(5, carrier_id=1), mails(5, carrier_id=2, sender_id=2)
    for item in free:
        item.recipient += "0"
    pacer = pacer_with(*stuck, *free, rates=Rates(100.0))
    out = pacer.release(0.0, lambda carrier: 100 if carrier == 2 else 0)
    assert out == free


def test_done_for_a_message_that_is_not_in_flight_is_ignored() -> None:
    pacer = pacer_with()
    pacer.done(Mail())


def deep_size(thing: object, seen: set[int]) -> int:
    """Bytes of what a sender keeps for itself."""
    if id(thing) in seen or isinstance(thing, type) or callable(thing):
        return 0
    seen.add(id(thing))
    size = sys.getsizeof(thing)
    if isinstance(thing, dict):
        return size + sum(deep_size(k, seen) + deep_size(v, seen) for k, v in thing.items())
    for name in getattr(type(thing), "__slots__", ()):
        size += deep_size(getattr(thing, name), seen)
    return size


def test_an_idle_sender_costs_less_than_2_kb() -> None:
    items = [Mail(number=n, destination_class=n % 3, recipient=str(n)) for n in range(300)]
    pacer = pacer_with(*items, rates=Rates(100.0))
    drain(pacer, until=100.0)
    assert pacer.backlog(1) == 0
    assert deep_size(pacer._senders[1], set()) < 2048


def test_an_idle_sender_admits_a_message_at_once() -> None:
    first, second, third = mails(3)
    pacer = pacer_with(rates=Rates(2.0))
    assert pacer.admit(first, 0.0, plenty)
    assert pacer.backlog(1) == 1
    assert pacer.admit(second, 0.0, plenty)
    assert not pacer.admit(third, 0.0, plenty)
    pacer.enqueue(1, third, 0.0)
    pacer.done(first)
    pacer.done(second)
    assert [item for _, item in drain(pacer, until=5.0)] == [third]


def test_nothing_is_admitted_past_what_waits_or_is_missing() -> None:
    mail = Mail(recipient="+1")
    assert not pacer_with(*mails(1)).admit(mail, 0.0, plenty)  # its line has mail
    other = mails(1, sender_id=2)
    assert not pacer_with(*other).admit(mail, 0.0, plenty)  # its connector has
    assert not pacer_with().admit(mail, 0.0, lambda _: 0)
    assert not pacer_with(rates=Rates(0.0)).admit(mail, 0.0, plenty)
    for rates in (Rates(accounts={1: 0.0}), Rates(carriers={1: 0.0})):
        assert not pacer_with(rates=rates).admit(mail, 0.0, plenty)
    pacer = pacer_with(rates=Rates(10.0))
    assert pacer.admit(Mail(), 0.0, plenty)
    assert not pacer.admit(Mail(), 0.0, plenty)  # the recipient has one in flight


def test_a_withdrawn_message_leaves_nothing_behind() -> None:
    first, second = mails(2)
    pacer = pacer_with(rates=Rates(1.0, accounts={1: 1.0}, carriers={1: 1.0}))
    assert pacer.admit(first, 0.0, plenty)
    pacer.withdraw(first)
    assert pacer.backlog(1) == 0
    assert pacer.admit(second, 0.0, plenty)
    pacer.withdraw(first)  # no more in flight: ignored


def test_an_admitted_message_that_is_put_back_goes_first() -> None:
    first, second = mails(2)
    pacer = pacer_with(rates=Rates(10.0))
    assert pacer.admit(first, 0.0, plenty)
    pacer.enqueue(1, second, 0.0)
    pacer.put_back(first)
    assert pacer.release(0.0, plenty) == [first, second]
