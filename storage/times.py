"""Times that a row can hold: the driver's `datetime` ends before the column's type does.

What comes from outside is cut to this range (`within`), and so is what was worked out from it
(`utc_of`): a time far beyond reads as the last one, and ends no statement.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

# A day from either end of what `datetime` holds: whoever adds a day, or a zone, stays inside.
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
_EARLIEST_S: Final = EARLIEST.timestamp()
_LATEST_S: Final = LATEST.timestamp()


def utc_of(seconds: float) -> datetime:
    """The moment this many seconds after 1970 in UTC, cut to what a row can hold."""
    if _EARLIEST_S <= seconds <= _LATEST_S:  # each row that is written has several
        return datetime.fromtimestamp(seconds, UTC)
    return LATEST if seconds > 0 else EARLIEST


def within(at: datetime) -> datetime:
    """`at` in UTC (which it is without a zone), cut to what a row can hold."""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(at, EARLIEST), LATEST).astimezone(UTC)
