"""The record of every resource that a sandbox makes on this computer, written before the resource is made.

So any process can remove the resources. They are removed only by an undo of the ledger: for `down`, after a crash, and
after an interrupted `down`.
"""

import errno
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from embedded_ec2 import processes
from embedded_ec2.commands import run, succeeds
from embedded_ec2.errors import SandboxError
from embedded_ec2.state import write_atomically

Entry = tuple[str, str]


class Ledger:
    """The list of a sandbox's resources as (kind, identity), in a file. Only one process writes it, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._entries: list[Entry] = [(kind, identity) for kind, identity in json.loads(path.read_text())]
        except FileNotFoundError:
            self._entries = []

    def add(self, kind: str, identity: str) -> None:
        """Record a resource just before it is made, or a process just after its start."""
        assert kind in UNDO, kind
        with self._lock:
            if (kind, identity) not in self._entries:
                self._entries.append((kind, identity))
                self._write()

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def undo(self, kind: str, identity: str) -> None:
        """Remove one resource and its entry in the ledger. A resource that does not exist is no error."""
        UNDO[kind](identity)
        with self._lock, suppress(ValueError):
            self._entries.remove((kind, identity))
            self._write()

    def end_processes(self) -> None:
        """End the processes of the sandbox. They write this ledger, so they must end before anything is removed."""
        for kind, identity in self.entries():
            if kind == "process":
                self.undo(kind, identity)

    def undo_all(self) -> None:
        """Remove all resources, the newest first."""
        for kind, identity in reversed(self.entries()):
            self.undo(kind, identity)

    def _write(self) -> None:
        write_atomically(self._path, json.dumps(self._entries, indent=1))


def _end_process(identity: str) -> None:
    pid, started_ticks = map(int, identity.split())
    processes.end(pid, started_ticks, grace_seconds=5.0)


def _kill_machine(identity: str) -> None:
    """Kill a machine at once. Only the keeper can shut machines down in an orderly way."""
    pid, started_ticks = map(int, identity.split()[-2:])
    processes.end(pid, started_ticks, grace_seconds=0.0)


def _end_processes_in(netns: str) -> None:
    """Kill the processes in the router's network namespace, because HAProxy's workers outlive a killed master."""
    for pid in processes.inside(netns):
        started_ticks = processes.start_ticks(pid)
        if started_ticks is not None:
            processes.end(pid, started_ticks, grace_seconds=0.0)


def _delete_netns(name: str) -> None:
    if Path("/run/netns", name).exists():
        run("ip", "netns", "delete", name)


def _delete_link(name: str) -> None:
    if Path("/sys/class/net", name).exists() and not succeeds("ip", "link", "delete", name):
        # The link may have disappeared with the network namespace of its other end.
        with suppress(SandboxError):
            run("ip", "link", "delete", name)


def _delete_route(route: str) -> None:
    succeeds("ip", "route", "delete", *route.split())


def _unmount(path: str) -> None:
    mounted = {line.split()[1] for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()}
    if path in mounted:
        run("umount", path)


def _remove_cgroup(path: str) -> None:
    """Kill every process in a control group and its subgroups, then remove the groups.

    A machine's processes survive when systemd-nspawn is killed, and then have another parent. They are still in the
    control group.
    """
    for _ in range(250):
        for directory, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                for pid in Path(directory, "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(OSError):
                os.rmdir(directory)
        if not Path(path).exists():
            return
        time.sleep(0.02)
    raise SandboxError(f"control group {path} is still in use; see {path}/cgroup.procs for the processes in it")


def _stop_scope(unit: str) -> None:
    """Kill every process of a scope of this computer's systemd, and wait until the scope has ended.

    Raises SandboxError when it does not end.
    """
    for _ in range(250):
        if not succeeds("systemctl", "is-active", "--quiet", unit):
            return
        succeeds("systemctl", "kill", "--signal=KILL", unit)
        time.sleep(0.02)
    raise SandboxError(f"{unit} still has processes; see: systemctl status {unit}")


def _remove_tree(path: str) -> None:
    if Path(path).exists():
        shutil.rmtree(path)


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY):
            raise


def _remove_mounted_directory_if_empty(path: str) -> None:
    """Unmount and remove the directory of network namespaces when the directory is empty.

    The command `ip netns add` mounts that directory onto itself.
    """
    if Path(path).is_dir() and not os.listdir(path):
        succeeds("umount", path)
        _remove_if_empty(path)


UNDO: dict[str, Callable[[str], None]] = {
    "process": _end_process,
    "machine": _kill_machine,
    "netns": _delete_netns,
    "netns-processes": _end_processes_in,
    "link": _delete_link,
    "route": _delete_route,
    "mount": _unmount,
    "cgroup": _remove_cgroup,
    "scope": _stop_scope,
    "tree": _remove_tree,
    "directory": _remove_if_empty,
    "netns-directory": _remove_mounted_directory_if_empty,
}
