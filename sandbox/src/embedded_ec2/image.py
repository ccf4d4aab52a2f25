"""The one disk image every machine starts from: Debian 12 with what a cloud image has, cached by its recipe."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from embedded_ec2.errors import SandboxError

CACHE = Path("/var/cache/embedded-ec2")
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_BYTES = 2 * 1024**3

# Machines have no way to the internet, so whatever a role installs from the distribution is here already.
PACKAGES = (
    # a machine that boots and lets one in
    *("systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod"),
    *("openssh-server", "sudo", "cloud-init", "ca-certificates"),
    # what Ansible and Python programs need
    *("python3", "python3-venv", "python3-apt"),
    # the network, seen and filtered
    *("iproute2", "iputils-ping", "ethtool", "nftables", "iptables", "curl"),
    # time, and tools to tune and to measure with
    *("procps", "chrony", "irqbalance", "rt-tests"),
)

CLOUD_CONFIG = """\
datasource_list: [NoCloud, None]
network: {config: disabled}
# The default locale's step fails on a minimal image.
locale: C.UTF-8
# RSA keys take a second to make, and every client here knows the newer kinds.
ssh_genkeytypes: [ed25519, ecdsa]
manage_etc_hosts: true
"""

# Files written into the image; an empty machine-id is what systemd takes for a first boot.
FILES = {
    "etc/fstab": "",
    "etc/machine-id": "",
    "etc/resolv.conf": "# This machine has no name server.\n",
    "etc/cloud/cloud.cfg.d/90_embedded_ec2.cfg": CLOUD_CONFIG,
}
# The keys made when the server's package was installed would be the same in every machine.
REMOVED = ("etc/hostname", "etc/ssh/ssh_host_*", "var/lib/cloud/instance*", "var/log/*.log", "var/lib/dbus/machine-id")
# Without these the image is not whole, whatever the builder's exit status was.
PROOF = (
    "usr/sbin/sshd",
    "usr/bin/python3",
    "usr/bin/cloud-init",
    "usr/sbin/chronyd",
    "usr/lib/systemd/systemd",
    "usr/sbin/nft",
)


def recipe_digest() -> str:
    """Return the name of the recipe: another package or file makes another image."""
    recipe = repr((SUITE, sorted(PACKAGES), sorted(FILES.items()), REMOVED, platform.machine()))
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def ensure_image(say: Callable[[str], None], cache: Path = CACHE) -> Path:
    """Return the root directory of a complete image, building it when it is not there yet.

    It is built beside its final name, checked, and renamed only then: a torn build is never taken for an image.
    Raises SandboxError when the disk is too full or a package cannot be had.
    """
    image = cache / f"{SUITE}-{recipe_digest()}"
    if image.is_dir():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if image.is_dir():
            return image
        unfinished = image.with_name(image.name + ".unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        _require_space(cache)
        say(f"Building the machines' Debian 12 image in {cache} (once, about a minute)")
        _install(unfinished)
        _furnish(unfinished)
        check(unfinished)
        os.sync()
        unfinished.rename(image)
    return image


def _require_space(cache: Path) -> None:
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < NEEDED_BYTES:
        raise SandboxError(
            f"{cache} has {free_bytes / 1e9:.1f} GB free, the image needs {NEEDED_BYTES / 1e9:.1f} GB: make room there"
        )


def _install(root: Path) -> None:
    if not KEYRING.exists():
        raise SandboxError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    log = root.with_suffix(".log")
    argv = ["mmdebstrap", "--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(PACKAGES)}"]
    with log.open("w") as output:
        try:
            done = subprocess.run([*argv, SUITE, str(root), MIRROR], stdout=output, stderr=output, check=False)
        except FileNotFoundError:
            raise SandboxError("mmdebstrap is not installed: apt-get install mmdebstrap") from None
    if done.returncode:
        last_lines = "\n  ".join(log.read_text().splitlines()[-5:])
        raise SandboxError(f"the image could not be built from {MIRROR}; {log} ends with:\n  {last_lines}")
    log.unlink()


def _furnish(root: Path) -> None:
    for pattern in REMOVED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, content in FILES.items():
        path = root / name
        path.unlink(missing_ok=True)
        path.write_text(content)


def check(root: Path) -> None:
    """Raise SandboxError unless the tree holds what a machine cannot do without."""
    missing = [name for name in PROOF if not (root / name).exists()]
    if missing:
        raise SandboxError(f"the image built in {root} lacks {', '.join(missing)}; delete it and run again")
