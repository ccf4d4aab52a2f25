"""An AWS account for the tests: the embedded EC2's API as a process of its own, and playbooks run against it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).parents[3]
_RECAP = re.compile(r"localhost\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


@dataclass(frozen=True)
class Run:
    """A finished playbook: exit code, output, and how many tasks changed something."""

    code: int
    output: str
    ok: int
    changed: int


@dataclass(frozen=True)
class Account:
    """The API's address and what a client needs to use it."""

    url: str
    folder: Path
    public_key_file: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which AWS clients use this account and no other."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client of ``service``."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def play(self, playbook: str, *arguments: str, **variables: str) -> Run:
        """Run a playbook of the collection from an empty folder; ``variables`` are its extra variables."""
        given = {
            "trading_operator_cidr": "198.51.100.7/32",
            "trading_public_key_file": str(self.public_key_file),
            "aws_instance_reachable": "false",
            "aws_instance_known_hosts_file": str(self.folder / "known_hosts"),
            **variables,
        }
        extra = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", str(ROOT / "playbooks" / playbook), *extra, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        output = done.stdout + done.stderr
        recap = _RECAP.search(done.stdout)
        return Run(done.returncode, output, int(recap[1]) if recap else 0, int(recap[2]) if recap else 0)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An empty account that lives as long as the tests."""
    folder = tmp_path_factory.mktemp("account")
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "sandbox" / "src")}
    with subprocess.Popen(
        [sys.executable, "-m", "embedded_ec2", "api"], stdout=subprocess.PIPE, text=True, env=environment
    ) as api:
        try:
            assert api.stdout is not None
            found = re.search(r"http://\S+", api.stdout.readline())
            assert found, "the API ended without saying its address"
            yield Account(found[0].rstrip("/."), folder, key.with_suffix(".pub"))
        finally:
            api.terminate()
            api.wait(timeout=20)
