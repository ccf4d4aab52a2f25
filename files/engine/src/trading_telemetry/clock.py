"""How far the host's clock is from its reference, as the kernel knows it: adjtimex(2), reading only."""

import ctypes
from dataclasses import dataclass

_STA_PLL = 0x0001
_STA_NANO = 0x2000
_TIME_ERROR = 5


class Timex(ctypes.Structure):
    """`struct timex` of 64-bit Linux up to the field `status`, and room for what follows."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


@dataclass(frozen=True)
class Clock:
    """The distance of a clock that is synchronised, as it is estimated and as it is at the most."""

    offset_us: float
    bound_us: float


def read_clock() -> Clock | None:
    """Return the clock's distance, or None when it is not synchronised or the kernel may not be asked."""
    timex = Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state == -1 else judged(timex, state)


def judged(timex: Timex, state: int) -> Clock | None:
    """Return what the kernel's answer says of the clock, None when it is not synchronised."""
    if state == _TIME_ERROR:
        return None
    if timex.status & _STA_PLL:
        offset_us = abs(timex.offset) / 1e3 if timex.status & _STA_NANO else float(abs(timex.offset))
    else:
        # chrony steers the frequency itself and leaves the kernel's offset at 0; with `rtcsync` it tells its errors.
        offset_us = float(timex.esterror)
    return Clock(offset_us, float(timex.maxerror))
