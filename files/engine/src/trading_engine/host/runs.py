"""Names for the runs of a program that enters orders, such as the load generator.

The names are the beginnings of the run's order tokens, which are an order's ids at the client. Accounts may be
configured to accept only increasing tokens. As later names sort after earlier ones, such accounts accept each run.
"""

from __future__ import annotations

import time
from typing import Final

RUN_DIGITS: Final = 7
_BASE36: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def run_prefix(time_s: float | None = None) -> bytes:
    """Return the seven characters with which the order tokens of a run begin.

    They are the tenths of a second since 1970, at `time_s` or now, in base 36. So they sort after those of all earlier
    runs.
    """
    tenths = int((time.time() if time_s is None else time_s) * 10)
    digits = ""
    for _ in range(RUN_DIGITS):
        tenths, digit = divmod(tenths, 36)
        digits = _BASE36[digit] + digits
    return digits.encode("ascii")
