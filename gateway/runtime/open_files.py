"""How many files and sockets this process may have open."""

from __future__ import annotations

import logging
import resource
from typing import Final

log = logging.getLogger(__name__)

ENOUGH: Final = 4096


def raise_open_files() -> int:
    """Raise the limit as far as we may, and warn where that is too little; the limit from now on.

    Many service managers start a process with 1,024 and leave it to the process to ask for more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # a hard limit beyond what the system gives
            log.warning("the limit of open files stays at %d: %s", soft, error)
    if soft != resource.RLIM_INFINITY and soft < ENOUGH:
        log.warning(
            "only %d files and sockets may be open at once, and connections beyond that fail: set"
            " `ulimit -Hn` (systemd: LimitNOFILE=, Docker: --ulimit nofile=) to %d or more",
            soft,
            ENOUGH,
        )
    return soft
