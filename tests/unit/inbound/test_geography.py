"""Where numbers are from."""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import geocoder

from gateway.inbound.geography import Region, cities, place_of


@pytest.mark.parametrize(
    ("number", "place"),
    [
        ("+12012005555", Region("US", "JERSEY CITY", "NJ", in_nanp=True)),
        ("+14155552671", Region("US", "SAN FRANCISCO", "CA", in_nanp=True)),
        ("+12065550100", Region("US", "", "WA", in_nanp=True)),  # the area code tells the state
        ("+16135550100", Region("CA", "", "ON", in_nanp=True)),
        ("+18005550100", Region("", in_nanp=True)),
        ("+447700900101", Region("GB")),
        ("+12", Region("")),
        ("12345", Region("")),
        ("Tandem", Region("")),
        ("", Region("")),
    ],
)
def test_places(number: str, place: Region) -> None:
    assert place_of(number) == place


def test_the_compact_copy_says_what_the_library_says() -> None:
    prefixes = sorted(cities())[::500]
    assert len(cities()) > 30_000
    for prefix in prefixes:
        digits = str(prefix).ljust(11, "2")
        city = cities()[prefix]
        number = phonenumbers.parse(f"+{digits}")
        longest = next(
            cities()[int(digits[:length])]
            for length in range(11, 3, -1)
            if int(digits[:length]) in cities()
        )
        assert geocoder.description_for_valid_number(number, "en") == longest
        assert city
