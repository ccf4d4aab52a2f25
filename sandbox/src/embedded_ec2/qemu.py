"""The machines that QEMU emulates. They have their own kernel, with real sysctls, boot arguments and reboots.

They start slower than containers. The disk has no boot loader: QEMU loads the kernel with its arguments, and ends when
the machine reboots. QEMU is then started again with the arguments that the machine's own update-grub has written.
"""

import json
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from embedded_ec2.commands import in_netns, run, succeeds
from embedded_ec2.errors import SandboxError
from embedded_ec2.ledger import Ledger
from embedded_ec2.machine import Boot, Exit, Machine, console_file, spawn
from embedded_ec2.network import Leg, Router
from embedded_ec2.qemu_image import DISK, INITRD, KERNEL
from embedded_ec2.seed import ENDPOINT_FILE, render_endpoint, render_meta_data

KVM = ["-accel", "kvm", "-cpu", "host"]
# HPET is off, because in one of a dozen boots the kernel used it as its clock and hung.
EMULATION = ["-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "pc,hpet=off"]
PROBE_LIMIT_SECONDS = 10.0


@dataclass
class VirtualMachine(Machine):
    """An emulated machine. QEMU reports its events in the machine protocol (QMP) on standard output."""

    reboot_wanted: bool = False

    # An emulated machine is slow to stop its services.
    shutdown_limit_seconds: ClassVar[float] = 90.0

    def exit(self) -> Exit | None:
        status = self.process.poll()
        if status is None:
            return None
        if self.is_stopping:
            return Exit.OFF
        reasons = _shutdown_reasons(_protocol_file(self.boot.directory))
        if self.reboot_wanted or "guest-reset" in reasons:
            return Exit.REBOOT
        return Exit.OFF if status == 0 and reasons else Exit.FAILED

    def reboot(self) -> None:
        self.reboot_wanted = True
        self.ask_to_shut_down()

    def ask_to_shut_down(self) -> None:
        self._execute("system_powerdown")

    def _execute(self, command: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"execute": command}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the machine has already ended


@dataclass(frozen=True)
class Qemu:
    """The hypervisor that starts emulated machines from copies of one disk, with the given accelerator."""

    image: Path
    accelerator: list[str]

    def start(self, boot: Boot, router: Router, ledger: Ledger) -> VirtualMachine:
        router.plug_in_tap(boot.leg)
        disk = self._disk(boot.directory, ledger)
        _plant(disk, boot)
        protocol = _protocol_file(boot.directory)
        argv = in_netns(router.netns, self._command(boot, disk, read_boot_arguments(disk)))
        with protocol.open("wb") as output:
            process, held_by = spawn(boot, argv, ledger, stdin=subprocess.PIPE, output=output)
        machine = VirtualMachine(boot, held_by, process)
        machine._execute("qmp_capabilities")
        return machine

    def _disk(self, directory: Path, ledger: Ledger) -> Path:
        disk = directory / DISK
        if not disk.exists():
            ledger.add("tree", str(directory))
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = disk.with_suffix(".unfinished")
            run("cp", "--reflink=auto", "--sparse=always", str(self.image / DISK), str(unfinished))
            unfinished.rename(disk)
        return disk

    def _command(self, boot: Boot, disk: Path, boot_arguments: str) -> list[str]:
        console = console_file(boot.directory)
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *self.accelerator,
            *("-smp", str(len(boot.cpus)), "-m", str(boot.memory_mib)),
            *("-kernel", str(self.image / KERNEL), "-initrd", str(self.image / INITRD), "-append", boot_arguments),
            *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
            *("-netdev", f"tap,id=net,ifname={boot.leg.router_link},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={boot.leg.mac},addr=5"),
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console"),
            *("-qmp", "stdio"),
        ]


def find_accelerator(image: Path) -> list[str]:
    """Return QEMU's options for KVM if KVM boots a kernel in a test, otherwise QEMU's options for emulation.

    The test is needed because /dev/kvm may exist and not work.
    """
    return KVM if Path("/dev/kvm").exists() and _prints_on_console(image, KVM) else EMULATION


