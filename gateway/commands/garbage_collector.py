"""The garbage collector of a process that keeps many messages.

Nearly all of ours is freed by reference counts: a message holds no cycle. The collector's default
is to look every 700 new objects, and at everything whenever a quarter more has come; with a
million messages waiting that is a pause of seconds, again and again, for nothing. So it looks
seldom, and never again at what was there at the start.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000  # new objects that survive between two looks
OLDER: Final = 20  # looks at the young for each look at those that survived one
OLDEST: Final = 1_000  # … and those for each look at everything


def tune_collector() -> None:
    """Call it once, when everything is loaded that stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDEST)
