"""The guard against machines that answer each other."""

from __future__ import annotations

from gateway.inbound.loops import GAP_S, MOST_REPLIES, LoopGuard


def test_so_many_replies_without_a_pause_and_no_more() -> None:
    guard = LoopGuard()
    allowed = [guard.allows("a", "b", now=float(at)) for at in range(MOST_REPLIES + 2)]
    assert allowed == [True] * MOST_REPLIES + [False] * 2


def test_both_directions_are_one_conversation() -> None:
    guard = LoopGuard()
    for at in range(MOST_REPLIES):
        assert guard.allows(*(("a", "b") if at % 2 else ("b", "a")), now=float(at))
    assert not guard.allows("a", "b", now=float(MOST_REPLIES))
    assert guard.allows("a", "c", now=float(MOST_REPLIES))


def test_a_pause_begins_again() -> None:
    guard = LoopGuard()
    for _ in range(MOST_REPLIES):
        assert guard.allows("a", "b", now=0.0)
    assert not guard.allows("a", "b", now=GAP_S - 0.1)
    assert guard.allows("a", "b", now=GAP_S)


def test_replies_with_pauses_are_never_too_many() -> None:
    guard = LoopGuard()
    assert all(guard.allows("a", "b", now=at * GAP_S) for at in range(5 * MOST_REPLIES))


def test_the_pairs_that_are_remembered_have_a_limit() -> None:
    guard = LoopGuard(most_pairs=2)
    for recipient in ("b", "b", "c", "d"):
        for _ in range(MOST_REPLIES):
            guard.allows("a", recipient, now=0.0)
    assert guard.allows("a", "b", now=0.0)  # forgotten
    assert not guard.allows("a", "d", now=0.0)
