import os
from pathlib import Path

import pytest
from embedded_ec2.commands import run
from embedded_ec2.errors import SandboxError
from embedded_ec2.qemu import read_boot_arguments
from embedded_ec2.qemu_image import DISK, INITRD, KERNEL, make_disk


@pytest.fixture(autouse=True)
def _tools_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add /usr/sbin and /sbin to PATH. Debian has mke2fs and debugfs there, which need no root rights."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")


def tree(directory: Path, *kernels: str) -> Path:
    root = directory / "tree"
    for name in ("boot", "etc/systemd/system/multi-user.target.wants"):
        (root / name).mkdir(parents=True)
    for version in kernels:
        (root / "boot" / f"vmlinuz-{version}").write_text(f"kernel {version}")
        (root / "boot" / f"initrd.img-{version}").write_text(f"initrd {version}")
    return root


def test_the_disk_boots_the_newest_kernel_from_its_own_file_system(tmp_path: Path) -> None:
    made = tmp_path / "image"
    make_disk(tree(tmp_path, "6.1.0-40", "6.1.0-41"), made)
    assert (made / KERNEL).read_text() == "kernel 6.1.0-41"
    assert (made / INITRD).read_text() == "initrd 6.1.0-41"
    root_argument, *others = read_boot_arguments(made / DISK).split()
    assert others == ["ro", "console=ttyS0"]
    # The kernel mounts the disk read-only. Later, the disk's line in fstab makes it writable.
    device = root_argument.removeprefix("root=")
    assert run("debugfs", "-R", "cat /etc/fstab", str(made / DISK)) == f"{device} / ext4 defaults 0 0\n"
    assert device.removeprefix("UUID=") in run("dumpe2fs", "-h", str(made / DISK))


def test_a_tree_without_a_kernel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no kernel in /boot"):
        make_disk(tree(tmp_path), tmp_path / "image")
