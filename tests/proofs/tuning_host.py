"""A machine on which proofs and tests run the role os_tuning many times. It is a container with two CPUs.

A script replaces grubby, the program that changes the kernel's boot arguments.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from tests.integration.sandbox.conftest import Cloud

ROOT = Path(__file__).parents[2]
TUNE = ROOT / "tests/proofs/tune.yml"
UNTUNE = ROOT / "playbooks/untune.yml"
GRUBBY = ROOT / "tests/unit/plugins/grubby.sh"

# A program that prints all that the role can change in a container, by path: files, TCP settings and the boot entry.
_STATE = """
import json, pathlib
texts = {}
for top in ("/etc", "/run", "/var/lib"):
    texts |= {str(path): path.read_text() for path in pathlib.Path(top).rglob("*")
              if "os-tuning" in str(path) and path.is_file()}
for path in [*pathlib.Path("/proc/sys/net/ipv4").glob("tcp_*"), pathlib.Path("/usr/sbin/entry")]:
    try:
        texts[str(path)] = path.read_text()
    except OSError:
        pass
print(json.dumps(texts))
"""


@dataclass(frozen=True)
class Play:
    """The result of a playbook run. `host_tasks` has the names of the tasks that ran on the host, in their order."""

    exit_code: int
    output: str
    host_tasks: list[str]


@contextmanager
def booted(sandbox: str, network: str) -> Iterator[TuningHost]:
    """Start a sandbox and yield a machine in it. Remove the sandbox at the end.

    An interrupted run may have left a sandbox of the same name. It is removed first.
    """
    with tempfile.TemporaryDirectory(prefix=f"{sandbox}-") as folder:
        cloud = Cloud(sandbox, IPv4Network(network), Path(folder))
        try:
            cloud.down()
            cloud.up()
            yield TuningHost.start(cloud)
        finally:
            cloud.down()


@dataclass
class TuningHost:
    """A machine, with methods that run playbooks and scripts on it."""

    cloud: Cloud
    address: str

    @classmethod
    def start(cls, cloud: Cloud) -> TuningHost:
        """Boot a machine in a running sandbox. Install the script that replaces grubby on it."""
        instance = cloud.run(InstanceType="c6g.large")
        cloud.trust(instance["InstanceId"])
        host = cls(cloud, instance["PrivateIpAddress"]).reached()
        stand_in = shlex.quote(GRUBBY.read_text())
        host.shell(
            f"printf %s {stand_in} > /usr/sbin/grubby; chmod +x /usr/sbin/grubby; echo ro quiet > /usr/sbin/entry"
        )
        return host

    def reached(self) -> TuningHost:
        """Write an inventory by which Ansible reaches the machine, and return this object."""
        known_hosts = shlex.quote(str(self.cloud.directory / "known_hosts"))
        variables = {
            "ansible_host": self.address,
            "ansible_user": "debian",
            "ansible_ssh_private_key_file": str(self.cloud.key_file),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts}",
        }
        self._inventory.write_text(json.dumps({"trading": {"hosts": {"tuned": variables}}}))
        return self

    @property
    def _inventory(self) -> Path:
        return self.cloud.directory / "inventory.json"

    def shell(self, script: str) -> str:
        """Run a shell script as root on the machine and return its output."""
        return self.cloud.answer(self.address, f"sudo sh -c {shlex.quote(script)}")

    def state(self) -> dict[str, str]:
        """Return the content of all files that the role can change, by path.

        Two machines with the same tuning have the same content.
        """
        texts: dict[str, str] = json.loads(self.cloud.answer(self.address, f"sudo python3 -c {shlex.quote(_STATE)}"))
        return texts

    def play(self, playbook: Path, *arguments: str, kill_after: int = 0) -> Play:
        """Run a playbook and return its result. With `kill_after`, kill it after this number of tasks on the host."""
        tasks = self.cloud.directory / "host_tasks"
        done = subprocess.run(
            ["ansible-playbook", "-i", str(self._inventory), str(playbook), *arguments],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/proofs/callback_plugins"),
                "ANSIBLE_CALLBACKS_ENABLED": "host_tasks",
                "HOST_TASKS_FILE": str(tasks),
                "KILL_AFTER_HOST_TASKS": str(kill_after),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        return Play(done.returncode, done.stdout + done.stderr, tasks.read_text().splitlines())

    def play_to_the_end(self, playbook: Path, *arguments: str) -> Play:
        play = self.play(playbook, *arguments)
        assert play.exit_code == 0, play.output[-4000:]
        return play


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the paths whose content differs, each with its content before and after.

    The content is None where the path does not exist.
    """
    return {
        path: (before.get(path), after.get(path)) for path in {*before, *after} if before.get(path) != after.get(path)
    }
