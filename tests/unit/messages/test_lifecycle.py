"""The life of a message: every pair of status and event, and the callbacks it owes."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from gateway.content.encoding import encode
from gateway.messages.lifecycle import (
    MOVES,
    AnswerLost,
    Canceled,
    Claimed,
    Lifecycle,
    MessageEvent,
    Receipted,
    Refused,
    SenderChosen,
    Submitted,
    Undeliverable,
    advance,
    callback_events,
)
from gateway.messages.message import Flag, IdSource, Message, Status, created_at
from gateway.runtime.clock import SystemClock

EVENTS: tuple[MessageEvent, ...] = (
    SenderChosen(),
    Claimed(),
    Submitted(),
    Refused(30008),
    Undeliverable(30011),
    Receipted(delivered=True),
    Receipted(delivered=False, code=30005),
    AnswerLost(),
    Canceled(),
)
next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).randbytes)


def message(status: Status = Status.ACCEPTED, *, service_id: int | None = 1) -> Message:
    one = Message(next_id(), 1, "+441632960675", "hello", service_id=service_id)
    one.status = status
    one.content = encode("hello")
    one.segments = 1
    return one


@pytest.mark.parametrize(("status", "event"), list(product(Status, EVENTS)))
def test_a_pair_that_is_not_in_the_table_changes_nothing(
    status: Status, event: MessageEvent
) -> None:
    one = message(status)
    moved = advance(one, event, 10.0)
    assert moved is ((status, type(event)) in MOVES)
    if (status, type(event)) in MOVES:
        assert one.status >= status
    else:
        assert one.status is status
        assert (one.done_at, one.sent_at, one.error_code) == (0.0, 0.0, 0)


def test_a_final_message_is_moved_by_nothing() -> None:
    assert not [status for status, _ in MOVES if status.final]


def test_the_ordinary_life() -> None:
    one = message()
    for at, (event, status) in enumerate(
        [
            (SenderChosen(), Status.QUEUED),
            (Claimed(), Status.SENDING),
            (Submitted(), Status.SENT),
            (Receipted(delivered=True, done_date="2411242130"), Status.DELIVERED),
        ],
        start=1,
    ):
        assert advance(one, event, float(at))
        assert one.status is status
    assert (one.queued_at, one.sent_at, one.done_at) == (1.0, 3.0, 4.0)
    assert one.done_date == "2411242130"
    assert one.waiting is False


def test_a_receipt_before_the_answer_settles_a_message_that_is_sending() -> None:
    one = message(Status.SENDING)
    advance(one, Receipted(delivered=True), 5.0)
    assert one.status is Status.DELIVERED
    assert not advance(one, Submitted(), 6.0)
    assert one.sent_at == 5.0


def test_a_lost_answer_marks_a_possible_duplicate() -> None:
    one = message(Status.SENDING)
    advance(one, AnswerLost(), 1.0)
    assert one.flags & Flag.POSSIBLE_DUPLICATE
    assert one.status is Status.SENDING


def owed(one: Message) -> list[str]:
    one.committed = one.status
    return [status.shown for status, _ in callback_events(one)]


def test_callbacks_follow_the_committed_life() -> None:
    one = message()
    assert owed(one) == []
    advance(one, SenderChosen(), 1.0)
    assert owed(one) == ["queued"]
    advance(one, Claimed(), 2.0)
    assert owed(one) == ["queued"]
    advance(one, Submitted(), 3.0)
    assert owed(one) == ["queued", "sent"]
    advance(one, Receipted(delivered=False, code=30005), 4.0)
    assert owed(one) == ["queued", "sent", "undelivered"]


def test_a_plain_from_is_not_told_that_it_is_queued() -> None:
    one = message(service_id=None)
    for event in (SenderChosen(), Claimed(), Submitted()):
        advance(one, event, 1.0)
    assert owed(one) == ["sent"]


def test_a_message_without_a_sender_is_told_its_failure_only() -> None:
    one = message()
    advance(one, Refused(21703), 1.0)
    assert owed(one) == ["failed"]


def test_nothing_is_owed_before_its_commit() -> None:
    one = message()
    for event in (SenderChosen(), Claimed(), Submitted(), Receipted(delivered=True)):
        advance(one, event, 1.0)
    one.committed = Status.SENDING
    assert [status.shown for status, _ in callback_events(one)] == ["queued"]


def test_ids_rise_strictly_even_when_the_clock_steps_back() -> None:
    times = iter([100.0, 100.0, 99.0, 50.0, 101.0])
    source = IdSource(lambda: next(times), lambda: 0.0, Random(7).randbytes)
    ids = [source() for _ in range(5)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5
    assert created_at(ids[0]) == 100.0
    assert created_at(ids[-1]) == 101.0


class Clocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.now, self.offset = 1_000.0, 1_000_000.0

    def source(self) -> IdSource:
        return IdSource(lambda: self.now + self.offset, lambda: self.now, Random(7).randbytes)


def test_an_age_is_true_while_nobody_sets_the_clock_and_after_it_was_set_forward() -> None:
    clocks = Clocks()
    source = clocks.source()
    one = source()
    clocks.now += 7
    assert source.age(one) == pytest.approx(7, abs=0.01)
    clocks.offset += 3_600
    two = source()
    clocks.now += 5
    assert source.age(two) == pytest.approx(5, abs=0.01)


def test_after_the_clock_was_set_back_ids_still_age_and_become_true_again() -> None:
    clocks = Clocks()
    source = clocks.source()
    source()
    clocks.offset -= 3_600
    one = source()
    clocks.now += 10
    assert source.age(one) == pytest.approx(5, abs=0.01)
    assert source() > one
    clocks.now += 7_200
    assert created_at(source()) == pytest.approx(clocks.now + clocks.offset, abs=0.01)


def test_a_source_goes_on_after_what_another_one_made() -> None:
    clocks = Clocks()
    former = clocks.source()
    before = [former() for _ in range(100)]
    clocks.offset -= 3_600
    clocks.now += 1
    source = clocks.source()
    source.follow(before[-1])
    ids = before + [source() for _ in range(100)]
    assert ids == sorted(ids)
    assert created_at(ids[100]) == pytest.approx(created_at(ids[99]), abs=0.01)
    clocks.now += 20
    assert source.age(ids[-1]) == pytest.approx(10, abs=0.1)


class Heard:
    """What a lifecycle told of its messages."""

    def __init__(self) -> None:
        self.changed: list[Message] = []
        self.unused: list[Message] = []
        self.lifecycle = Lifecycle(
            SystemClock(), lambda message, event: self.changed.append(message), self.unused.append
        )


def test_a_move_is_written_unless_its_transaction_does_it() -> None:
    heard, queued = Heard(), message(Status.QUEUED)
    assert heard.lifecycle.apply(queued, Claimed(), stored=True)
    assert heard.changed == []
    assert heard.lifecycle.apply(queued, Submitted())
    assert heard.changed == [queued]


def test_what_moves_nothing_is_not_written() -> None:
    heard, sent = Heard(), message(Status.SENT)
    assert not heard.lifecycle.apply(sent, Claimed())
    assert heard.changed == []


@pytest.mark.parametrize("event", [Refused(30036), Canceled()])
def test_what_ends_before_it_was_claimed_gives_its_mapping_and_its_text_back(
    event: MessageEvent,
) -> None:
    heard, waiting = Heard(), message(Status.QUEUED)
    waiting.waiting = True
    heard.lifecycle.apply(waiting, event)
    assert heard.unused == [waiting]
    assert waiting.content is None


def test_what_was_claimed_keeps_its_mapping() -> None:
    heard, claimed = Heard(), message(Status.SENDING)
    claimed.waiting = False
    heard.lifecycle.apply(claimed, Refused(30003))
    assert heard.unused == []
