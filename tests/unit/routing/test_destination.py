"""Reading `To` (docs/spec/messaging-services.md#inputs-of-the-selection,
docs/spec/messaging-services.md#nanp-data)."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.countries import GLOBAL_CODES, MAIN_COUNTRY, SHARING_CODES, country_under
from gateway.routing.destination import (
    Destination,
    country_of,
    parse_destination,
    spelled_block,
)
from gateway.routing.nanp import NumberKind, area_codes


def test_a_plain_us_number_has_country_and_area_code() -> None:
    assert parse_destination("+14155550100") == Destination(
        "+14155550100", "US", "1", "415", NumberKind.GEOGRAPHIC
    )


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("+14165550100", "CA"),
        ("+17875550100", "PR"),
        ("+18765550100", "JM"),
        ("+447400123456", "GB"),
        ("+441534456789", "JE"),
        ("+447624123456", "IM"),
        ("+79161234567", "RU"),
        ("+77011234567", "KZ"),
        ("+390669812345", "VA"),
        ("+390669912345", "IT"),
        ("+358181234567", "AX"),
        ("+59995551234", "CW"),
        ("+5997151234", "BQ"),
        ("+4915123456789", "DE"),
        ("+5215512345678", "MX"),
        ("+861012345678", "CN"),
    ],
)
def test_the_country_is_that_of_the_prefix(text: str, country: str) -> None:
    assert country_of(text) == country


@pytest.mark.parametrize(
    "text", ["+1 415 555 0100", "+1 (415) 555-0100", "+1.415.555.0100", "+1-415-555-0100"]
)
def test_punctuation_is_ignored(text: str) -> None:
    destination = parse_destination(text)
    assert destination is not None
    assert destination.e164 == "+14155550100"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "+1",
        "+1415555010",
        "+141555501000",
        "4155550100",
        "+0123456789",
        "+1055550100",
        "+11155550100",
        "+999123456789",
        "+441",
        "hello",
        "+1415555O100",
        "+1415555010x",
        "+٤٤٧٤٠٠١٢٣٤٥٦",
        "whatsapp:+14155550100",
        "1" * 100,
        "+4474001234567890",
        "++14155550100",
        "+1800FLOWERS",
    ],
)
def test_what_cannot_be_a_number_is_refused(text: str) -> None:
    assert parse_destination(text) is None


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("+47580009083060", "NO"),
        ("+33700011564653", "FR"),
        ("+27872405086123", "ZA"),
        ("+861440012345678", "CN"),
        ("+32771234567890", "BE"),
        ("+4537123456789", "DK"),
        ("+345901234567890", "ES"),
    ],
)
def test_numbers_of_machines_are_numbers(text: str, country: str) -> None:
    assert len(text) <= 16
    assert country_of(text) == country


@pytest.mark.parametrize("text", ["+4758000908306012", "+861440012345678901", "+120255501111"])
def test_e164_and_the_north_american_plan_have_their_own_limits(text: str) -> None:
    assert parse_destination(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+4407715518094", "+447715518094"),
        ("+44 (0) 7715 518094", "+447715518094"),
        ("+44(0)20 7946 0958", "+442079460958"),
        ("+4407700900101", "+447700900101"),  # of no range in use
        ("+44007715518094", "+447715518094"),
        ("+33(0)612345678", "+33612345678"),
        ("+49015112345678", "+4915112345678"),
        ("+61 (0)412 345 678", "+61412345678"),
        ("+91 0 98765 43210", "+919876543210"),
        ("+86 0138 0013 8000", "+8613800138000"),
        ("+7 8 916 123-45-67", "+79161234567"),
        ("+36 06 20 123 4567", "+36201234567"),
        ("+370 8 612 34567", "+37061234567"),
        ("+375 80 29 1234567", "+375291234567"),
        ("+55 0 11 96123-4567", "+5511961234567"),
        ("+54 11 15 2345-6789", "+5491123456789"),
        ("+5215512345678", "+525512345678"),
        ("+52 1 55 1234 5678", "+525512345678"),
        ("+52 01 55 1234 5678", "+525512345678"),
        ("+52 044 55 1234 5678", "+525512345678"),
    ],
)
def test_a_number_has_one_spelling(text: str, number: str) -> None:
    """What is only dialled within its country is no part of it."""
    destination = parse_destination(text)
    assert destination is not None
    assert destination.e164 == number
    assert parse_destination(number) == destination


@pytest.mark.parametrize(
    "number",
    [
        "+390612345678",
        "+3906698123",
        "+390669812345",
        "+3780549886377",
        "+2250712345678",
        "+24106031234",
        "+242061234567",
        "+78001234567",
        "+78431234567",
        "+36621234567",
        "+37080012345",
        "+525512345678",
        "+5491123456789",
        "+541123456789",
        "+47580009083060",
        "+4580000000",
    ],
)
def test_what_belongs_to_a_number_stays(number: str) -> None:
    destination = parse_destination(number)
    assert destination is not None
    assert destination.e164 == number


@given(
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.sampled_from(["", "0", "00", "000", "06", "8", "80", "1", "01", "044", "15", "0315"]),
    st.text("0123456789", min_size=3, max_size=12),
)
def test_what_was_read_is_read_the_same_again(code: int, prefix: str, rest: str) -> None:
    destination = parse_destination(f"+{code}{prefix}{rest}")
    if destination is not None:
        assert len(destination.e164) <= 16
        assert parse_destination(destination.e164) == destination


@pytest.mark.parametrize("text", ["+440", "+4400000", "+44" + "0" * 37, "+44" + "0" * 10_000])
def test_zeros_alone_are_no_number(text: str) -> None:
    assert parse_destination(text) is None


def test_a_national_number_needs_a_default_country() -> None:
    destination = parse_destination("(415) 555-0100", "US")
    assert destination is not None
    assert destination.e164 == "+14155550100"
    assert parse_destination("07400 123456", "GB") is not None
    assert parse_destination("07400 123456") is None
    assert parse_destination("07400 123456", "??") is None


@pytest.mark.parametrize(
    "code",
    ["357", "436", "457", "465", "471", "483", "621", "624", "679", "729", "837", "861", "924"],
)
def test_codes_the_library_does_not_know_are_accepted(code: str) -> None:
    destination = parse_destination(f"+1{code}5550100")
    assert destination is not None
    assert destination.area_code == code
    assert destination.country in {"US", "CA"}


@pytest.mark.parametrize("code", ["273", "565", "761"])
def test_planned_codes_have_a_country_and_match_no_area(code: str) -> None:
    destination = parse_destination(f"+1{code}5550100")
    assert destination is not None
    assert destination.area_code is None
    assert destination.country == area_codes()[code].country


@pytest.mark.parametrize(
    ("text", "kind", "country"),
    [
        ("+18005550100", NumberKind.TOLL_FREE, ""),
        ("+19005550100", NumberKind.PREMIUM, ""),
        ("+17005550100", NumberKind.CARRIER_SERVICE, ""),
        ("+17105550100", NumberKind.US_GOVERNMENT, ""),
        ("+15005550100", NumberKind.NON_GEOGRAPHIC, ""),
        ("+16005550100", NumberKind.NON_GEOGRAPHIC, "CA"),
        ("+80012345678", NumberKind.TOLL_FREE, ""),
        ("+979123456789", NumberKind.PREMIUM, ""),
        ("+881612345678", NumberKind.NON_GEOGRAPHIC, ""),
    ],
)
def test_special_numbers_are_told_by_kind(text: str, kind: NumberKind, country: str) -> None:
    destination = parse_destination(text)
    assert destination is not None
    assert (destination.kind, destination.country) == (kind, country)


def test_the_calling_codes_are_the_librarys() -> None:
    library = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    ours = dict(MAIN_COUNTRY) | dict.fromkeys(GLOBAL_CODES, "001")
    assert ours == {str(code): regions[0] for code, regions in library.items()}


def test_countries_under_a_shared_code_agree_with_the_library() -> None:
    library = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    assert {str(code) for code, regions in library.items() if len(regions) > 1} == (
        SHARING_CODES | {"1", "590"}
    )
    for code, regions in library.items():
        if len(regions) == 1 or code in (1, 590):
            continue
        for region in regions:
            for kind in (
                phonenumbers.PhoneNumberType.FIXED_LINE,
                phonenumbers.PhoneNumberType.MOBILE,
            ):
                example = phonenumbers.example_number_for_type(region, kind)
                if example is None or phonenumbers.region_code_for_number(example) != region:
                    continue
                digits = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)[
                    1:
                ]
                assert country_under(str(code), digits) == region, (region, digits)


@given(st.text(max_size=60), st.sampled_from([None, "US", "DE", "XX"]))
def test_reading_never_raises(text: str, default_country: str | None) -> None:
    destination = parse_destination(text, default_country)
    if destination is not None:
        assert parse_destination(destination.e164) == destination


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_librarys_example_numbers_are_read_with_their_country(region: str) -> None:
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        destination = parse_destination(e164)
        assert destination is not None
        assert destination.calling_code == str(example.country_code)
        if phonenumbers.region_code_for_number(example) == region and example.country_code != 590:
            assert destination.country == region


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("+4407700", "+447700"),
        ("+4400770", "+44770"),
        ("+4407700911222", "+447700911222"),
        ("+5215512345678", "+525512345678"),
        ("+52155", "+5255"),
        ("+520155", "+5255"),
        ("+490151", "+49151"),
        ("+3606201", "+36201"),
        ("+390669", "+390669"),  # a zero that is dialled from everywhere
        ("+78121", "+78121"),  # as is this eight
        ("+1415", "+1415"),
        ("+447700", "+447700"),
        ("+440", "+440"),  # nothing is left of it
    ],
)
def test_a_block_of_numbers_begins_as_they_do(given: str, spelled: str) -> None:
    assert spelled_block(given) == spelled
