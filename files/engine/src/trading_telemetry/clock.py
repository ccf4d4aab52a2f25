"""How far the host's clock is from its reference, as the kernel knows it: adjtimex(2), reading only."""

import ctypes

_STA_NANO = 0x2000
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
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


def clock_offset_us() -> float | None:
    """Return the distance in µs, or None when the clock is not synchronised or the kernel may not be asked."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state in (-1, _TIME_ERROR):
        return None
    return abs(timex.offset) / 1e3 if timex.status & _STA_NANO else float(abs(timex.offset))
