"""The host's use of CPU, memory and network, and the engine's resident memory, as read from /proc."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE = ("idle", "iowait")


@dataclass(frozen=True)
class HostSample:
    """Counters of CPU and network since the machine's start, and the memory in use when they were read."""

    cpu_s: dict[str, float]
    """The seconds of all CPUs together, by kind ("user", "idle", …)."""
    memory_total_bytes: int
    memory_available_bytes: int
    received_bytes: int
    sent_bytes: int

    @property
    def memory_percent(self) -> float:
        return 100 * (1 - self.memory_available_bytes / self.memory_total_bytes)

    def cpu_percent_since(self, earlier: "HostSample") -> dict[str, float]:
        """Return how much all CPUs together were used since the sample `earlier`, in percent.

        The result is a dictionary: kind of use → percent. The kinds "idle" and "iowait" are left out. "busy" is the sum
        of all kinds.
        """
        spent = {kind: self.cpu_s[kind] - earlier.cpu_s[kind] for kind in _CPU_FIELDS}
        total_s = max(sum(spent.values()), 0.01)
        shares = {kind: 100 * max(time_s, 0) / total_s for kind, time_s in spent.items() if kind not in _IDLE}
        return {"busy": min(sum(shares.values()), 100.0), **shares}


def sample_host(proc: Path = PROC) -> HostSample:
    """Return the present counters of the host. Network bytes are those of all interfaces except the loopback."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    ticks = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
    memory = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    received_bytes = sent_bytes = 0
    for line in (proc / "net/dev").read_bytes().split(b"\n")[2:-1]:  # an interface's name may have any bytes
        name, values = line.split(b":", 1)
        if name.strip() != b"lo":
            columns = values.split()
            received_bytes += int(columns[0])
            sent_bytes += int(columns[8])
    return HostSample(
        {kind: int(value) / ticks_per_s for kind, value in zip(_CPU_FIELDS, ticks, strict=False)},
        int(memory["MemTotal"].split()[0]) * 1024,
        int(memory["MemAvailable"].split()[0]) * 1024,
        received_bytes,
        sent_bytes,
    )


@dataclass(frozen=True)
class Tuning:
    """The profile that the role os_tuning applied to this host, and whether it still waits for a reboot."""

    profile: str
    awaits_reboot: bool


def tuning(path: Path = Path("/var/lib/os-tuning.json"), proc: Path = PROC) -> Tuning | None:
    """Return the tuning of this host, or None when the host was not tuned.

    The role writes into the file `path` whether a reboot is required. A reboot does not change the file. So the reboot
    is still required only if the file is newer than the last boot.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        profile, reboot_required = str(document["profile"]), bool(document["reboot_required"])
        booted_s = next(
            int(line.split()[1]) for line in (proc / "stat").read_text().splitlines() if line.startswith("btime ")
        )
        return Tuning(profile, reboot_required and path.stat().st_mtime > booted_s)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def resident_bytes(pid: int, proc: Path = PROC) -> int | None:
    """Return the resident memory of a process in bytes.

    Return None when the process has ended or this process may not read it.
    """
    try:
        pages = int((proc / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
