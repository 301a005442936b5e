"""Where a message goes: a text someone gave as `To`, made a destination.

Plain E.164 takes a fast path over our own tables (about 1 us). Everything else (national numbers,
punctuation, a default country) goes through the `phonenumbers` library. Neither asks whether a
number is *valid*: the library does not know thirteen area codes in service
(docs/spec/messaging-services.md#inputs-of-the-selection). A number counts when its length is
possible for its country, or is longer and within E.164's own limit: machines have longer numbers
than people, in ranges that the library leaves out on purpose. The North American plan has one
length.

A number has one spelling, or a block of one would not hold for the other: what is only dialled
within a country, a trunk prefix (`+44 (0) 7…`), is no part of it, nor is the 1 that Mexican mobiles
had until 2019. Countries whose numbers do begin with a zero (Italy) have no such prefix.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

import phonenumbers

from gateway.routing.countries import calling_code_of, country_under
from gateway.routing.nanp import NumberKind, area_codes

_NANP: Final = "1"
_MOST_DIGITS: Final = 15  # of a number with its calling code, ITU-T E.164 §6.2.1
_MAX_TEXT: Final = 40  # longest text worth parsing; E.164 itself is 16 characters
# Spaces that can be seen (Zs), not `\s`: that has controls and line separators, which can't be.
_PUNCTUATION: Final = re.compile(
    r"[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\-.()/\u2010-\u2015\u2212]+"
)
_DIALLED: Final = re.compile(r"\+?[0-9]{3,17}")

# Mexican mobiles were written +52 1 … until 2019, and WhatsApp still writes them so; within the
# country they were dialled with 044 or 045, and other numbers with 01.
_FORMER: Final = {"52": re.compile(r"(?:01|04[45]|1)(?=[0-9]{10}$)")}
_GLOBAL_KINDS: Final = {"800": NumberKind.TOLL_FREE, "979": NumberKind.PREMIUM}


class Destination(NamedTuple):
    """A number a message can be addressed to."""

    e164: str
    country: str  # ISO 3166 alpha-2, empty when the number belongs to none
    calling_code: str
    area_code: str | None  # NANP only, and only codes in service
    kind: NumberKind


def parse_destination(text: str, default_country: str | None = None) -> Destination | None:
    """Read a phone number; None (error 21211) when it cannot be one.

    Spaces, hyphens, dots and brackets are ignored. Without a leading plus the text is read
    as dialled in `default_country` (ISO), and is refused when there is none.
    """
    if len(text) > _MAX_TEXT:
        return None
    if text[:1] == "+":
        digits = text[1:]
        if digits.isascii() and digits.isdigit():
            return _from_e164(text, digits)
    dialled = without_marks(text)
    if _DIALLED.fullmatch(dialled) is None:
        return None
    if dialled[0] == "+":
        return _from_e164(dialled, dialled[1:])
    if default_country is None:
        return None
    try:
        number = phonenumbers.parse(dialled, default_country)
    except phonenumbers.NumberParseException:
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return _from_e164(e164, e164[1:])


def without_marks(text: str) -> str:
    """A number without the spaces, hyphens, dots and brackets that only part its digits."""
    return _PUNCTUATION.sub("", text)


def _from_e164(e164: str, digits: str) -> Destination | None:
    if digits[0] == _NANP:
        return _nanp(e164, digits)
    calling_code = calling_code_of(digits)
    if calling_code is None:
        return None
    prefix, lengths = _spelling(calling_code)
    start = len(calling_code)
    if prefix is not None:
        found = prefix.match(digits, start)
        if found is not None and found.end() > start:
            e164 = _without_prefix(e164, calling_code)
            digits = e164[1:]
    if len(digits) - start not in lengths:
        return None
    country = country_under(calling_code, digits)
    if country:
        return Destination(e164, country, calling_code, None, NumberKind.GEOGRAPHIC)
    kind = _GLOBAL_KINDS.get(calling_code, NumberKind.NON_GEOGRAPHIC)
    return Destination(e164, "", calling_code, None, kind)


def _nanp(e164: str, digits: str) -> Destination | None:
    if len(digits) != 11 or digits[1] < "2":  # no area code begins with 0 or 1
        return None
    code = area_codes().get(digits[1:4])
    if code is None:  # not assigned: it may be newer than our table, so it is not refused
        return Destination(e164, "US", _NANP, None, NumberKind.GEOGRAPHIC)
    matching = code.code if code.in_service and code.kind is NumberKind.GEOGRAPHIC else None
    return Destination(e164, code.country, _NANP, matching, code.kind)


def _without_prefix(e164: str, calling_code: str) -> str:
    """The number without what is only dialled within its country, where it is one without it.

    That is told by the number, where the library knows it; else by its length, if it was too long.
    """
    known, start = _known_lengths(calling_code), 1 + len(calling_code)
    former = _FORMER.get(calling_code)
    fitting = e164
    shorter = e164
    for _ in range(_MOST_DIGITS):  # nobody writes two; somebody who wants to hide a number might
        if former is not None:
            shorter = shorter[:start] + former.sub("", shorter[start:], count=1)
        try:
            number = phonenumbers.parse(shorter)
        except phonenumbers.NumberParseException:  # nearly nothing is left
            break
        spelled = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(number):
            return spelled
        if len(fitting) - start not in known and len(spelled) - start in known:
            fitting = spelled
        if spelled == shorter:
            break
        shorter = spelled
    return fitting


def spelled_block(text: str) -> str:
    """A number, or the digits that numbers begin with, without what is only dialled within their
    country; `text` is a plus and digits.
    """
    destination = parse_destination(text)
    if destination is not None:
        text = destination.e164
    digits = text[1:]
    calling_code = calling_code_of(digits)
    dialled = _dialled_within(calling_code) if calling_code is not None else None
    if calling_code is None or dialled is None:
        return text
    return f"+{calling_code}{dialled.sub('', digits[len(calling_code) :], count=1)}"


@cache
def _dialled_within(calling_code: str) -> re.Pattern[str] | None:
    """What no number of the country begins with, though it is dialled there; None for nothing."""
    if calling_code in _FORMER:
        return re.compile(r"^(?:01|04[45]|1)(?=[0-9])")
    metadata = _metadata(calling_code)
    trunk = metadata.national_prefix if metadata is not None else None
    # Another than a zero may be an area code's first digit as well (Russia's 8).
    return re.compile(rf"^{trunk}0*(?=[1-9])") if trunk and trunk[0] == "0" else None


@cache
def _spelling(calling_code: str) -> tuple[re.Pattern[str] | None, frozenset[int]]:
    """What may stand before national numbers, and how long these may be."""
    return _prefix(calling_code), _lengths(calling_code)


def _prefix(calling_code: str) -> re.Pattern[str] | None:
    """What may stand before national numbers; None where nothing does."""
    if calling_code in _FORMER:
        return _FORMER[calling_code]
    metadata = _metadata(calling_code)
    found = metadata.national_prefix_for_parsing if metadata is not None else None
    return re.compile(found) if found is not None else None


def _metadata(calling_code: str) -> phonenumbers.PhoneMetadata | None:
    region = phonenumbers.region_code_for_country_code(int(calling_code))
    if region == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return phonenumbers.PhoneMetadata.metadata_for_nongeo_region(int(calling_code))
    return phonenumbers.PhoneMetadata.metadata_for_region(region)


@cache
def _known_lengths(calling_code: str) -> frozenset[int]:
    """The library's lengths of national numbers; none for a code that it has not."""
    metadata = _metadata(calling_code)
    general = metadata.general_desc if metadata is not None else None
    lengths = general.possible_length if general is not None else ()
    return frozenset(lengths)


def _lengths(calling_code: str) -> frozenset[int]:
    """Possible lengths of national numbers: the library's, and what is longer (machines')."""
    most = _MOST_DIGITS - len(calling_code)
    known = frozenset(length for length in _known_lengths(calling_code) if length <= most)
    if not known:  # E.164's own limits
        return frozenset(range(4, most + 1))
    return known | frozenset(range(max(known) + 1, most + 1))


def country_of(e164: str) -> str:
    """The ISO country of a number in E.164; empty when it has none or is no number."""
    destination = parse_destination(e164)
    return destination.country if destination is not None else ""
