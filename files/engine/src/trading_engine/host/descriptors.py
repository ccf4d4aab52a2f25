"""The number of file descriptors that clients may use."""

from __future__ import annotations

import errno
import resource
from typing import Final

_KEPT: Final = 1024
TRANSIENT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)
"""Temporary errors: their cause is not the file or directory itself."""


def for_sockets() -> int:
    """Return the process's limit less the descriptors for its own files: a quarter, or 1,024 of a large limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    return limit - min(_KEPT, limit // 4)
