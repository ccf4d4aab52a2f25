"""The common parts of all kinds of machines: a process, a network link, CPUs, a disk and a console."""

import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, ClassVar, Protocol

from embedded_ec2 import confinement, processes
from embedded_ec2.ledger import Ledger
from embedded_ec2.network import Leg, Router
from embedded_ec2.seed import Identity


class Exit(Enum):
    """The way in which a machine ended."""

    REBOOT = "reboot"
    OFF = "off"
    FAILED = "failed"


@dataclass(frozen=True)
class Boot:
    """Everything that is needed to start a machine.

    The machine's directory has its disk and the log of its console, and stays when the machine stops.
    """

    directory: Path
    leg: Leg
    cpus: frozenset[int]
    memory_mib: int
    identity: Identity


@dataclass
class Machine(ABC):
    """A running machine. Its CPUs and its network link (`leg`) stay reserved until it ends."""

    boot: Boot
    cpus_held_by: str
    process: subprocess.Popen[bytes]
    public_address: str | None = None
    shutdown_deadline: float | None = field(default=None)

    shutdown_limit_seconds: ClassVar[float]

    @property
    def leg(self) -> Leg:
        return self.boot.leg

    @property
    def is_stopping(self) -> bool:
        return self.shutdown_deadline is not None

    @abstractmethod
    def exit(self) -> Exit | None:
        """Return how the machine ended, or None while it runs."""

    @abstractmethod
    def reboot(self) -> None:
        """Ask the machine's own system for an orderly reboot."""

    @abstractmethod
    def ask_to_shut_down(self) -> None:
        """Ask the machine's own system for an orderly shutdown, as the power button does."""

    def shut_down(self) -> None:
        """Ask the machine for an orderly shutdown.

        The keeper then calls `insist`, which kills the machine after a time limit.
        """
        self.shutdown_deadline = time.monotonic() + self.shutdown_limit_seconds
        self.ask_to_shut_down()

    def insist(self) -> None:
        if self.shutdown_deadline is not None and time.monotonic() > self.shutdown_deadline:
            self.process.kill()


class Hypervisor(Protocol):
    """One kind of machine, and the way in which machines of that kind are started."""

    def start(self, boot: Boot, router: Router, ledger: Ledger) -> Machine:
        """Connect a machine to the network, and boot it from its disk. For a new machine the disk is made first.

        Return as soon as the machine's process has started. Raises SandboxError that names the failed step. Everything
        made so far is in the ledger then.
        """


def console_file(directory: Path) -> Path:
    return directory / "console.log"


def last_words(directory: Path) -> str:
    """Return the last line that is not empty in the log of a machine's console."""
    lines = console_file(directory).read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing on its console")


def host_keys(console: str) -> list[str]:
    """Return the SSH host keys that cloud-init has printed on a machine's console, each as `type key`.

    The list is empty until cloud-init has printed all of them.
    """
    lines = [line.strip() for line in console.splitlines()]
    begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
    if begin not in lines or end not in lines:
        return []
    return [" ".join(line.split()[:2]) for line in lines[lines.index(begin) + 1 : lines.index(end)]]


def spawn(
    boot: Boot,
    argv: list[str],
    ledger: Ledger,
    *,
    stdin: int = subprocess.DEVNULL,
    output: IO[bytes],
    extra_environment: Mapping[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a machine's process on its CPUs in its own control groups.

    Return the process and how its CPUs are limited. The kernel kills the process when the calling thread ends for any
    reason. So no machine outlives its keeper.
    """
    instance_id = boot.leg.instance_id
    confined = confinement.confine(instance_id, boot.cpus, ledger)
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *confined.prefix, *argv],
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env={**os.environ, **(extra_environment or {})},
    )
    ledger.add("machine", f"{instance_id} {process.pid} {processes.start_ticks(process.pid) or 0}")
    return process, confined.held_by


def put_away(instance_id: str, directory: Path, router: Router, ledger: Ledger) -> None:
    """Remove everything of a machine that has ended or could not start, except its disk and console log."""
    for kind, identity in ledger.entries():
        if kind == "machine" and identity.startswith(f"{instance_id} "):
            ledger.undo(kind, identity)
    confinement.release(instance_id, ledger)
    ledger.undo("mount", str(directory / "root"))
    ledger.undo("directory", f"/run/systemd/nspawn/propagate/{instance_id}")
    router.unplug(instance_id)
