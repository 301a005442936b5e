"""Which number an address of a delivery means: by its type, its plan, and the carrier's country.

Marks that only part digits are no part of a number, as in `To`. The type of number is believed
(SMPP 3.4 §5.2.5). A national number is read in the carrier's country
and in no other; one of unknown type is taken for international only where it can hardly be anything
else. What can't be told stays as it came: a wrong number is worse than an odd one, for a block, a
mapping and a price would all be another person's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import phonenumbers

from gateway.routing.countries import MAIN_COUNTRY, calling_code_of
from gateway.routing.destination import parse_destination, without_marks

UNKNOWN, INTERNATIONAL, NATIONAL, NETWORK, SUBSCRIBER, ALPHANUMERIC, ABBREVIATED = range(7)
NATIONAL_PLAN: Final = 8
# Plans in which a number is none of E.164's: X.121, telex, IMSI, private, paging, IP, WAP.
OTHER_PLANS: Final = frozenset({3, 4, 6, 9, 10, 14, 18})
SHORT: Final = 6  # digits; what is not longer is a short code, whatever its type
LOCAL: Final = 8  # digits that are a short code or a local number, if nothing says more
# Nobody dials so many digits without a country: they are international, whatever their type.
SURELY_INTERNATIONAL: Final = 12


class Read(NamedTuple):
    """An address, and whether it is clear what it means."""

    value: str
    clear: bool = True


def read_address(
    ton: int, npi: int, value: str, *, country: str = "", prefix: str = "", near: str = ""
) -> Read:
    """The number in E.164, or the address as it came.

    `country` (ISO) and `prefix` (the digits that a number without them lacks) are the carrier's
    settings; `near` is the country of the number of ours that was written to.
    """
    written = without_marks(value)
    digits = written.lstrip("+")
    if ton == ALPHANUMERIC or not (digits.isascii() and digits.isdigit()):
        return Read(value)
    if written.startswith("+"):
        return _told(_international(digits) or _after_zeros(digits), written)
    if npi in OTHER_PLANS:
        return Read(written, len(digits) <= LOCAL)
    if ton == ABBREVIATED or len(digits) <= SHORT:
        return Read(written)
    if ton in (UNKNOWN, INTERNATIONAL) and digits.startswith("0"):
        # Some call everything international: what begins with a zero is no number of the world's.
        abroad = _after_zeros(digits) or _abroad(digits, country or near or _country(prefix))
        if abroad is not None:
            return Read(abroad)
    if ton == INTERNATIONAL:
        return _told(_international(digits) or _national(digits, country, prefix), written)
    if ton in (NATIONAL, SUBSCRIBER) or (ton == UNKNOWN and npi == NATIONAL_PLAN):
        return _told(_national(digits, country, prefix), written)
    found = _of_unknown_type(digits, country, prefix, near)
    return Read(written, len(digits) <= LOCAL) if found is None else Read(found)


def _told(number: str | None, value: str) -> Read:
    return Read(number) if number is not None else Read(value, clear=False)


def _international(digits: str) -> str | None:
    number = parse_destination("+" + digits)
    return number.e164 if number is not None else None


def _after_zeros(digits: str) -> str | None:
    """The number after the `00` that most countries dial before those of others."""
    return _international(digits[2:]) if digits.startswith("00") else None


def _abroad(digits: str, country: str) -> str | None:
    """The number after what this country dials before those of others (`011`), if it surely is."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(country) if country else None
    dialled = re.match(metadata.international_prefix or "", digits) if metadata else None
    if dialled is None or not dialled.end():
        return None
    number = digits[dialled.end() :]
    if len(number) >= SURELY_INTERNATIONAL:
        return _international(number)
    return _valid(number) if number else None


def _country(prefix: str) -> str:
    """The largest country of the calling code that digits begin with; empty for none."""
    return MAIN_COUNTRY.get(calling_code_of(prefix) or "", "")


def _national(digits: str, country: str, prefix: str) -> str | None:
    """A number as it is dialled in the carrier's country."""
    if country and (found := _checked(digits, country, valid=False)) is not None:
        return found
    return _prefixed(digits, prefix) if prefix else None


def _prefixed(digits: str, prefix: str) -> str | None:
    """With the prefix before it, where that makes a number; a trunk zero may have to go."""
    for local in (digits, digits.removeprefix("0")):
        number = _possible(prefix + local)
        if number is not None:
            return number
    return None


def _of_unknown_type(digits: str, country: str, prefix: str, near: str) -> str | None:
    """A number that nothing is said of. With a country most readings are sure; without few are."""
    home = country or near
    own = prefix[: len(calling_code_of(prefix) or "")] or _calling_code(home)
    ours = bool(own) and digits.startswith(own)
    if ours and (found := _valid(digits)) is not None:
        return found
    if country or prefix:
        return (
            (_checked(digits, country, valid=True) if country else None)
            or _valid(digits)
            or (_possible(digits) if ours and len(digits) > LOCAL else None)
            or _national(digits, country, prefix)
            or (_possible(digits) if len(digits) >= SURELY_INTERNATIONAL else None)
        )
    if len(digits) >= SURELY_INTERNATIONAL:
        return _international(digits)
    # Eleven digits that begin with 1 are a number of North America, or a mobile of China, Germany
    # or Brazil without its country.
    if len(digits) == SURELY_INTERNATIONAL - 1 and digits[0] != "1":
        at_home = near and _checked(digits, near, valid=True)
        return None if at_home else _valid(digits)
    return None


def _possible(digits: str) -> str | None:
    """`digits` as an international number whose length its country has."""
    return _checked("+" + digits, None, valid=False)


def _valid(digits: str) -> str | None:
    """`digits` as an international number that is in use, as far as that is known."""
    if digits[0] == "1":  # our own table knows more area codes than the library
        return _international(digits) if digits[4:5] >= "2" else None
    return _checked("+" + digits, None, valid=True)


def _checked(text: str, country: str | None, *, valid: bool) -> str | None:
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None
    check = phonenumbers.is_valid_number if valid else phonenumbers.is_possible_number
    if not check(number):
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return _international(e164[1:])


def _calling_code(country: str) -> str:
    code = phonenumbers.country_code_for_region(country) if country else 0
    return str(code) if code else ""
