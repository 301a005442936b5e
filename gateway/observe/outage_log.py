"""What the log says while the database is away: its beginning, now and then a count, its end.

A dozen stages try again several times a second, and each has something to say of it. The lines go
through one filter for each process, which knows them by their `event`, and those of the driver's
pool by their logger: the first is shown, then at most one in ten seconds, with how many were left
out. The end is told once it has been silent for a moment, so that a database that comes and goes
does not fill the log either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

log = logging.getLogger(__name__)

EVENT: Final = "database_away"
POOL: Final = "asyncpg.pool"  # tells with a traceback of each attempt that failed
AWAY: Final[Mapping[str, object]] = {"event": EVENT}  # the `extra` of each such line
EVERY_S: Final = 10.0
SILENT_S: Final = 2.0  # four pauses of the stages between two attempts


class Outage(logging.Filter):
    """Lets few of the lines through. `now`: seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._began: float | None = None
        self._last = 0.0
        self._said = 0.0
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == POOL and record.exc_info:
            record.msg, record.args = "%s: %s", (record.getMessage(), record.exc_info[1])
            record.exc_info = record.exc_text = None  # one line, as of all others
        elif getattr(record, "event", None) != EVENT:
            return True
        now = self._last = self._now()
        if self._began is None:
            self._began = now
        elif now - self._said < EVERY_S:
            self._left_out += 1
            return False
        self._said = now
        if self._left_out:
            record.left_out = self._left_out  # shown behind the line, as its `extra`
            self._left_out = 0
        return True

    def look(self, available: bool) -> None:
        """Say that it is over, once the database is there and nobody complains any more."""
        if self._began is None or not available or self._now() - self._last < SILENT_S:
            return
        log.warning(
            "the database is back, after %.1f s",
            self._last - self._began,
            extra={"event": "database_back", "left_out": self._left_out},
        )
        self._began = None
        self._left_out = 0


OUTAGE: Final = Outage()  # of this process, as its log is
