"""Counting, and its bounds."""

from __future__ import annotations

from gateway.observe.measures import Histogram, Tally


def test_a_value_falls_into_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.0, 1.0, 1.1, 5.0, 5.1, 100.0):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.cumulative == [2, 4, 6]
    assert histogram.total == 112.2


def test_a_tally_keeps_the_keys_that_were_seen_last() -> None:
    tally: Tally[str] = Tally(2)
    tally.add("a")
    tally.add("b", 5)
    tally.add("a", 2)
    assert list(tally.latest(9)) == ["a", "b"]
    tally.add("c")
    assert (tally["a"], tally["b"], tally["c"]) == (3, 0, 1)
    assert len(tally) == 2
    assert list(tally.latest(1)) == ["c"]
