"""Which engine may replay a journal: one whose deterministic machine has the same source, byte by byte.

The source says it and not a number that somebody has to raise, and it is beside the compiled modules as well, so both
variants of a release are the same machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from trading_engine import __version__, core

SOURCES: Final = (
    "account.py",
    "book.py",
    "core.py",
    "expiry.py",
    "matching.py",
    "native.py",
    "outputs.py",
    "recovery.py",
    "risk.py",
    "terms.py",
    "wire/layout.py",
    "wire/ouch.py",
)


def is_compiled() -> bool:
    """Return whether this process runs the compiled machine."""
    return not str(core.__file__).endswith(".py")


def _digest() -> str:
    content = hashlib.sha256()
    for name in SOURCES:
        content.update((Path(__file__).parent / name).read_bytes())
    return content.hexdigest()


MACHINE_VERSION: Final = f"{__version__}+{_digest()[:12]}"
"""The release and its machine, for example 0.1.0+91af02c7de34: journals and snapshots say who wrote them."""
