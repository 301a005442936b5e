"""What the pacer says of lines that wait: the watchdog and the metrics read it."""

from __future__ import annotations

from pacing_builders import Mail, Rates, mails, plenty

from gateway.pacing.pacer import HeldBy, Pacer


def none(carrier_id: int) -> int:
    return 0


def pacer_with(rates: Rates, *items: Mail) -> Pacer[Mail]:
    pacer: Pacer[Mail] = Pacer(rates)
    for item in items:
        pacer.enqueue(item.sender_id, item, 0.0)
    return pacer


def held(pacer: Pacer[Mail], now: float) -> list[tuple[int, HeldBy]]:
    return [(waits.left, waits.held) for waits in pacer.waits(now)]


def test_a_line_says_what_its_head_waits_for_and_how_much_has_left_it() -> None:
    first, second = mails(2)
    pacer = pacer_with(Rates(default=1.0), first, second)
    assert held(pacer, 0.0) == [(0, HeldBy.NOTHING)]
    assert pacer.release(0.0, plenty) == [first]
    assert held(pacer, 0.0) == [(0, HeldBy.RATE)]
    pacer.done(first)
    assert held(pacer, 0.0) == [(1, HeldBy.RATE)]
    assert held(pacer, 1.5) == [(1, HeldBy.NOTHING)]
    [waits] = pacer.waits(1.5)
    assert (waits.sender_id, waits.waiting, waits.head) == (1, 1, second)


def test_room_is_not_the_pacers_business() -> None:
    pacer = pacer_with(Rates(default=10.0), *mails(1))
    assert pacer.release(0.0, none) == []
    assert held(pacer, 0.0) == [(0, HeldBy.NOTHING)]


def test_the_carriers_rate_and_shared_ones_are_told_apart() -> None:
    by_carrier = pacer_with(Rates(default=10.0, carriers={1: 1.0}), *mails(2))
    by_account = pacer_with(Rates(default=10.0, accounts={1: 1.0}), *mails(2))
    for pacer, reason in ((by_carrier, HeldBy.CARRIER), (by_account, HeldBy.RATE)):
        assert len(pacer.release(0.0, plenty)) == 1
        assert held(pacer, 0.0) == [(0, reason)]


def test_what_is_only_behind_a_message_under_way_waits_for_that() -> None:
    first, second = Mail(), Mail()  # to one recipient
    pacer = pacer_with(Rates(default=10.0), first, second)
    assert pacer.release(0.0, plenty) == [first]
    assert held(pacer, 0.0) == [(0, HeldBy.FLIGHT)]
    [waits] = pacer.waits(0.0)
    assert waits.head is None
    pacer.put_back(first)  # it is not done: nothing has left
    assert held(pacer, 0.0) == [(0, HeldBy.NOTHING)]


def test_a_line_is_the_same_while_its_messages_are_under_way() -> None:
    first, second = Mail(), Mail()  # to one recipient
    pacer = pacer_with(Rates(default=10.0), first, second)
    [before] = pacer.waits(0.0)
    assert list(pacer.under_way()) == []
    pacer.release(0.0, plenty)
    [behind] = pacer.waits(0.0)
    assert behind.destination_class == before.destination_class
    pacer.remove(second)
    assert list(pacer.waits(0.0)) == []
    [flying] = pacer.under_way()
    assert (flying.sender_id, flying.destination_class) == (1, before.destination_class)
    assert (flying.left, flying.waiting, flying.head) == (0, 0, None)
    pacer.done(first)
    assert list(pacer.under_way()) == []


def test_what_is_given_up_without_an_answer_has_not_left() -> None:
    first, second, third = mails(3)
    pacer = pacer_with(Rates(default=10.0), first, second, third)
    assert pacer.release(0.0, lambda carrier_id: 2) == [first, second]
    pacer.done(first, left=False)
    assert held(pacer, 0.0) == [(0, HeldBy.NOTHING)]
    pacer.done(second)
    assert held(pacer, 0.0) == [(1, HeldBy.NOTHING)]


def test_senders_with_nothing_are_passed_over() -> None:
    [mail] = mails(1)
    pacer = pacer_with(Rates(), mail)
    assert list(pacer.queues()) == [(1, 1, 0)]
    pacer.release(0.0, plenty)
    assert list(pacer.queues()) == [(1, 0, 1)]
    assert list(pacer.waits(0.0)) == []
    pacer.done(mail)
    assert list(pacer.queues()) == []
