"""What every process that we start has: it ends when its parent does, even when that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

PR_SET_PDEATHSIG: Final = 1

# Loaded before any fork: a child between fork and exec should load nothing.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def end_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes its program; None where the kernel can't do it.

    On Linux it gets a SIGTERM when its parent is gone.
    """
    libc, parent = _libc, os.getpid()
    if libc is None:
        return None

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return before_exec
