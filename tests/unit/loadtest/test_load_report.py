"""What a run says of itself, and what the ledger says of it."""

from __future__ import annotations

from gateway.loadtest import report
from gateway.loadtest.generator import Result
from gateway.loadtest.ledger import check
from gateway.loadtest.reconcile import Submit
from gateway.loadtest.sends import Recipients

RECIPIENTS = Recipients("4479", 0)


def submit(number: int, segment: int = 1, total: int = 1, outcome: str = "DELIVRD") -> Submit:
    return Submit("447700900101", RECIPIENTS.digits(number), 1, segment, total, outcome)


def result() -> Result:
    one = Result(messages=4, accepted=3, requests=4, answered=3, unanswered=1)
    one.started_at, one.answered_at, one.cpu_s = 10.0, 12.0, 0.0001
    for value in (1000, 2000, 9000):
        one.latency.record(value)
    return one


def test_the_table_says_how_much_how_fast_and_what_went_wrong():
    one = result()
    one.refused[429, 20429] += 2
    one.refused[502, 0] += 1
    text = report.table(one)
    assert "4 sent, 3 accepted" in text
    assert "2 accepted/s over 2.00 s" in text
    assert "2 with 429 (20429), 1 with 502" in text
    assert "max 9.00" in text
    assert "25.0 us of CPU per request" in text
    assert not one.clean


def test_a_run_is_clean_only_when_all_was_accepted():
    one = result()
    assert not one.clean
    one.unanswered = 0
    assert one.clean
    one.refused[400, 21211] += 1
    assert not one.clean
    assert not Result().clean


def test_the_ledger_has_each_accepted_message_once():
    ledger = {
        RECIPIENTS.digits(0): [submit(0)],
        RECIPIENTS.digits(1): [submit(1, 1, 2), submit(1, 2, 2)],
        RECIPIENTS.digits(9): [submit(9)],  # of another run
    }
    found = check(bytearray([1, 1]), RECIPIENTS, ledger)
    assert found.clean
    assert found.states == {"delivered": 2}


def test_what_is_missing_doubled_or_unasked_is_named():
    ledger = {
        RECIPIENTS.digits(0): [submit(0), submit(0)],
        RECIPIENTS.digits(2): [submit(2)],
    }
    found = check(bytearray([1, 1, 0]), RECIPIENTS, ledger)
    assert not found.clean
    assert found.doubled == ["447900000000"]
    assert found.missing == ["447900000001"]
    assert found.unasked == 1
    text = report.table(result(), found)
    assert "1 of 2 accepted found" in text
    assert "+447900000001" in text
    assert "1 found that were refused or not answered" in text


def test_the_document_has_the_whole_histogram():
    document = report.document(result(), check(bytearray([1]), RECIPIENTS, {}))
    assert sum(count for _, count in document["latency_us_buckets"]) == 3
    assert document["latency_ms"]["max"] == 9.0
    assert document["ledger"]["missing"] == ["447900000000"]
