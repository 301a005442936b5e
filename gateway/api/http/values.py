"""Numbers and times in texts from outside: each is checked as a whole, then converted once.

`int` alone takes signs, spaces, underscores, digits of any script, and refuses long texts in its
own way; `datetime` ends at the year 9999, and its readers at a NUL, or read what is left of a date
that something is wrong with. So nothing of a request is given to either but here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.runtime.times import read_iso
from storage.times import within

LONGEST_WHOLE: Final = 18  # digits: what a bigint holds, whatever they are
LARGEST_WHOLE: Final = 10**LONGEST_WHOLE - 1
LONGEST_TIME: Final = 64  # characters; an RFC 2822 date with a comment
ZONED_US_DATE: Final = "%m/%d/%Y %H:%M:%S %z"
_US_DATE: Final = re.compile(
    r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{4} [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2} (?:Z|[+-][0-9]{2}:?[0-9]{2})"
)
# RFC 2822 §3.3 with the names of zones of §4.3, and a comment behind it.
_MAIL_DATE: Final = re.compile(
    r"(?:[A-Z]{3}, ?)?[0-9]{1,2} [A-Z]{3} [0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})?"
    r"(?: (?:[+-][0-9]{4}|UTC?|GMT|Z|[ECMP][SD]T))?(?: \([ -'*-~]*\))?",
    re.IGNORECASE,
)
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_DATES: Final[tuple[Callable[[str], datetime], ...]] = (
    read_iso,
    lambda given: parsedate_to_datetime(_whole(_MAIL_DATE, given)),
    lambda given: datetime.strptime(_whole(_US_DATE, given), ZONED_US_DATE),
)
# All that these readers raise on a text: a number too large for a C int is an OverflowError.
_UNREADABLE: Final = (ValueError, TypeError, OverflowError, IndexError)


def read_whole(text: str, low: int = 0, high: int = LARGEST_WHOLE) -> int | None:
    """The whole number from `low` to `high` that `text` is; None for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_WHOLE):
        return None
    value = int(text)
    return value if low <= value <= high else None


def read_decimal(text: str) -> float | None:
    """The number of digits, and of a fraction in digits, that `text` is; else None."""
    if len(text) > LONGEST_WHOLE or _DECIMAL.fullmatch(text) is None:
        return None
    return float(text)


def read_time(text: str) -> datetime | None:
    """An ISO 8601 time in UTC, which it is without a zone; None for anything else."""
    if len(text) > LONGEST_TIME:
        return None
    try:
        return within(read_iso(text))
    except _UNREADABLE:
        return None


def read_any_time(text: str) -> datetime | None:
    """An ISO 8601 time, an RFC 2822 one, or `MM/DD/YYYY HH:MM:SS ±HHMM`, in UTC; else None."""
    if len(text) > LONGEST_TIME:
        return None
    for read in _DATES:
        try:
            return within(read(text))
        except _UNREADABLE:
            continue
    return None


def _whole(form: re.Pattern[str], text: str) -> str:
    """Raises ValueError unless `text` has the form from end to end."""
    if not text.isascii() or form.fullmatch(text) is None:
        raise ValueError("not a date")
    return text


def read_day(text: str) -> date | None:
    """An ISO 8601 date; None for anything else."""
    if len(text) > LONGEST_TIME:
        return None
    try:
        return date.fromisoformat(text) if text.isascii() else None
    except _UNREADABLE:
        return None
