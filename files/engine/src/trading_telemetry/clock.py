"""Functions that read how far the host's clock is from its time source, as reported by chrony or by the kernel.

The kernel is asked only if chrony does not answer, by adjtimex(2), which changes nothing. Its values are not enough
where chrony runs with `rtcsync`: they do not contain the offset that chrony has still to correct, which may be seconds.
Only the command `chronyc tracking` reports that offset.
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
    """The kernel's `struct timex` of 64-bit Linux.

    It has the fields up to `status`, and unused bytes in place of the other fields.
    """

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
    """The state of the host's clock: its estimated offset, and the upper bound of the offset.

    Both are absolute values. They are None if the clock is not synchronised.
    """

    source: str
    """The program that reported the values: "chrony" or "kernel"."""
    offset_us: float | None = None
    bound_us: float | None = None

    @property
    def synchronised(self) -> bool:
        return self.offset_us is not None


def read_clock(host: str = "127.0.0.1", port: int = 323) -> Clock | None:
    """Return the state of the host's clock, as reported by chrony or, if chrony does not answer, by the kernel.

    Returns None when this process may ask neither of the two. `host` and `port` are those of chrony's command
    interface.
    """
    return _ask_chrony(host, port) or _ask_kernel()


def _ask_chrony(host: str, port: int) -> Clock | None:
    """Return chrony's answer to the command `tracking`, or None when chrony does not answer in time.

    `tracking` is a monitoring command, so chrony answers it to any user.
    """
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
    """Return the state of the clock from a line of `chronyc -c tracking`, or None if the line has another format.

    The upper bound of the offset is computed by the formula that chronyc(1) gives under `tracking`.
    """
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
    """Return the C library.

    The result is cached, because each CDLL creates a class that only the garbage collector frees.
    """
    return ctypes.CDLL(None, use_errno=True)


def _ask_kernel() -> Clock | None:
    timex = Timex()
    try:
        state = _libc().adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state == -1 else judged(timex, state)


def judged(timex: Timex, state: int) -> Clock:
    """Return the state of the clock, computed from the values and the return code of the call adjtimex(2)."""
    if state == _TIME_ERROR:
        return Clock("kernel")
    if timex.status & _STA_PLL:
        offset_us = abs(timex.offset) / 1e3 if timex.status & _STA_NANO else float(abs(timex.offset))
    else:
        # A time service corrects the frequency itself and leaves the kernel's offset at 0.
        offset_us = float(timex.esterror)
    return Clock("kernel", offset_us, float(timex.maxerror))
