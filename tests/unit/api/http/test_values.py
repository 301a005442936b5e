"""Texts from outside become numbers and times as wholes, or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.http.errors import ApiError
from gateway.api.http.forms import parse_form
from gateway.api.http.paging import page_request
from gateway.api.http.values import (
    LARGEST_WHOLE,
    read_any_time,
    read_day,
    read_decimal,
    read_time,
    read_whole,
)
from storage.ids import id_from_bytes, moment_of
from storage.times import EARLIEST, LATEST, utc_of

# Each was taken for a small number, or for one at all, by something in the standard library.
NO_WHOLE = (
    "",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1\n",
    "1_0",
    "1.0",
    "1e3",
    "0x10",
    "²",
    "①",
    "١",
    "１",
    "000000000001" + "9" * 13,
    "9" * 30,
    "9" * 5000,
    "1\x00",
)


@pytest.mark.parametrize("text", NO_WHOLE)
def test_what_is_no_whole_number_of_ascii_digits_is_none(text: str) -> None:
    assert read_whole(text) is None


@given(st.integers(-10, 10**20), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_whole_number_is_read_if_it_lies_between_its_bounds(
    number: int, low: int, more: int
) -> None:
    within = 0 <= number <= LARGEST_WHOLE and low <= number <= low + more
    assert read_whole(str(number), low, low + more) == (number if within else None)


@given(st.text())
def test_no_text_makes_a_reader_raise(text: str) -> None:
    for read in (read_whole, read_decimal, read_time, read_any_time, read_day):
        read(text)


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31"])
def test_a_time_at_the_ends_of_the_calendar_is_cut_to_what_a_row_holds(text: str) -> None:
    at = read_any_time(text)
    assert at is not None
    assert EARLIEST <= at <= LATEST
    assert at + timedelta(days=1) > at - timedelta(days=1)  # neither raises


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 99999999999999999999 Jan 2026 00:00:00 +0000",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "01/01/99999 00:00:00 +0000",
        "2026-13-45",
        "T" * 5000,
    ],
)
def test_a_date_that_nothing_holds_is_none(text: str) -> None:
    assert read_any_time(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24",
        "20261124",
        "2026-W48-2",
        "2026-11-24T12",
        "2026-11-24 12:00",
        "20261124T120000Z",
        "2026-11-24t12:00:00z",
        "2026-11-24T12:00:00.123456789+0530",
        "2026-11-24T12:00:00,5-08",
    ],
)
def test_each_form_of_an_iso_time_is_read(text: str) -> None:
    at = read_time(text)
    assert at is not None
    assert (at.year, at.month, at.day) == (2026, 11, 24)


@pytest.mark.parametrize("tail", ["\0", "\0junk", " ", "\n", "é", "x", "٠", "Z", "+"])
@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24",
        "2026-11-24T12:00:00Z",
        "2026-11-24T12:00:00.5+00:00",
        "Tue, 24 Nov 2026 12:00:00 +0000",
        "Tue, 24 Nov 2026 12:00:00 GMT",
        "11/24/2026 12:00:00 +0000",
    ],
)
def test_a_time_with_something_behind_it_is_none(text: str, tail: str) -> None:
    assert read_any_time(text) is not None
    assert (read_any_time(text + tail), read_time(text + tail)) == (None, None)
    assert read_day(text + tail) is None


@pytest.mark.parametrize(
    "text",
    ["2026-12-01é00:00:00", "2026-12-01x00", "2026-12-01\n00:00", "2026\0-12-01", "２026-12-01"],
)
def test_a_time_with_something_in_it_is_none(text: str) -> None:
    assert (read_any_time(text), read_time(text), read_day(text)) == (None, None, None)


def test_times_are_read_in_each_of_the_forms_that_filters_take() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for text in (
        "2026-11-24T12:00:00Z",
        "2026-11-24T14:00:00+02:00",
        "Tue, 24 Nov 2026 12:00:00 +0000",
        "11/24/2026 12:00:00 +0000",
    ):
        assert read_any_time(text) == noon
    assert read_day("2026-11-24") == date(2026, 11, 24)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_number_of_seconds_is_a_moment_that_a_row_holds(seconds: float) -> None:
    assert EARLIEST <= utc_of(seconds) <= LATEST


def test_the_time_in_any_sid_can_be_read() -> None:
    assert moment_of(id_from_bytes(b"\xff" * 16)) == LATEST


@pytest.mark.parametrize("text", NO_WHOLE[1:])
def test_a_form_refuses_such_a_number_with_the_parameters_own_code(text: str) -> None:
    form = parse_form(b"N=" + "".join(f"%{octet:02x}" for octet in text.encode()).encode())
    with pytest.raises(ApiError) as refused:
        form.integer("N", 1, 36_000, 21624)
    assert refused.value.code == 21624


@pytest.mark.parametrize(("text", "taken"), [("1", True), ("36000", True), ("36001", False)])
def test_a_forms_bounds_hold_on_both_sides(text: str, taken: bool) -> None:
    form = parse_form(f"N={text}".encode())
    if taken:
        assert form.integer("N", 1, 36_000, 21624) == int(text)
    else:
        with pytest.raises(ApiError):
            form.integer("N", 1, 36_000, 21624)


@pytest.mark.parametrize("text", NO_WHOLE[1:])
@pytest.mark.parametrize("name", ["Page", "PageSize"])
def test_paging_refuses_such_a_number(name: str, text: str) -> None:
    with pytest.raises(ApiError):
        page_request([(name, text)])


@pytest.mark.parametrize("text", ["nan", "inf", "1e3", "1_0", "-1", "", ".5", "1.", "1" * 19])
def test_what_is_no_decimal_number_is_none(text: str) -> None:
    assert read_decimal(text) is None
