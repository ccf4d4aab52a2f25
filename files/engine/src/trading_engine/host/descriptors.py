"""The number of file descriptors that clients' connections may use, and the errors that go away without a restart."""

from __future__ import annotations

import errno
import resource
from typing import Final

_KEPT: Final = 1024
TRANSIENT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)
"""The errors of open() and similar calls that may be gone at the next attempt. They do not mean a bad file or path."""


def for_sockets() -> int:
    """Return how many file descriptors clients' connections may use.

    They get the limit of the process, minus the descriptors that the process keeps for its own files. These are a
    quarter of the limit, but at most 1,024.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    return limit - min(_KEPT, limit // 4)
