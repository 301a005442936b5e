"""Expiry by the second (docs/spec/messaging-services.md#validity-period)."""

from __future__ import annotations

import math

from pacing_builders import Mail

from gateway.pacing.expiry import ExpiryWheel


def test_messages_are_due_at_the_first_full_second_after_they_expired() -> None:
    wheel: ExpiryWheel[Mail] = ExpiryWheel()
    early, late = Mail(expires_at=1.5), Mail(expires_at=7.0)
    wheel.add(late)
    wheel.add(early)
    assert wheel.next_time() == 2
    assert list(wheel.due(1.9)) == []
    assert list(wheel.due(2.0)) == [early]
    assert list(wheel.due(7.0)) == [late]
    assert wheel.next_time() == math.inf


def test_a_message_that_was_taken_out_is_not_due() -> None:
    wheel: ExpiryWheel[Mail] = ExpiryWheel()
    mail = Mail(expires_at=1.0)
    wheel.add(mail)
    assert wheel.take(mail) is mail
    assert wheel.take(mail) is None
    assert list(wheel.due(9.0)) == []


def test_a_second_that_empties_and_fills_again_stands_in_the_heap_once() -> None:
    wheel: ExpiryWheel[Mail] = ExpiryWheel()
    for _ in range(1_000):
        mail = Mail(expires_at=5.0)
        wheel.add(mail)
        wheel.take(mail)
    assert len(wheel._seconds) == 1


def test_a_message_may_never_expire() -> None:
    wheel: ExpiryWheel[Mail] = ExpiryWheel()
    mail = Mail(expires_at=math.inf)
    wheel.add(mail)
    assert list(wheel.due(1e9)) == []
    assert wheel.take(mail) is mail
