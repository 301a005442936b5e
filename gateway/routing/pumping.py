"""Artificially inflated traffic: many messages to numbers that somebody is paid for
(docs/spec/messaging-services.md#further-features).

What gives it away is a range of numbers (their first digits) that suddenly gets far more than it
used to, a country that an account never sent to and now sends to in a burst, or recipients that
follow one another. Everything is counted per account in windows of ten minutes; the baseline of a
range is a trailing mean of its windows. Pure: the caller says what time it is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 600.0
RANGE_DIGITS: Final = 7  # of the number, country code included
LEAST: Final = 100  # messages to a range in a window before its rate says anything
FACTOR: Final = 5.0  # times its baseline
NEW_COUNTRY: Final = 200  # messages to a country in its first day, in a window
NEW_FOR_S: Final = 86_400.0
SEQUENCE: Final = 20  # recipients in a row, each close behind the one before
STEP: Final = 3  # numbers apart at most
SMOOTHING: Final = 0.1  # weight of a window in the baseline
MOST_KEYS: Final = 100_000  # ranges and countries that are remembered; the oldest go


@dataclass(slots=True)
class _Count:
    window: int
    first_seen: float
    count: int = 0
    baseline: float = 0.0
    last: int = 0
    in_sequence: int = 0

    def turn(self, window: int) -> None:
        """Close the windows that are over."""
        passed = window - self.window
        if passed > 0:
            self.baseline += SMOOTHING * (self.count - self.baseline)
            self.baseline *= (1 - SMOOTHING) ** min(passed - 1, 1_000)
            self.window, self.count = window, 0


class PumpingGuard:
    """Counts messages by account, and says which of them look pumped."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[int, str], _Count] = OrderedDict()

    def suspects(self, account_id: int, country: str, e164: str, now: float) -> bool:
        """Count a message; whether it is to be blocked. `now` is in seconds."""
        digits = e164[1:]
        by_range = self._count(account_id, digits[:RANGE_DIGITS], now)
        number = int(digits)
        close = 0 < number - by_range.last <= STEP
        by_range.in_sequence = by_range.in_sequence + 1 if close else 0
        by_range.last = number
        by_country = self._count(account_id, country, now)
        new = now - by_country.first_seen < NEW_FOR_S
        return (
            by_range.in_sequence >= SEQUENCE
            or by_range.count > max(LEAST, FACTOR * by_range.baseline)
            or (new and by_country.count > NEW_COUNTRY)
        )

    def _count(self, account_id: int, what: str, now: float) -> _Count:
        key, window = (account_id, what), int(now / WINDOW_S)
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = _Count(window, now)
            if len(self._counts) > MOST_KEYS:
                self._counts.popitem(last=False)
        else:
            self._counts.move_to_end(key)
            found.turn(window)
        found.count += 1
        return found
