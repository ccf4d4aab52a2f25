"""A deployment in a sandbox that only the tests use. The tests run the same commands as a user."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import yaml

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "inventory/sandbox/aws_ec2.yml"
SANDBOX = "e2e"


def addresses(number: int) -> dict[str, Any]:
    """Return variables that put a deployment into the network 10.NUMBER.0.0/16.

    A demo can then run at the same time, in another network.
    """
    bridge = f"10.{number}.1.1/32"
    return {
        "trading_vpc_cidr": f"10.{number}.0.0/16",
        "trading_subnet_cidr": f"10.{number}.1.0/24",
        "trading_operator_cidr": bridge,
        "trading_client_cidrs": [bridge],
    }


ADDRESSES = addresses(79)


def run(
    *command: str | Path,
    environment: dict[str, str] | None = None,
    limit_s: float = 1800,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its output and exit code. A failed command raises no exception."""
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=limit_s,
        cwd=folder,
    )


@dataclass(frozen=True)
class Play:
    """The exit code and the output of one ansible-playbook run."""

    exit_code: int
    output: str

    def count(self, word: str) -> int:
        """Return the sum over all hosts of one number in the recap. `word` is `changed`, `failed` or `unreachable`."""
        recap = self.output.partition("PLAY RECAP")[2]
        return sum(int(number) for number in re.findall(rf"\b{word}=(\d+)", recap))


@dataclass
class Deployment:
    """A sandbox, and the environment variables with which programs use it."""

    work: Path
    sandbox: str = SANDBOX
    addresses: dict[str, Any] = field(default_factory=lambda: ADDRESSES)
    # Further variables for every playbook that is run.
    given: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        return self.work / "id_ed25519"

    @property
    def reports(self) -> Path:
        return self.work / "reports"

    def up(self) -> None:
        """Start the sandbox, make an SSH key, and store the environment variables that lead to the sandbox's API."""
        done = run(ROOT / "scripts/sandbox", "up", "--name", self.sandbox)
        assert done.returncode == 0, done.stderr
        exports = run(ROOT / "scripts/sandbox", "env", "--name", self.sandbox)
        assert exports.returncode == 0, exports.stderr
        for line in exports.stdout.splitlines():
            for word in shlex.split(line):
                name, assigned, value = word.partition("=")
                if assigned:
                    self.environment[name] = value
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.environment["TRADING_PRIVATE_KEY_FILE"] = str(self.key)
        self.environment["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
        self.environment["ANSIBLE_NOCOLOR"] = "1"

    def down(self) -> subprocess.CompletedProcess[str]:
        """Remove the sandbox."""
        return run(ROOT / "scripts/sandbox", "down", "--name", self.sandbox)

    def command(self, playbook: str, *arguments: str, **variables: object) -> list[str]:
        """Return the command that runs a playbook of this repository with these extra variables."""
        extra = {**self.addresses, **self.given, "trading_report_dir": str(self.reports), **variables}
        return ["ansible-playbook", "-i", str(INVENTORY), str(ROOT / playbook), "-e", json.dumps(extra), *arguments]

    def play(self, playbook: str, *arguments: str, **variables: object) -> Play:
        """Run a playbook of this repository with these extra variables, and return its result."""
        done = run(*self.command(playbook, *arguments, **variables), environment=self.environment)
        return Play(done.returncode, done.stdout + done.stderr)

    def play_installed(self, name: str, **variables: object) -> Play:
        """Build and install the collection, and run its playbook `name` from an empty folder, without an inventory."""
        user = self.work / "a user"
        user.mkdir(exist_ok=True)
        script = '. "$0/scripts/lib.sh"; install_collection "$1"'
        installed = run("bash", "-c", script, ROOT, user / "collections")
        assert installed.returncode == 0, installed.stderr
        given = yaml.safe_load(INVENTORY.with_name("group_vars").joinpath("all.yml").read_text(encoding="utf-8"))
        given |= {**self.addresses, **self.given, "trading_report_dir": str(self.reports), **variables}
        settings = user / "settings.yml"
        settings.write_text(yaml.safe_dump(given), encoding="utf-8")
        done = run(
            *("ansible-playbook", f"lowlatency.trading.{name}", "-i", "localhost,", "-e", f"@{settings}"),
            environment={
                **{name: value for name, value in self.environment.items() if name != "ANSIBLE_CONFIG"},
                "ANSIBLE_COLLECTIONS_PATH": str(user / "collections"),
            },
            folder=user,
        )
        return Play(done.returncode, done.stdout + done.stderr)

    def inventory(self) -> dict[str, Any]:
        """Return what `ansible-inventory --list` prints, as a dictionary."""
        done = run("ansible-inventory", "-i", INVENTORY, "--list", environment=self.environment)
        assert done.returncode == 0, done.stderr
        listing: dict[str, Any] = json.loads(done.stdout, object_hook=lambda it: it.get("__ansible_unsafe", it))
        return listing

    def host(self) -> dict[str, Any]:
        """Return the inventory's variables of the only trading host."""
        listing = self.inventory()
        (name,) = listing["trading"]["hosts"]
        variables: dict[str, Any] = listing["_meta"]["hostvars"][name]
        return variables

    def ec2(self) -> Any:
        """Return a boto3 client of the embedded EC2."""
        return boto3.client(
            "ec2",
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def ssh(
        self, address: str, *command: str, limit_s: float = 60, user: str = "debian", key: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine at this address over SSH. Log in as its administrator unless `user` is given."""
        options = [
            "-i",
            str(key or self.key),
            "-o",
            f'UserKnownHostsFile="{self.work}/known_hosts.tests"',
            "-o",
            "StrictHostKeyChecking=accept-new",
        ]
        return run("ssh", *options, "-o", "ConnectTimeout=5", f"{user}@{address}", shlex.join(command), limit_s=limit_s)

    def ssh_when_it_answers(self, address: str, *command: str, limit_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Do the same as `ssh`, on a machine that may still boot.

        Retry until the command succeeds or the time limit is over. Return the last result.
        """
        end_s = time.monotonic() + limit_s
        while True:
            done = self.ssh(address, *command)
            if done.returncode == 0 or time.monotonic() > end_s:
                return done
