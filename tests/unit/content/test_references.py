"""References of messages to one recipient differ, across a crash too."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.content.references import (
    References,
    concatenation_reference,
    message_reference,
)


def given(wall: float, *segments: int) -> list[int]:
    """What a run that begins at `wall` gives to one pair's first messages, of so many segments."""
    references = References(wall)
    return [references.next(1, "+447900000000", count) for count in segments]


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("of", [message_reference, concatenation_reference])
def test_a_run_after_a_crash_does_not_give_the_last_references_again(
    of: Callable[[int], int], segments: int
) -> None:
    for seconds in (1.0, 5.0, 20.0):
        before = given(1_800_000_000.0, *(segments,) * int(1_000 * seconds))
        after = given(1_800_000_000.0 + seconds, *(segments,) * 1_000)
        assert not set(map(of, before)) & set(map(of, after))


def test_references_are_never_zero_which_says_none() -> None:
    many = given(1_800_000_000.0, *(1, 3) * 35_000)
    assert 0 not in map(message_reference, many)
    assert 0 not in map(concatenation_reference, many)
    assert all(-(1 << 31) <= one < 1 << 31 for one in many)


def test_short_and_long_messages_to_one_recipient_have_no_reference_in_common() -> None:
    lengths = (1, 2, 1, 1, 2, 1, 2) * 500
    both = given(1_800_000_000.0, *lengths)
    assert len(set(map(message_reference, both))) == len(both)
    long = [concatenation_reference(one) for one, n in zip(both, lengths, strict=True) if n > 1]
    first = long[0]
    assert long == [(first + n - 1) % 0xFFFF + 1 for n in range(len(long))]  # one after the other
