"""The comparison of ledgers: each kind of difference is found, and only that."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.dispatch.message import Flag, IdSource, Status
from gateway.reconcile import Submit, compare, read_ledger, their_state

next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).getrandbits)


def row(status: Status, reference: int = 1, flags: int = 0, error_code: int = 0) -> dict[str, Any]:
    return {
        "id": next_id(),
        "status": status,
        "sender": "+447700900101",
        "recipient": "+441632960675",
        "reference": reference,
        "flags": flags,
        "error_code": error_code,
    }


def submit(outcome: str, reference: int = 1, segment: int = 1, total: int = 1) -> Submit:
    return Submit("447700900101", "441632960675", reference, segment, total, outcome)


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([], "not submitted"),
        (["DELIVRD"], "delivered"),
        (["UNDELIV"], "undelivered"),
        (["FAILED"], "undelivered"),
        (["NO_RECEIPT"], "sent"),
        (["ESME_RTHROTTLED", "DELIVRD"], "delivered"),
        (["ESME_RMSGQFUL"], "under way"),
        (["ESME_RINVDSTADR"], "failed"),
        (["0x00000459"], "failed"),
    ],
)
def test_what_the_carrier_did_says_how_a_message_must_stand(
    outcomes: list[str], state: str
) -> None:
    assert their_state([submit(outcome) for outcome in outcomes]) == state


def test_of_a_long_message_every_segment_counts() -> None:
    parts = [submit("DELIVRD", segment=n, total=3) for n in (1, 2, 3)]
    assert their_state(parts) == "delivered"
    assert their_state(parts[:2]) == "under way"
    assert their_state([*parts[:2], submit("EXPIRED", segment=3, total=3)]) == "undelivered"


def test_agreement_is_clean() -> None:
    verdict = compare([row(Status.DELIVERED), row(Status.QUEUED, 2)], [submit("DELIVRD")])
    assert verdict.clean
    assert verdict.ours == verdict.theirs == {"delivered": 1, "not submitted": 1}


def test_each_difference_is_found() -> None:
    assert compare([row(Status.DELIVERED)], []).lost == 1
    assert compare([], [submit("DELIVRD")]).foreign == 1
    assert compare([row(Status.DELIVERED)], [submit("UNDELIV")]).differences
    twice = [submit("DELIVRD"), submit("DELIVRD")]
    assert compare([row(Status.DELIVERED)], twice).doubled == 1
    marked = compare([row(Status.DELIVERED, flags=Flag.POSSIBLE_DUPLICATE)], twice)
    assert (marked.doubled, marked.marked_duplicates, marked.clean) == (0, 1, True)


def test_what_was_stopped_before_it_left_agrees_with_a_carrier_that_saw_nothing() -> None:
    verdict = compare([row(Status.FAILED, error_code=21610)], [])
    assert verdict.clean
    assert verdict.ours == {"not submitted": 1}


@pytest.mark.parametrize(
    ("flags", "error_code", "in_doubt"),
    [(Flag.POSSIBLE_DUPLICATE, 21610, 1), (0, 30410, 1), (0, 30008, 0)],
)
def test_a_failure_in_doubt_is_no_difference_and_is_counted(
    flags: int, error_code: int, in_doubt: int
) -> None:
    """Its answer was lost, and it was not to be sent again: the carrier may have had it."""
    verdict = compare([row(Status.FAILED, 1, flags, error_code)], [submit("DELIVRD")])
    assert verdict.in_doubt == in_doubt
    assert verdict.clean is bool(in_doubt)


def test_the_simulators_lines_are_read() -> None:
    line = (
        b'{"source": "1", "destination": "2", "segment": 1, "total": 1, "reference": null,'
        b' "outcome": "DELIVRD", "tlvs": {"user_message_reference": "0ccf"}}'
    )
    assert read_ledger([line, b""]) == [Submit("1", "2", 0x0CCF, 1, 1, "DELIVRD")]
