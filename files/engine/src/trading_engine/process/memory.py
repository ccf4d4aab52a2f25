"""The locking of the engine's memory, so that the kernel never swaps it out."""

from __future__ import annotations

import ctypes
import resource

_CURRENT_AND_FUTURE = 3  # MCL_CURRENT | MCL_FUTURE, <sys/mman.h>


def lock_memory() -> bool:
    """Lock all present and future pages of this process in memory. Return whether that was done.

    It is done only if the process has no limit on locked memory. With a limit, a later allocation might fail.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        return False
    return bool(ctypes.CDLL(None).mlockall(_CURRENT_AND_FUTURE) == 0)
