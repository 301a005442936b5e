"""Which number a delivery's address means: type, plan, the carrier's country, and no guessing."""

from __future__ import annotations

import pytest

from gateway.routing.incoming import Read, read_address

INTERNATIONAL, NATIONAL, UNKNOWN = 1, 2, 0


@pytest.mark.parametrize(
    ("ton", "value", "country", "number"),
    [
        (NATIONAL, "3125550123", "US", "+13125550123"),
        (NATIONAL, "2025550123", "US", "+12025550123"),
        (NATIONAL, "6465550123", "US", "+16465550123"),
        (NATIONAL, "13125550123", "US", "+13125550123"),
        (NATIONAL, "07700900601", "GB", "+447700900601"),
        (NATIONAL, "7700900601", "GB", "+447700900601"),
        (NATIONAL, "447700900601", "GB", "+447700900601"),
        (NATIONAL, "612345678", "ES", "+34612345678"),
        (NATIONAL, "91234567", "NO", "+4791234567"),
        (NATIONAL, "0612345678", "FR", "+33612345678"),
        (NATIONAL, "3931234567", "IT", "+393931234567"),
        (NATIONAL, "06698123", "IT", "+3906698123"),
        (UNKNOWN, "2025550123", "US", "+12025550123"),
        (UNKNOWN, "6465550123", "US", "+16465550123"),
        (UNKNOWN, "01133612345678", "US", "+33612345678"),
        (UNKNOWN, "447700900601", "US", "+447700900601"),
        (UNKNOWN, "447700900601", "GB", "+447700900601"),
        (UNKNOWN, "07700900601", "GB", "+447700900601"),
        (UNKNOWN, "13125550123", "GB", "+13125550123"),
        (UNKNOWN, "4791234567", "GB", "+4791234567"),
        (UNKNOWN, "4915123456789", "DE", "+4915123456789"),
        (UNKNOWN, "15123456789", "DE", "+4915123456789"),
        (UNKNOWN, "91234567", "NO", "+4791234567"),
        (INTERNATIONAL, "07700900601", "GB", "+447700900601"),
        (INTERNATIONAL, "12025550123", "GB", "+12025550123"),
    ],
)
def test_a_number_without_a_country_is_read_in_the_carriers(
    ton: int, value: str, country: str, number: str
) -> None:
    assert read_address(ton, 1, value, country=country) == Read(number)


@pytest.mark.parametrize("near", ["", "GB", "US"])
@pytest.mark.parametrize(
    ("ton", "value"),
    [
        (NATIONAL, "3125550123"),
        (NATIONAL, "2025550123"),
        (NATIONAL, "6465550123"),
        (NATIONAL, "07700900601"),
        (NATIONAL, "612345678"),
        (4, "5550123"),
        (UNKNOWN, "3125550123"),
        (UNKNOWN, "2025550123"),
        (UNKNOWN, "6465550123"),
        (UNKNOWN, "612345678"),
        (UNKNOWN, "07700900601"),
        (UNKNOWN, "13800138000"),
        (UNKNOWN, "0000000000"),
        (INTERNATIONAL, "07700900601"),
        (INTERNATIONAL, "9991234567890"),
    ],
)
def test_what_cannot_be_told_stays_as_it_came(ton: int, value: str, near: str) -> None:
    assert read_address(ton, 1, value, near=near) == Read(value, clear=False)


def test_a_german_mobile_without_its_country_is_no_number_of_texas() -> None:
    assert read_address(UNKNOWN, 1, "15123456789", near="DE") == Read("15123456789", clear=False)


@pytest.mark.parametrize(
    ("ton", "value", "near", "number"),
    [
        (INTERNATIONAL, "447700900601", "US", "+447700900601"),
        (INTERNATIONAL, "47580009083060", "GB", "+47580009083060"),
        (UNKNOWN, "47580009083060", "GB", "+47580009083060"),
        (UNKNOWN, "447700900601", "", "+447700900601"),
        (UNKNOWN, "447700900601", "US", "+447700900601"),
        (UNKNOWN, "12025550123", "US", "+12025550123"),
        (UNKNOWN, "33612345678", "GB", "+33612345678"),
        (UNKNOWN, "4791234567", "NO", "+4791234567"),
        (UNKNOWN, "00447700900604", "", "+447700900604"),
        (INTERNATIONAL, "00447700900604", "", "+447700900604"),
        (INTERNATIONAL, "0012025550123", "", "+12025550123"),
        (NATIONAL, "+447700900604", "", "+447700900604"),
        (3, "447700900604", "", "+447700900604"),
    ],
)
def test_what_is_surely_international_is(ton: int, value: str, near: str, number: str) -> None:
    assert read_address(ton, 1, value, near=near) == Read(number)


