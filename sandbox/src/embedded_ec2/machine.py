"""One systemd-nspawn machine: an overlay over the image, its own network namespace, control groups and CPUs."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from embedded_ec2 import confinement, processes, seed
from embedded_ec2.commands import run
from embedded_ec2.ledger import Ledger
from embedded_ec2.network import Leg

REBOOT_EXIT_STATUS = 133  # how systemd-nspawn --keep-unit says that the machine wants to be started again
SHUTDOWN_LIMIT_SECONDS = 20.0
SIGRTMIN_REBOOT = signal.SIGRTMIN + 5  # systemd(1): starts reboot.target


class Exit(Enum):
    """How a machine that is no longer running ended."""

    REBOOT = "reboot"
    OFF = "off"
    FAILED = "failed"


@dataclass
class Machine:
    """A machine that has been started; `cpus` and `leg` hold until it ends."""

    leg: Leg
    cpus: frozenset[int]
    directory: Path
    cpus_held_by: str
    process: subprocess.Popen[bytes]
    public_address: str | None = None
    shutdown_deadline: float | None = field(default=None)

    @property
    def instance_id(self) -> str:
        return self.leg.instance_id

    @property
    def is_stopping(self) -> bool:
        return self.shutdown_deadline is not None

    def exit(self) -> Exit | None:
        """Return how the machine ended, or None while it runs."""
        status = self.process.poll()
        if status is None:
            return None
        if self.is_stopping or status == 0:
            return Exit.OFF
        return Exit.REBOOT if status == REBOOT_EXIT_STATUS else Exit.FAILED

    def reboot(self) -> None:
        for leader in processes.children(self.process.pid):
            os.kill(leader, SIGRTMIN_REBOOT)

    def shut_down(self) -> None:
        """Ask for an orderly shutdown, which systemd-nspawn passes on; the keeper calls `insist` until it is over."""
        self.shutdown_deadline = time.monotonic() + SHUTDOWN_LIMIT_SECONDS
        self.process.terminate()

    def insist(self) -> None:
        if self.shutdown_deadline is not None and time.monotonic() > self.shutdown_deadline:
            self.process.kill()


def console_file(directory: Path) -> Path:
    return directory / "console.log"


def last_words(directory: Path) -> str:
    """Return the last line on a machine's console."""
    lines = console_file(directory).read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing on its console")


def host_keys(directory: Path) -> list[str]:
    """Return a machine's SSH host keys as `type key` lines; none before its first boot has made them."""
    files = sorted((directory / "upper/etc/ssh").glob("ssh_host_*_key.pub"))
    return [" ".join(file.read_text().split()[:2]) for file in files if file.stat().st_size]


def start(
    *,
    directory: Path,
    image: Path,
    leg: Leg,
    cpus: frozenset[int],
    identity: seed.Identity,
    ledger: Ledger,
) -> Machine:
    """Boot a machine, for the first time or again from its own disk; its network leg is plugged in already.

    Returns as soon as it has been started. Raises SandboxError naming the step that failed.
    """
    root = _mount_root(directory, image, ledger)
    seed.plant(root, identity)
    confined = confinement.confine(leg.instance_id, cpus, ledger)
    # systemd-nspawn leaves this directory behind.
    ledger.add("directory", f"/run/systemd/nspawn/propagate/{leg.instance_id}")
    with console_file(directory).open("ab") as console:
        process = subprocess.Popen(
            [*_die_with_us(), *confined.prefix, *_nspawn(root, leg)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            # Without this the machine's /proc/sys/net and /sys/class/net would be read-only, or this machine's.
            env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )
    started_ticks = processes.start_ticks(process.pid) or 0
    ledger.add("machine", f"{leg.instance_id} {process.pid} {started_ticks}")
    return Machine(
        leg=leg,
        cpus=cpus,
        directory=directory,
        cpus_held_by=confined.held_by,
        process=process,
    )


def put_away(instance_id: str, directory: Path, ledger: Ledger) -> None:
    """Take away what a machine that has ended, or could not start, leaves on this machine; but not its disk."""
    for kind, identity in ledger.entries():
        if kind == "machine" and identity.startswith(f"{instance_id} "):
            ledger.undo(kind, identity)
    confinement.release(instance_id, ledger)
    ledger.undo("mount", str(directory / "root"))
    ledger.undo("directory", f"/run/systemd/nspawn/propagate/{instance_id}")


def _mount_root(directory: Path, image: Path, ledger: Ledger) -> Path:
    ledger.add("tree", str(directory))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = directory / "root"
    upper, work = directory / "upper", directory / "work"
    for path in (root, upper, work):
        path.mkdir(exist_ok=True)
    upper.chmod(0o755)
    ledger.add("mount", str(root))
    run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={image},upperdir={upper},workdir={work}", str(root))
    return root


def _die_with_us() -> list[str]:
    """Machines must not outlive the process that keeps them, however it ends."""
    return ["setpriv", "--pdeathsig", "KILL"]


def _nspawn(root: Path, leg: Leg) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine={leg.instance_id}"),
        *(f"--network-namespace-path=/run/netns/{leg.netns}", "--capability=CAP_NET_ADMIN"),
        *("--keep-unit", "--register=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        "--console=read-only",
    ]
