"""Functions that check whether this computer has everything that a sandbox needs, before anything is made."""

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from embedded_ec2.commands import succeeds
from embedded_ec2.errors import SandboxError

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "mount": "mount",
    "setpriv": "util-linux",
    "nft": "nftables",
    "sysctl": "procps",
}
QEMU_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}
# The space for the files that some machines write: logs, the engine's release and the first segments of its journal.
NEEDED_BYTES = 1 * 1024**3
ALONE = "`up --no-machines` runs the API alone"


def require_machines_possible(*, qemu: bool) -> None:
    """Raise SandboxError when this computer lacks something that the sandbox's machines need.

    With `qemu` this includes what emulated machines need. The message says what is missing, and how to get it.
    """
    if sys.platform != "linux":
        raise SandboxError(f"machines need Linux, and this is {sys.platform}; {ALONE}")
    if os.geteuid() != 0:
        raise SandboxError(f"machines need root: run this as root or install sudo; {ALONE}")
    if qemu and platform.machine() != "x86_64":
        raise SandboxError(f"machines by QEMU need an x86-64 machine, this is {platform.machine()}; leave --qemu out")
    wanted = TOOLS | (QEMU_TOOLS if qemu else {})
    missing = {tool: package for tool, package in wanted.items() if not shutil.which(tool)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise SandboxError(f"not installed: {', '.join(missing)}; apt-get install {packages}; or: {ALONE}")
    if not _may_administer_network():
        raise SandboxError(f"this root may not make network devices (an unprivileged container?); {ALONE}")


def require_place_for_machines(base: Path) -> None:
    """Raise SandboxError when the disk cannot hold the machines' files.

    The disk must have enough space and support overlays.
    """
    there = next(path for path in (base, *base.parents) if path.is_dir())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < NEEDED_BYTES:
        raise SandboxError(
            f"{base} has {free_bytes / 1e9:.1f} GB free, machines need {NEEDED_BYTES / 1e9:.1f} GB: make room there; "
            + ALONE
        )
    with tempfile.TemporaryDirectory(dir=there, prefix=".overlay-") as scratch:
        lower, upper, work, root = (Path(scratch, name) for name in ("lower", "upper", "work", "root"))
        for path in (lower, upper, work, root):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        if not succeeds("mount", "-t", "overlay", "overlay", "-o", options, str(root)):
            raise SandboxError(
                f"{base} carries no overlay, which each machine's disk is (a container's own disk is one already, and "
                f"so is a live system's): mount a volume there, or a tmpfs; {ALONE}"
            )
        succeeds("umount", str(root))


def _may_administer_network() -> bool:
    """Return whether this process may administer networks and mounts.

    It needs the effective capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN (capability.h: bits 12 and 21).
    """
    with open("/proc/self/status", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    needed = 1 << 12 | 1 << 21
    return effective & needed == needed
