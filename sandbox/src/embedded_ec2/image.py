"""Functions that build and cache the images of machines: Debian with the packages of a cloud image."""

import fcntl
import hashlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded_ec2 import qemu_image
from embedded_ec2.commands import run
from embedded_ec2.errors import SandboxError

CACHE = Path("/var/cache/embedded-ec2")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_BYTES = 2 * 1024**3

# Machines cannot reach the internet. So the image has every package that a role would install from the distribution.
PACKAGES = (
    # for boot and login
    *("systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod"),
    *("openssh-server", "sudo", "cloud-init", "ca-certificates"),
    # for Ansible and Python programs
    *("python3", "python3-venv", "python3-apt"),
    # for the network and its firewall
    *("iproute2", "iputils-ping", "ethtool", "nftables", "iptables", "curl"),
    # for time, tuning and measurements
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

# Files to write into the image. With an empty machine-id systemd treats the next boot as the first one.
FILES = {
    "etc/fstab": "",
    "etc/machine-id": "",
    "etc/resolv.conf": "# This machine has no name server.\n",
    "etc/cloud/cloud.cfg.d/90_embedded_ec2.cfg": CLOUD_CONFIG,
    # An empty unit is masked. When agetty starts, it discards output that is still on its way to the console. At that
    # time cloud-init prints the host keys. A login there is impossible anyway, because the console is only read.
    "etc/systemd/system/console-getty.service": "",
    "etc/systemd/system/serial-getty@.service": "",
}
# Files to remove. The SSH host keys, for example, were made at the package's installation, and would be the same in
# every machine.
REMOVED = ("etc/hostname", "etc/ssh/ssh_host_*", "var/lib/cloud/instance*", "var/log/*.log", "var/lib/dbus/machine-id")
# An image without one of these files is incomplete, even if the builder reported success.
PROOF = (
    "usr/sbin/sshd",
    "usr/bin/python3",
    "usr/bin/cloud-init",
    "usr/sbin/chronyd",
    "lib/systemd/systemd",
    "usr/sbin/nft",
)


@dataclass(frozen=True)
class Recipe:
    """The contents of an image. A change of packages or files gives the image another name."""

    kind: str
    suite: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    proof: tuple[str, ...]
    # The archive that still has the suite after the mirrors have removed it.
    archive: str = ""

    @property
    def name(self) -> str:
        content = repr((self.suite, self.packages, sorted(self.files.items()), REMOVED, platform.machine()))
        return f"{self.suite}-{self.kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


CONTAINER = Recipe("container", "bookworm", PACKAGES, FILES, PROOF)
VIRTUAL = Recipe(
    "virtual",
    "bookworm",
    (*PACKAGES, *qemu_image.PACKAGES),
    {**FILES, **qemu_image.FILES},
    (*PROOF, *qemu_image.PROOF),
)
BULLSEYE = Recipe("container", "bullseye", PACKAGES, FILES, PROOF, archive="http://archive.debian.org/debian")
# The recipe for each kind of machine, as an instance's tag names it. Debian 11 is supported for its Python 3.9.
RECIPES = {"container": CONTAINER, "bullseye": BULLSEYE, "qemu": VIRTUAL}


def ensure_image(recipe: Recipe, say: Callable[[str], None], cache: Path = CACHE) -> Path:
    """Return the directory of a complete image. Build the image if it does not exist.

    It is built under a temporary name, checked, and then renamed. So an interrupted build never counts as an image.
    Raises SandboxError when the disk is too full or a package is not available.
    """
    image = cache / recipe.name
    if image.is_dir():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if image.is_dir():
            return image
        _require_space(cache)
        say(f"Building the machines' image {recipe.name} in {cache} (once, about a minute)")
        tree, unfinished = (image.with_name(f"{image.name}.{stage}") for stage in ("tree", "unfinished"))
        _remove_trees(tree, unfinished)
        try:
            _install(recipe, tree)
            _furnish(recipe, tree)
            check(recipe, tree)
            if recipe is VIRTUAL:
                qemu_image.make_disk(tree, unfinished)
            else:
                tree.rename(unfinished)
            run("sync", "--file-system", str(unfinished))
            unfinished.rename(image)
        except BaseException:
            _remove_trees(tree, unfinished)
            raise
    return image


def _remove_trees(*trees: Path) -> None:
    for tree in trees:
        if tree.exists():
            shutil.rmtree(tree)


def _require_space(cache: Path) -> None:
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < NEEDED_BYTES:
        raise SandboxError(
            f"{cache} has {free_bytes / 1e9:.1f} GB free, the image needs {NEEDED_BYTES / 1e9:.1f} GB: make room there"
        )


def _install(recipe: Recipe, root: Path) -> None:
    if not KEYRING.exists():
        raise SandboxError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    log = root.with_suffix(".log")
    argv = ["mmdebstrap", "--variant=minbase", f"--keyring={KEYRING}", f"--include={','.join(recipe.packages)}"]
    # The signatures in the archive have expired.
    archived = ["--aptopt=Acquire::Check-Valid-Until false", recipe.suite, str(root), recipe.archive]
    with log.open("w") as output:
        try:
            done = subprocess.run([*argv, recipe.suite, str(root)], stdout=output, stderr=output, check=False)
            if done.returncode and recipe.archive:
                output.write(f"\nThe mirrors have no {recipe.suite}; trying {recipe.archive}\n")
                output.flush()
                _remove_trees(root)
                done = subprocess.run([*argv, *archived], stdout=output, stderr=output, check=False)
        except FileNotFoundError:
            raise SandboxError("mmdebstrap is not installed: apt-get install mmdebstrap") from None
    if done.returncode:
        last_lines = "\n  ".join(log.read_text(errors="replace").splitlines()[-5:])
        raise SandboxError(f"the image could not be built from Debian's packages; {log} ends with:\n  {last_lines}")
    log.unlink()


def _furnish(recipe: Recipe, root: Path) -> None:
    for pattern in REMOVED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, content in recipe.files.items():
        path = root / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def check(recipe: Recipe, root: Path) -> None:
    """Raise SandboxError unless the image's directory has everything that a machine needs."""
    missing = [name for name in recipe.proof if not (root / name).exists()]
    if missing:
        raise SandboxError(f"the image built in {root} lacks {', '.join(missing)}; delete it and run again")
