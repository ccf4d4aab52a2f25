"""Keeping the engine's pages in memory."""

from __future__ import annotations

import ctypes
import resource

_CURRENT_AND_FUTURE = 3  # MCL_CURRENT | MCL_FUTURE, <sys/mman.h>


def lock_memory() -> bool:
    """Lock all present and future pages if the unit allows it without a limit; return whether it worked.

    Under a limit a later allocation would fail instead of being swapped, so nothing is locked then.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        return False
    return bool(ctypes.CDLL(None).mlockall(_CURRENT_AND_FUTURE) == 0)
