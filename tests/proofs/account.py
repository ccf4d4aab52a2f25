"""Runs playbooks/acceptance.yml in a sandbox in place of AWS. One run is killed, and the next runs to its end.

The second run must succeed. Its evidence must name the claims that only AWS can prove. At the end, no resource of the
two runs may exist.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.deployment import environments

from tests.e2e.deployment import Deployment, addresses
from tests.proofs.evidence import ROOT, Evidence

SOURCES = [ROOT / name for name in ("roles", "playbooks", "plugins", "files", "sandbox/src")]
CLAIMS = yaml.safe_load((ROOT / "files/acceptance.yml").read_text(encoding="utf-8"))
ONLY_AWS = [claim["id"] for claim in CLAIMS if not claim.get("anywhere")]
BEGINNING = "accept-"
LAUNCHED_WITHIN_S = 600
LIMIT_S = 5400


class Account(Deployment):
    """A sandbox that is used like an AWS account. The runs get variables, and no inventory."""

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def run(self, log: Path) -> subprocess.Popen[bytes]:
        """Start playbooks/acceptance.yml and return the process. Its output goes to the file `log`."""
        known_hosts = self.work / "known_hosts"
        given = {
            **{name: value for name, value in self.addresses.items() if name != "trading_client_cidrs"},
            "trading_public_key_file": f"{self.key}.pub",
            "trading_known_hosts_file": str(known_hosts),
            "ansible_ssh_common_args": f"-o 'UserKnownHostsFile=\"{known_hosts}\"'",
            "ansible_timeout": 60,
            "trading_address": "private",
            "trading_user": "debian",
            "trading_publish": False,
            "trading_generator_type": "c6g.medium",
            "slo_duration_s": 3,
            "slo_disturbed": "set_aside",
            "slo_machine_group": "{{ 'embedded-ec2-' ~ instance_id if instance_id is defined else '' }}",
            "acceptance_dir": str(self.work / "acceptance"),
            "acceptance_alarm_wait_seconds": 5,  # the sandbox evaluates no alarms
        }
        command = ["ansible-playbook", "-i", "localhost,", str(ROOT / "playbooks/acceptance.yml")]
        with log.open("wb") as output:
            return subprocess.Popen(
                [*command, "-e", json.dumps(given)],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.work,
            )

    def instances(self) -> list[str]:
        """Return the ids of all instances that exist and are not terminated."""
        pages = self.client("ec2").describe_instances()["Reservations"]
        found = [one for page in pages for one in page["Instances"]]
        return [one["InstanceId"] for one in found if one["State"]["Name"] not in ("terminated", "shutting-down")]

    def left(self) -> dict[str, list[str]]:
        """Return what acceptance runs have left: for each environment's name, the kinds of its resources."""
        found = environments(self.client, BEGINNING)
        return {name: sorted({one["kind"] for one in resources}) for name, resources in found.items()}


def kill(account: Account) -> dict[str, list[str]]:
    """Start a run, and kill it once its host is launched.

    Return what it has left: for each environment's name, the kinds of its resources.
    """
    killed = account.run(account.work / "killed.log")
    try:
        deadline_s = time.monotonic() + LAUNCHED_WITHIN_S
        while not account.instances():
            assert killed.poll() is None, (account.work / "killed.log").read_text()[-3000:]
            assert time.monotonic() < deadline_s, "no host was launched"
            time.sleep(0.5)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    left = account.left()
    assert left, "the killed run has left nothing, so there is nothing to prove"
    return left


def whole(account: Account) -> dict[str, Any]:
    """Run the playbook to its end and return its evidence.

    Raises AssertionError when the evidence is not as expected.
    """
    log = account.work / "whole.log"
    began_s = time.monotonic()
    code = account.run(log).wait(LIMIT_S)
    files = sorted((account.work / "acceptance").glob("*/evidence.json"))
    said = log.read_text(encoding="utf-8", errors="replace")[-5000:]
    assert files, said
    evidence: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
    assert code == 0, said
    assert not evidence["on_aws"]
    assert sorted(evidence["unsettled"]) == sorted(ONLY_AWS), evidence["unsettled"]
    assert not account.left(), account.left()
    assert not account.instances(), account.instances()
    print(f"took {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    return evidence


def prove(runs: int) -> Path:
    """Make this many pairs of runs. In each pair, the first run is killed, and the second runs to its end.

    Write the record and return its path.
    """
    evidence = Evidence("account", runs, SOURCES)
    while evidence.done < runs:
        with tempfile.TemporaryDirectory(prefix="account-") as folder:
            account = Account(Path(folder), sandbox="account", addresses=addresses(83))
            try:
                account.down()  # a killed proof may have left a sandbox
                account.up()
                left = kill(account)
                seen = whole(account)
            except BaseException:
                kept = Path(folder).with_name("account-failed")
                subprocess.run(["rm", "-rf", str(kept)], check=True)
                subprocess.run(["cp", "-r", folder, str(kept)], check=True)
                print(f"logs and evidence: {kept}", file=sys.stderr)
                raise
            finally:
                account.down()
        settled = [claim["id"] for claim in seen["claims"] if claim["settled"]]
        steps = {step["name"]: step["seconds"] for step in seen["steps"]}
        evidence.add({"left_by_the_killed_run": left, "settled": settled, "not_settled": seen["unsettled"], "s": steps})
    return evidence.finish({"each": evidence.results})
