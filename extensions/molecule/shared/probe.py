"""Try, from inside a service's confinement, what a compromised service would try; print the attempts that worked."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
SETTING = Path("/proc/sys/vm/swappiness")
FINIT_MODULE = {"x86_64": 313, "aarch64": 273}


def refused_by_libc(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def write(path: str) -> Callable[[], object]:
    return lambda: Path(path).touch()


def read(path: str) -> Callable[[], object]:
    return lambda: Path(path).read_bytes()


def have_capabilities() -> None:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = [name for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb") if int(status[name], 16)]
    if not held and status["NoNewPrivs"] == "1":
        raise PermissionError


def load_a_module() -> None:
    LIBC.syscall(FINIT_MODULE[os.uname().machine], -1, b"", 0)
    if ctypes.get_errno() == errno.EPERM:
        raise PermissionError


def see_other_processes() -> None:
    others = [path for path in Path("/proc").glob("[0-9]*") if path.stat().st_uid != os.getuid()]
    if not others:
        raise FileNotFoundError


ATTEMPTS: dict[str, Callable[[], object]] = {
    "read /etc/shadow": read("/etc/shadow"),
    "read a password": read("/etc/trading/secrets/BENCH.password"),
    "open a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open a packet socket": lambda: socket.socket(17, socket.SOCK_RAW),
    "become root": lambda: os.setuid(0),
    "have capabilities": have_capabilities,
    "make a user namespace": lambda: refused_by_libc(LIBC.unshare(CLONE_NEWUSER)),
    "run memory that it wrote": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "write to /etc": write("/etc/probe"),
    "write to /usr": write("/usr/probe"),
    "write to /opt/trading": write("/opt/trading/probe"),
    "write to /var/log": write("/var/log/probe"),
    "write to /home": write("/home/probe"),
    # Which any user may do without the unit's confinement.
    "write where everybody may": write("/opt/everybody/probe"),
    # As it is, so that nothing is changed where that works.
    "change a setting of the kernel": lambda: SETTING.write_text(SETTING.read_text()),
    "load a module": load_a_module,
    "see other processes": see_other_processes,
}


# Where somebody answers who is no part of this host: address and port.
if len(sys.argv) > 2:
    ELSEWHERE = (sys.argv[1], int(sys.argv[2]))
    ATTEMPTS["connect to another host"] = lambda: socket.create_connection(ELSEWHERE, 5)


def worked(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


done = [name for name, attempt in ATTEMPTS.items() if worked(attempt)]
print(json.dumps({"tried": len(ATTEMPTS), "names": list(ATTEMPTS), "worked": done}))
