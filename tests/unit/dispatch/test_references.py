"""References of messages to one recipient differ, across a crash too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.dispatch.directory import Directory
from gateway.dispatch.message import IdSource, Message
from gateway.dispatch.route import Router


@dataclass
class At:
    """A clock that stands."""

    now: float

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def given(wall: float, count: int, segments: int) -> list[int]:
    """The references that a run which begins at `wall` gives to one pair's first messages."""
    router = Router(Directory(), At(wall))
    next_id = IdSource(lambda: wall, lambda: 0.0, lambda bits: 0)
    references = []
    for _ in range(count):
        message = Message(next_id(), 1, "+447900000000", "text")
        message.sender_id, message.segments = 1, segments
        references.append(router._reference(message))
    return references


@pytest.mark.parametrize("segments", [1, 3])
def test_a_run_after_a_crash_does_not_give_the_last_references_again(segments: int) -> None:
    for seconds in (1.0, 5.0, 20.0):
        before = given(1_800_000_000.0, int(1_000 * seconds), segments)
        after = given(1_800_000_000.0 + seconds, 1_000, segments)
        assert not set(before) & set(after)


def test_references_are_never_zero_which_says_none() -> None:
    assert 0 not in given(1_800_000_000.0, 70_000, 1)