@pytest.mark.parametrize(
    ("ton", "value", "country", "number"),
    [
        (INTERNATIONAL, "+44 7715 546421", "", "+447715546421"),
        (INTERNATIONAL, "44-7715-548646", "", "+447715548646"),
        (INTERNATIONAL, "(44) 7715.548646", "", "+447715548646"),
        (INTERNATIONAL, "447715548646 ", "", "+447715548646"),
        (INTERNATIONAL, "+00447715548646", "", "+447715548646"),
        (INTERNATIONAL, "++447715548646", "", "+447715548646"),
        (INTERNATIONAL, "00 44 7715 548646", "", "+447715548646"),
        (INTERNATIONAL, "4407715522889", "", "+447715522889"),
        (INTERNATIONAL, "5215512345678", "", "+525512345678"),
        (UNKNOWN, "+44 (0) 7715 522889", "", "+447715522889"),
        (UNKNOWN, "(202) 555-0123", "US", "+12025550123"),
        (NATIONAL, "07715 522 889", "GB", "+447715522889"),
        (UNKNOWN, "12345 ", "", "12345"),
        (UNKNOWN, "555-0123", "", "5550123"),
    ],
)
def test_marks_that_only_part_digits_are_no_part_of_a_number(
    ton: int, value: str, country: str, number: str
) -> None:
    assert read_address(ton, 1, value, country=country) == Read(number)


@pytest.mark.parametrize("ton", [UNKNOWN, INTERNATIONAL])
@pytest.mark.parametrize(
    ("value", "home"),
    [
        ("011447715546421", {"country": "US"}),
        ("011447715546421", {"near": "US"}),
        ("011447715546421", {"prefix": "1202"}),
        ("0011447715546421", {"country": "AU"}),
        ("010447715546421", {"near": "JP"}),
        ("00447715546421", {"near": "US"}),
    ],
)
def test_what_a_country_dials_before_foreign_numbers_is_known(
    ton: int, value: str, home: dict[str, str]
) -> None:
    assert read_address(ton, 1, value, **home) == Read("+447715546421")


@pytest.mark.parametrize("home", [{}, {"near": "GB"}, {"country": "GB"}])
def test_what_another_country_dials_tells_nothing(home: dict[str, str]) -> None:
    assert read_address(UNKNOWN, 1, "011447715546421", **home) == Read(
        "011447715546421", clear=False
    )


@pytest.mark.parametrize("value", ["BANK 24", "Bank-24", "Dr. No", "+BANK", "+ ", "-", " "])
def test_names_keep_their_marks(value: str) -> None:
    for ton in (UNKNOWN, 5):
        assert read_address(ton, 0, value) == Read(value)


@pytest.mark.parametrize(
    ("ton", "value", "prefix", "number"),
    [
        (NATIONAL, "2025550123", "1", "+12025550123"),
        (4, "5550123", "1202", "+12025550123"),
        (UNKNOWN, "5550123", "1202", "+12025550123"),
        (NATIONAL, "07700900601", "44", "+447700900601"),
        (NATIONAL, "06698123", "39", "+3906698123"),
        (UNKNOWN, "447700900601", "1", "+447700900601"),
        (UNKNOWN, "13125550123", "1", "+13125550123"),
    ],
)
def test_a_prefix_stands_before_what_lacks_it(
    ton: int, value: str, prefix: str, number: str
) -> None:
    assert read_address(ton, 1, value, prefix=prefix) == Read(number)


@pytest.mark.parametrize(
    ("ton", "npi", "value"),
    [
        (5, 0, "BANK"),
        (5, 0, "12025550123"),
        (0, 0, "BANK"),
        (3, 0, "12345"),
        (0, 1, "12345"),
        (6, 0, "1234567890"),
        (2, 1, "12345"),
        (0, 1, ""),
        (0, 1, "+"),
        (0, 1, "٤٤٧٧٠٠٩٠٠٦٠١"),
    ],
)
def test_short_codes_and_names_are_clear_as_they_are(ton: int, npi: int, value: str) -> None:
    assert read_address(ton, npi, value, country="US").value == value


@pytest.mark.parametrize("npi", [3, 4, 6, 9, 10, 14, 18])
def test_a_number_of_another_plan_is_none_of_ours(npi: int) -> None:
    assert read_address(1, npi, "310150123456789") == Read("310150123456789", clear=False)
    assert read_address(0, 8, "2025550123", country="US") == Read("+12025550123")
