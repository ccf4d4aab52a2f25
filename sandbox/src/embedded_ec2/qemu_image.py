"""A function that makes the disk image of emulated machines from the tree of an image and its kernel."""

import shutil
import uuid
from pathlib import Path

from embedded_ec2.commands import run
from embedded_ec2.errors import SandboxError

DISK = "disk.raw"
KERNEL = "vmlinuz"
INITRD = "initrd.img"
DISK_BYTES = 3 * 1024**3

PACKAGES = ("linux-image-cloud-amd64", "grub2-common", "grub-pc-bin", "e2fsprogs", "rt-tests", "auditd")
FILES = {
    "etc/default/grub": (
        'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
        'GRUB_CMDLINE_LINUX="console=ttyS0"\nGRUB_DISABLE_OS_PROBER=true\nGRUB_DISABLE_RECOVERY=true\n'
    ),
    # In an emulated machine on a busy computer a service may need minutes to start.
    "etc/systemd/system.conf.d/patience.conf": "[Manager]\nDefaultTimeoutStartSec=600\nDefaultDeviceTimeoutSec=600\n",
}
DIRECTORIES = ("boot/grub", "etc/systemd/network", "var/lib/cloud/seed/nocloud")
NETWORK_UNIT = "usr/lib/systemd/system/systemd-networkd.service"
PROOF = ("usr/sbin/update-grub", NETWORK_UNIT)


def make_disk(root: Path, target: Path) -> None:
    """Make the files from which QEMU starts, from a directory tree with a kernel. The tree is removed.

    The arguments of the first boot are those that the machine's own update-grub would write. So an undo of later
    changes restores exactly these.
    """
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise SandboxError(f"the image built in {root} has no kernel in /boot; delete it and run again")
    version = kernels[-1].name.removeprefix("vmlinuz-")
    filesystem_id = str(uuid.uuid4())
    for name in DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    wanted_by = root / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    wanted_by.unlink(missing_ok=True)
    wanted_by.symlink_to(f"/{NETWORK_UNIT}")
    line = f"linux /boot/{kernels[-1].name} root=UUID={filesystem_id} ro console=ttyS0\n"
    (root / "boot/grub/grub.cfg").write_text(line)
    # The kernel mounts the root file system read-only. By this line systemd makes it writable.
    (root / "etc/fstab").write_text(f"UUID={filesystem_id} / ext4 defaults 0 0\n")
    target.mkdir()
    shutil.copy(kernels[-1], target / KERNEL)
    shutil.copy(root / f"boot/initrd.img-{version}", target / INITRD)
    disk = target / DISK
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    run("mke2fs", "-q", "-t", "ext4", "-U", filesystem_id, "-L", "root", "-d", str(root), str(disk))
    shutil.rmtree(root)
