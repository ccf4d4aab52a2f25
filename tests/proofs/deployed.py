"""A host in a sandbox that only the proof uses. Proofs deploy it with site.yml and then inspect it.

The host's publisher sends metrics to the emulated CloudWatch. A systemd drop-in file gives the publisher CloudWatch's
address.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from tests.e2e.deployment import Deployment, Play, addresses

ENVIRONMENT = "sandbox"
GROUP = f"trading-{ENVIRONMENT}-host"
_PUBLISHER = "trading-publish.service"
# Debian has no package of the CloudWatch agent, and the machines cannot reach AWS to download it.
_PUBLISHES: dict[str, object] = {"trading_publish": True, "cloudwatch_agent_state": "absent"}
_SETTINGS: dict[str, object] = {"cloudwatch": {"period_s": 10}}
_LIMIT_S = 180.0


@dataclass
class Host:
    """The only host of a deployment. `given` are further variables of every playbook run."""

    deployment: Deployment
    given: dict[str, Any]

    @cached_property
    def name(self) -> str:
        (name,) = self.deployment.inventory()["trading"]["hosts"]
        return str(name)

    @cached_property
    def address(self) -> str:
        return str(self.deployment.host()["ansible_host"])

    @cached_property
    def instance(self) -> str:
        """The id of the instance on which the host runs."""
        return str(self.deployment.host()["instance_id"])

    def play(self, playbook: str, **variables: object) -> Play:
        """Run a playbook and return its result. A failed playbook raises no exception."""
        return self.deployment.play(playbook, **{**self.given, **variables})

    def play_to_the_end(self, playbook: str, **variables: object) -> Play:
        play = self.play(playbook, **variables)
        assert play.exit_code == 0, play.output[-6000:]
        return play

    def run(self, script: str) -> str:
        """Run a shell script as root on the host and return its output.

        Raises AssertionError when the script fails.
        """
        done = self.deployment.ssh(self.address, "sudo", "sh", "-ec", script, limit_s=_LIMIT_S)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def client(self, service: str) -> Any:
        """Return a boto3 client of the embedded AWS. It uses the same access keys as the playbooks."""
        found = self.deployment.environment
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=found["AWS_ENDPOINT_URL"],
            aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        )

    def group(self) -> dict[str, Any]:
        """Return the description of the security group of the hosts."""
        named = [{"Name": "group-name", "Values": [GROUP]}]
        (group,) = self.deployment.ec2().describe_security_groups(Filters=named)["SecurityGroups"]
        return dict(group)

    @property
    def endpoint(self) -> str:
        """The URL of the embedded AWS as the host reaches it: the metadata service's address, and the API's port."""
        return f"http://169.254.169.254:{urlsplit(self.deployment.environment['AWS_ENDPOINT_URL']).port}"

    def publish_to(self, endpoint: str) -> None:
        """Set this URL as the AWS endpoint of the host's publisher, and restart the publisher."""
        folder = f"/etc/systemd/system/{_PUBLISHER}.d"
        line = shlex.quote(f"Environment=AWS_ENDPOINT_URL={endpoint}")
        self.run(
            f"mkdir -p {folder}; printf '[Service]\\n%s\\n' {line} > {folder}/endpoint.conf\n"
            f"systemctl daemon-reload; systemctl restart {_PUBLISHER}"
        )

    def publisher_says(self, pattern: str) -> str:
        """Wait until the publisher logs a line that matches the pattern. Return the line.

        Lines from before the publisher's last start are ignored.
        """
        this_run = f"_SYSTEMD_INVOCATION_ID=$(systemctl show --value --property=InvocationID {_PUBLISHER})"
        read = f"journalctl --no-pager --output=cat {this_run} | grep -m 1 {shlex.quote(pattern)}"
        return self.run(f"timeout 120 sh -c {shlex.quote(f'until {read}; do sleep 0.5; done')}").strip()


@contextmanager
def deployed(sandbox: str, number: int, telemetry: dict[str, Any] | None = None, **given: Any) -> Iterator[Host]:
    """Start a sandbox in the network 10.NUMBER.0.0/16 and yield its host. site.yml has not run yet.

    `telemetry` are further settings of telemetry. `given` are further variables of every playbook run. At the end, the
    sandbox is removed.
    """
    settings = {"telemetry_settings": {**_SETTINGS, **(telemetry or {})}}
    with tempfile.TemporaryDirectory(prefix=f"{sandbox}-") as folder:
        deployment = Deployment(Path(folder), sandbox=sandbox, addresses=addresses(number))
        try:
            deployment.down()  # an interrupted proof may have left a sandbox
            deployment.up()
            yield Host(deployment, {**_PUBLISHES, **settings, **given})
        finally:
            deployment.down()


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Delete the file, so that a later call cannot return an old result."""
    found = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return found
