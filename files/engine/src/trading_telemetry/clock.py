"""The distance of the host's clock from its reference, from chrony or else the kernel (adjtimex(2), reading only).

The kernel's errors are not enough where chrony runs: with `rtcsync` they are the deviation of its measurements, and the
distance to its source. They do not contain what chrony has still to correct, which may be seconds. Only `tracking`
reports that.
"""

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

_STA_PLL = 0x0001
_STA_NANO = 0x2000
_TIME_ERROR = 5
_PATH = "/usr/bin:/usr/local/bin:/bin"
_TRACKING_FIELDS = 14
_ASK_LIMIT_S = 2.0
READ_S = 10.0
"""The interval between readings: chrony asks its sources every 16 seconds or less often."""


class Timex(ctypes.Structure):
    """`struct timex` of 64-bit Linux up to the field `status`, and room for the rest."""

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
    """The estimated and the greatest distance of a clock; None for a clock that is not synchronised."""

    source: str
    offset_us: float | None = None
    bound_us: float | None = None

    @property
    def synchronised(self) -> bool:
        return self.offset_us is not None


def read_clock(host: str = "127.0.0.1", port: int = 323) -> Clock | None:
    """Return the clock's distance from chrony, or else the kernel; None when neither may be asked."""
    return _ask_chrony(host, port) or _ask_kernel()


def _ask_chrony(host: str, port: int) -> Clock | None:
    """Ask chrony by a monitoring command, which needs no privilege; None where it does not run or answer in time."""
    chronyc = shutil.which("chronyc", path=_PATH)
    if chronyc is None:
        return None
    try:
        done = subprocess.run(
            [chronyc, "-n", "-c", "-h", host, "-p", str(port), "tracking"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return tracked(done.stdout) if done.returncode == 0 else None


def tracked(line: str) -> Clock | None:
    """Return the clock of a line of `chronyc -c tracking`; the bound is the formula of chronyc(1), under `tracking`."""
    fields = line.strip().split(",")
    if len(fields) != _TRACKING_FIELDS:
        return None
    try:
        system_time_s, root_delay_s, root_dispersion_s = (float(fields[at]) for at in (4, 10, 11))
    except ValueError:
        return None
    if fields[13] == "Not synchronised":
        return Clock("chrony")
    bound_s = abs(system_time_s) + root_dispersion_s + root_delay_s / 2
    return Clock("chrony", abs(system_time_s) * 1e6, bound_s * 1e6)


@cache
def _libc() -> ctypes.CDLL:
    """Return the C library. It is kept, because each CDLL makes a class that only the garbage collector frees."""
    return ctypes.CDLL(None, use_errno=True)


def _ask_kernel() -> Clock | None:
    timex = Timex()
    try:
        state = _libc().adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state == -1 else judged(timex, state)


def judged(timex: Timex, state: int) -> Clock:
    """Return the clock that the kernel's answer describes."""
    if state == _TIME_ERROR:
        return Clock("kernel")
    if timex.status & _STA_PLL:
        offset_us = abs(timex.offset) / 1e3 if timex.status & _STA_NANO else float(abs(timex.offset))
    else:
        # Somebody steers the frequency and leaves the kernel's offset at 0.
        offset_us = float(timex.esterror)
    return Clock("kernel", offset_us, float(timex.maxerror))
