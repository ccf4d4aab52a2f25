"""The machines that are containers of systemd-nspawn: fast, with a full systemd, on this computer's own kernel."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from embedded_ec2 import processes, seed
from embedded_ec2.commands import run
from embedded_ec2.ledger import Ledger
from embedded_ec2.machine import Boot, Exit, Machine, console_file, spawn
from embedded_ec2.network import Leg, Router

REBOOT_EXIT_STATUS = 133  # systemd-nspawn --keep-unit: the machine reboots
SIGRTMIN_REBOOT = signal.SIGRTMIN + 5  # systemd(1): starts reboot.target

# Without this setting /proc/sys/net and /sys/class/net in the container would be read-only, or those of this computer.
WRITABLE_NETWORK = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}


@dataclass
class Container(Machine):
    """A machine that is a container."""

    shutdown_limit_seconds: ClassVar[float] = 20.0

    def exit(self) -> Exit | None:
        status = self.process.poll()
        if status is None:
            return None
        if self.is_stopping or status == 0:
            return Exit.OFF
        return Exit.REBOOT if status == REBOOT_EXIT_STATUS else Exit.FAILED

    def reboot(self) -> None:
        for leader in processes.children(self.process.pid):
            os.kill(leader, SIGRTMIN_REBOOT)

    def ask_to_shut_down(self) -> None:
        # On this signal systemd-nspawn tells the container's systemd to shut down.
        self.process.terminate()


@dataclass(frozen=True)
class Nspawn:
    """The hypervisor that starts containers from one image.

    Each container has an overlay for the files that it writes.
    """

    image: Path

    def start(self, boot: Boot, router: Router, ledger: Ledger) -> Container:
        router.plug_in_namespace(boot.leg)
        root = self._mount_root(boot.directory, ledger)
        seed.plant(root, boot.identity)
        # systemd-nspawn makes this directory but does not remove it.
        ledger.add("directory", f"/run/systemd/nspawn/propagate/{boot.leg.instance_id}")
        with console_file(boot.directory).open("ab") as console:
            process, held_by = spawn(
                boot, _command(root, boot.leg), ledger, output=console, extra_environment=WRITABLE_NETWORK
            )
        return Container(boot, held_by, process)

    def _mount_root(self, directory: Path, ledger: Ledger) -> Path:
        ledger.add("tree", str(directory))
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root, upper, work = (directory / name for name in ("root", "upper", "work"))
        for path in (root, upper, work):
            path.mkdir(exist_ok=True)
        upper.chmod(0o755)
        ledger.add("mount", str(root))
        options = f"lowerdir={self.image},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, str(root))
        return root


def _command(root: Path, leg: Leg) -> list[str]:
    return [
        *("systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine={leg.instance_id}"),
        *(f"--network-namespace-path=/run/netns/{leg.netns}", "--capability=CAP_NET_ADMIN"),
        *("--keep-unit", "--register=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        "--console=read-only",
    ]