def _prints_on_console(image: Path, accelerator: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        console = Path(directory, "console")
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", *accelerator, "-m", "256"]
        argv += ["-kernel", str(image / KERNEL), "-append", "console=ttyS0 panic=-1", "-serial", f"file:{console}"]
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as it:
            deadline = time.monotonic() + PROBE_LIMIT_SECONDS
            try:
                while it.poll() is None and time.monotonic() < deadline:
                    if _has_booted(console):
                        return True
                    time.sleep(0.1)
            finally:
                it.kill()
        return _has_booted(console)


def _has_booted(console: Path) -> bool:
    return console.exists() and b"Linux version" in console.read_bytes()


def _plant(disk: Path, boot: Boot) -> None:
    """Write cloud-init's data and the network's settings into the disk, without mounting it."""
    # After a crash e2fsck must replay the file system's journal before anything else is written.
    if not succeeds("e2fsck", "-p", str(disk), statuses=(0, 1)):
        raise SandboxError(f"the file system in {disk} is damaged; terminate the instance and launch another")
    with tempfile.TemporaryDirectory() as directory:
        commands = []
        for target, content in _planted_files(boot).items():
            source = Path(directory, target.replace("/", "_"))
            source.write_bytes(content)
            commands += [f"rm {target}", f"write {source} {target}", f"sif {target} mode 0100600"]
        # systemd-networkd does not run as root, and must be able to read its file.
        commands += [f"sif {NETWORK_FILE} mode 0100644"]
        script = Path(directory, "commands")
        script.write_text("\n".join(commands) + "\n")
        run("debugfs", "-w", "-f", str(script), str(disk))
        planted = run("debugfs", "-R", f"cat {NETWORK_FILE}", str(disk))
        if str(boot.leg.private_address) not in planted:
            raise SandboxError(f"{disk} could not be given its first files; is its file system whole?")


NETWORK_FILE = "/etc/systemd/network/10-ec2.network"
SEED = "/var/lib/cloud/seed/nocloud"


def _planted_files(boot: Boot) -> dict[str, bytes]:
    endpoint = {f"/{ENDPOINT_FILE}": render_endpoint(boot.identity).encode()} if boot.identity.endpoint else {}
    return {
        **endpoint,
        NETWORK_FILE: render_network(boot.leg).encode(),
        f"{SEED}/meta-data": render_meta_data(boot.identity).encode(),
        f"{SEED}/user-data": boot.identity.user_data or b"#cloud-config\n{}\n",
    }


def render_network(leg: Leg) -> str:
    """Return the text of the systemd.network file with the address that the API assigned."""
    return (
        f"[Match]\nMACAddress={leg.mac}\n\n[Network]\nAddress={leg.private_address}/{leg.subnet.cidr.prefixlen}\n"
        f"Gateway={leg.subnet.gateway}\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"
    )


def read_boot_arguments(disk: Path) -> str:
    """Return the kernel's arguments from grub.cfg on the disk.

    Raises SandboxError when the disk has no such file or the file no arguments.
    """
    return parse_boot_arguments(run("debugfs", "-R", "cat /boot/grub/grub.cfg", str(disk)))


def parse_boot_arguments(grub_configuration: str) -> str:
    """Return the kernel's arguments from the text of grub.cfg, with single blanks between them.

    They follow the kernel's path in the first menu entry's line `linux`. Raises SandboxError when there is no such
    line, because the machine could not boot without it.
    """
    line = re.search(r"^\s*linux\s+\S+\s+(.*)$", grub_configuration, re.MULTILINE)
    if not line:
        raise SandboxError("the machine's /boot/grub/grub.cfg has no `linux` line; terminate it and launch another")
    return " ".join(line[1].split())


def _protocol_file(directory: Path) -> Path:
    return directory / "qmp.log"


def _shutdown_reasons(protocol: Path) -> set[str]:
    """Return the reasons of QEMU's shutdown, from the events SHUTDOWN in the log of its machine protocol."""
    reasons = set()
    for line in protocol.read_text(errors="replace").splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if message.get("event") == "SHUTDOWN":
            reasons.add(message["data"]["reason"])
    return reasons
