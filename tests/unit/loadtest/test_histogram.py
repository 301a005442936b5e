"""Latencies, counted: what is read back is what was recorded, within the bound."""

from __future__ import annotations

from math import ceil
from random import Random

import pytest

from gateway.loadtest.histogram import LONGEST_US, PARTS, LatencyHistogram


def of(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9, 100])
def test_percentiles_are_those_of_the_sorted_values_within_one_part(percent: float):
    random = Random(7)
    values = [int(random.lognormvariate(8, 2)) for _ in range(20_000)]
    exact = sorted(values)[ceil(len(values) * percent / 100) - 1]
    found = of(values).percentile_ms(percent) * 1000
    assert exact <= found <= exact * (1 + 1 / PARTS) + 1


def test_small_values_are_exact():
    histogram = of(list(range(2 * PARTS)))
    assert list(histogram.buckets()) == [(value, 1) for value in range(2 * PARTS)]


def test_every_value_falls_into_a_bucket_that_is_not_below_it():
    for power in range(36):
        for value in ((1 << power) - 1, 1 << power, (1 << power) + 1):
            (bucket,) = of([value]).buckets()
            assert value <= bucket[0] <= value * (1 + 1 / PARTS)


def test_the_highest_value_is_exact_and_what_is_longer_than_the_range_is_counted():
    histogram = of([3, LONGEST_US * 4])
    assert histogram.highest_us == LONGEST_US * 4
    assert histogram.count == 2


def test_two_histograms_add_up():
    one, other = of([1, 2, 3]), of([1000, 2000])
    one.add(other)
    assert list(one.buckets()) == list(of([1, 2, 3, 1000, 2000]).buckets())
    assert (one.count, one.highest_us, one.total_us) == (5, 2000, 3006)


def test_nothing_recorded_has_percentiles_of_zero():
    assert LatencyHistogram().percentile_ms(99) == 0.0
    assert LatencyHistogram().mean_ms == 0.0
