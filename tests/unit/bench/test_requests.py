"""What flatters no cache: each request has of its own what its row says, and is whole."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import pytest

from bench.load.requests import Turns, message_of, sends_of
from bench.load.rows import CARRYING, NAMES, RATE, SINGLE, UNFLATTERED, Row
from gateway.loadtest.sends import RECIPIENTS, Recipients

WHO = ("http://127.0.0.1:8080", "AC1", "token")
CALLBACK = "http://127.0.0.1:9090/status"
ROWS = {row.name: row for row in (*CARRYING, *UNFLATTERED, RATE)}


def asked(row: Row, number: int, start: int = 41) -> tuple[list[str], dict[str, str]]:
    """The lines of a request's head but for its length, and its form."""
    service = "MG1" if row.through_service else None
    message = message_of(row, None if service else "+447700900101", service, CALLBACK)
    request = sends_of(WHO, row, message, Recipients("4479", start)).render(number, 1)
    head, _, body = request.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    lengths = [line for line in lines if line.startswith("Content-Length: ")]
    assert lengths == [f"Content-Length: {len(body)}"]
    form = parse_qs(body, strict_parsing=True)
    return [line for line in lines if line not in lengths], {k: v for k, (v,) in form.items()}


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.bulk == 1])
def test_only_what_the_row_says_differs_from_one_request_to_the_next(row: Row):
    (lines, form), (others, other) = asked(row, 0), asked(row, 1)
    assert form.pop("To") != other.pop("To")
    assert (lines != others) == row.own_header
    assert {name for name in form if form[name] != other[name]} == (
        {"Body"} if row.own_text else {"StatusCallback"} if row.own_query else set()
    )
    assert ("StatusCallback" in form) == row.callbacks
    assert ("MessagingServiceSid" in form) == row.through_service


def test_a_request_asks_for_what_a_plain_one_asks_for():
    plain_lines, plain = asked(SINGLE, 7)
    lines, form = asked(ROWS["header"], 7)
    assert form == plain
    assert [line for line in lines if not line.startswith("X-Request-Id: ")] == plain_lines
    _, form = asked(ROWS["text"], 7)
    assert form == plain | {"Body": plain["Body"] + " 00000048"}
    _, form = asked(ROWS["query"], 7)
    assert form == plain | {"StatusCallback": CALLBACK + "?order=00000048"}


def test_recipients_return_whatever_came_before():
    row = replace(ROWS["sticky"], returning=3)
    numbers = [asked(row, number, start)[1]["To"] for number in range(4) for start in (41, 42)]
    assert numbers == [f"+44790000000{n}" for n in (0, 0, 1, 1, 2, 2, 0, 0)]


def test_the_digits_are_eight_at_the_end_of_their_numbers():
    _, form = asked(ROWS["text"], 1, RECIPIENTS - 1)
    assert form["To"] == "+447900000000"
    assert form["Body"].endswith(" 00000000")


def test_accounts_take_turns():
    row = ROWS["accounts"]
    sends = Turns(
        [
            sends_of((WHO[0], sid, "t"), row, message_of(row, "+1", None, ""), Recipients())
            for sid in ("AC1", "AC2")
        ]
    )
    paths = [sends.render(number, 1).split(b"/")[3] for number in range(4)]
    assert paths == [b"AC1", b"AC2", b"AC1", b"AC2"]


def test_every_row_can_be_asked_for_by_its_name():
    assert set(ROWS) < set(NAMES)
    assert len(NAMES) == len(set(NAMES))
