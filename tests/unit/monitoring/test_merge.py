"""Metrics of several workers as one text that a scraper reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from gateway.monitoring.merge import merged

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def exposition(accept: str, number: int) -> bytes:
    registry = CollectorRegistry()
    Counter("sent", "Sent.", ["carrier"], registry=registry).labels("a b").inc(number)
    Gauge("waiting", "Waiting.", registry=registry).set(number)
    encode, _ = choose_encoder(accept)
    return bytes(encode(registry))


def test_each_sample_says_whose_it_is_in_both_formats() -> None:
    for accept, read in (("text/plain", read_text), (OPENMETRICS, read_openmetrics)):
        text = merged((worker, exposition(accept, 10 + worker)) for worker in range(3)).decode()
        found = {
            (sample.name, sample.labels["worker"], sample.labels.get("carrier")): sample.value
            for family in read(text)
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        assert found == {
            **{("sent_total", str(n), "a b"): 10.0 + n for n in range(3)},
            **{("waiting", str(n), None): 10.0 + n for n in range(3)},
        }
        assert text.count("# TYPE waiting gauge") == 1


def test_of_one_worker_it_is_the_same_with_a_label() -> None:
    assert merged([(0, b"# TYPE up gauge\nup 1.0\n")]) == b'# TYPE up gauge\nup{worker="0"} 1.0\n'
