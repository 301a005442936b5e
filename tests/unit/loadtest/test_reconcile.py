"""The comparison of ledgers: each kind of difference is found, and only that."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.loadtest.reconcile import Submit, compare, read_ledger, read_sids, their_state
from gateway.messages.message import Flag, IdSource, Status
from gateway.settings import ConfigurationError

next_id = IdSource(lambda: 1_700_000_000.0, lambda: 0.0, Random(1).randbytes)


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


def submit(
    outcome: str, reference: int = 1, segment: int = 1, total: int = 1, carrier_id: str = ""
) -> Submit:
    return Submit("447700900101", "441632960675", reference, segment, total, outcome, carrier_id)


def deleted(reference: int = 1, *carrier_ids: str) -> dict[str, Any]:
    return {"message_id": next_id(), "reference": reference, "carrier_ids": list(carrier_ids)}


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


@pytest.mark.parametrize(
    ("grave", "seen", "known"),
    [
        (deleted(1, "a"), submit("DELIVRD", carrier_id="a"), 1),
        (deleted(1, "a", "b"), submit("DELIVRD", carrier_id="b"), 1),
        (deleted(1, "a"), submit("DELIVRD", carrier_id="c"), 0),  # the counter came round
        (deleted(2, "a"), submit("DELIVRD", carrier_id="a"), 0),
        (deleted(1), submit("ESME_RINVDSTADR"), 1),
        (deleted(1, "a"), submit("ESME_RINVDSTADR"), 0),
    ],
)
def test_what_was_deleted_through_the_api_is_not_foreign(
    grave: dict[str, Any], seen: Submit, known: int
) -> None:
    verdict = compare([], [seen], [grave])
    assert (verdict.deleted, verdict.foreign, verdict.clean) == (known, 1 - known, bool(known))


def test_one_deletion_explains_one_message() -> None:
    twice = [submit("DELIVRD")._replace(destination=to) for to in ("1", "2")]
    verdict = compare([], twice, [deleted(1)])
    assert (verdict.deleted, verdict.foreign) == (1, 1)


def test_what_differed_at_one_look_only_was_on_its_way() -> None:
    early, late = row(Status.SENT), row(Status.SENT, 2)
    taken = [submit("DELIVRD"), submit("DELIVRD", 2)]
    first = compare([early], [*taken, submit("DELIVRD", 4)])
    assert (len(first.differences), first.foreign) == (1, 2)
    second = compare([early | {"status": Status.DELIVERED}, late], [*taken, submit("DELIVRD", 4)])
    second.still(first)
    assert (second.differences, second.foreign, second.in_transit) == ([], 1, 1)
    assert not second.clean
    third = compare([early, late], taken)
    third.still(second)
    assert (third.clean, third.in_transit) == (True, 2)


def test_what_differs_at_every_look_is_told() -> None:
    stuck, lost = row(Status.SENT), row(Status.DELIVERED, 2)
    verdict = compare([stuck, lost], [submit("DELIVRD")])
    again = compare([stuck, lost], [submit("DELIVRD")])
    again.still(verdict)
    assert (len(again.differences), again.lost, again.in_transit) == (2, 1, 0)


def test_sids_are_read_bare_or_from_json_lines() -> None:
    plain, other = "SM" + "0" * 31 + "a", "MM" + "0" * 31 + "b"
    found = read_sids([plain, "", f'  {{"sid": "{other}", "status": "queued"}}', plain])
    assert [id.hex[-1] for id in found] == ["a", "b"]
    assert list(found.values()) == [plain, other]


@pytest.mark.parametrize("line", ["SM12", "{}", "{", "nothing", "IS" + "0" * 32])
def test_a_line_without_a_sid_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        read_sids(["SM" + "0" * 32, line])
