"""Times as an operator writes and reads them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """A time with its zone; UTC without one. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def shown(at: datetime) -> str:
    """In UTC, to the millisecond where there are any: `2026-11-24T21:00:00Z`."""
    at = at.astimezone(UTC)
    part = "milliseconds" if at.microsecond >= 1000 else "seconds"
    return at.replace(tzinfo=None).isoformat(timespec=part) + "Z"


def iso8601_ms(seconds: float) -> str:
    """Seconds since 1970, to the millisecond; for what Twilio does not have."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
