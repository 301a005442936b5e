"""Deficit round robin between accounts and services
(docs/spec/messaging-services.md#queue-levels-and-fairness)."""

from __future__ import annotations

from collections import Counter

from gateway.pacing.fair import FairQueue


def serve(queue: FairQueue[tuple[str, int]], times: int) -> Counter[str]:
    """Serve what never runs out; how many segments each name got."""
    got: Counter[str] = Counter()
    for _ in range(times):
        name, segments = queue.peek()
        queue.charge(segments)
        got[name] += segments
    return got


def queue_of(*things: tuple[int, int, str, int]) -> FairQueue[tuple[str, int]]:
    queue: FairQueue[tuple[str, int]] = FairQueue(lambda thing: thing[1])
    for account, service, name, segments in things:
        queue.add((account, service), (name, segments))
    return queue


def test_two_accounts_get_the_same_number_of_segments() -> None:
    got = serve(queue_of((1, 1, "long", 10), (2, 1, "short", 1)), 11_000)
    assert abs(got["long"] - got["short"]) <= 20


def test_an_account_with_many_services_gets_no_more() -> None:
    many = [(1, service, "many", 1) for service in range(9)]
    got = serve(queue_of(*many, (2, 1, "one", 1)), 10_000)
    assert abs(got["many"] - got["one"]) <= 200


def test_services_of_an_account_share_equally() -> None:
    got = serve(queue_of((1, 1, "a", 1), (1, 2, "b", 1)), 1_000)
    assert abs(got["a"] - got["b"]) <= 16


def test_things_of_one_flow_take_turns() -> None:
    got = serve(queue_of((1, 1, "a", 1), (1, 1, "b", 1)), 100)
    assert got == {"a": 50, "b": 50}


def test_a_newcomer_does_not_wait_for_more_than_one_turn() -> None:
    queue = queue_of((1, 1, "bulk", 1))
    serve(queue, 1_000)
    queue.add((2, 1), ("interactive", 1))
    assert serve(queue, 20)["interactive"] >= 8


def test_what_is_discarded_is_gone() -> None:
    queue = queue_of((1, 1, "a", 1), (2, 1, "b", 1))
    first = queue.peek()
    queue.discard()
    assert queue.peek() != first
    queue.discard()
    assert not queue.turns
