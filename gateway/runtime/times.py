"""Times as an operator writes and reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

# A date, by months or by weeks, and a time with or without its zone. `fromisoformat` ends at a NUL
# behind a time, and takes any character before one.
_ISO: Final = re.compile(
    r"[0-9]{4}-?(?:[0-9]{2}-?[0-9]{2}|W[0-9]{2}(?:-?[0-9])?)"
    r"(?:[T ][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]{1,12})?)?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?)?)?",
    re.IGNORECASE,
)


def read_iso(text: str) -> datetime:
    """The ISO 8601 time that `text` is, as a whole. Raises ValueError."""
    if _ISO.fullmatch(text) is None or not text.isascii():
        raise ValueError("not an ISO 8601 time")
    return datetime.fromisoformat(text.upper())


def moment(text: str) -> datetime:
    """A time with its zone; UTC without one. Raises ValueError."""
    at = read_iso(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def shown(at: datetime) -> str:
    """In UTC, to the millisecond where there are any: `2026-11-24T21:00:00Z`."""
    at = at.astimezone(UTC)
    part = "milliseconds" if at.microsecond >= 1000 else "seconds"
    return at.replace(tzinfo=None).isoformat(timespec=part) + "Z"


def iso8601_ms(seconds: float) -> str:
    """Seconds since 1970, to the millisecond; for what Twilio does not have."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
