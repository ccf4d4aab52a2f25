"""How many file descriptors clients may use up."""

from __future__ import annotations

import errno
import resource
from typing import Final

_KEPT: Final = 1024
TRANSIENT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR)
"""What is no failure of a file or directory, but of the moment."""


def for_sockets() -> int:
    """Return the process' limit less what its own files need: a quarter, of a large limit 1,024."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    return limit - min(_KEPT, limit // 4)
