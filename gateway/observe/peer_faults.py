"""What the log says of what a peer does wrong: a few lines a minute of each kind, and a count.

Whoever is at the other end of a connection chooses how often it is wrong. So each line that a peer
causes names its kind (`caused_by_peer`), and goes through one filter for each process: of each kind
some are shown, the last of them says that more are left out, and the next minute's first says how
many were.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

BURST: Final = 5  # lines of a kind in a minute
MINUTE_S: Final = 60.0
MOST_KINDS: Final = 1_000


def caused_by_peer(kind: str, **more: object) -> Mapping[str, object]:
    """The `extra` of such a line. `kind` is of our making: what happened, with which carrier."""
    return {"kind": kind, **more}


class Flood(logging.Filter):
    """Lets few of the lines through. `now`: seconds of a clock that never goes back."""

    def __init__(
        self, now: Callable[[], float] = time.monotonic, most_kinds: int = MOST_KINDS
    ) -> None:
        super().__init__()
        self._most_kinds = most_kinds
        self._now = now
        self._kinds: dict[str, tuple[float, int]] = {}  # since when, lines since

    def filter(self, record: logging.LogRecord) -> bool:
        kind = getattr(record, "kind", None)
        if kind is None:
            return True
        now = self._now()
        since, lines = self._kinds.pop(kind, (now, 0))
        if now - since >= MINUTE_S:
            if lines > BURST:
                record.left_out = lines - BURST  # shown behind the line, as its `extra`
            since, lines = now, 0
        if len(self._kinds) >= self._most_kinds:
            del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = since, lines + 1
        if lines + 1 == BURST:
            record.more = "left out for a minute"
        return lines < BURST


FLOOD: Final = Flood()  # of this process, as its log is
