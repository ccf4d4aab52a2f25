"""Names for the runs of a program that enters orders. Accounts whose tokens must increase accept each run's tokens."""

from __future__ import annotations

import time
from typing import Final

RUN_DIGITS: Final = 7
_BASE36: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def run_prefix(time_s: float | None = None) -> bytes:
    """Return seven characters that no earlier run used and that sort after them: tenths of a second since 1970.

    They are written in base 36.
    """
    tenths = int((time.time() if time_s is None else time_s) * 10)
    digits = ""
    for _ in range(RUN_DIGITS):
        tenths, digit = divmod(tenths, 36)
        digits = _BASE36[digit] + digits
    return digits.encode("ascii")
