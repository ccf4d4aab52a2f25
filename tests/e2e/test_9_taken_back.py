"""One command removes the whole deployment.

Each test continues from the state that the previous test left. The tests remove the host, then all other resources in
the AWS account, then the sandbox.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.deployment import ROOT, SANDBOX, Deployment, run

pytestmark = pytest.mark.usefixtures("in_written_order")


def test_destroy_without_its_confirmation_touches_nothing(deployed: Deployment) -> None:
    play = deployed.play("playbooks/destroy.yml")
    assert play.exit_code != 0
    assert "trading_destroy_confirm" in play.output
    assert deployed.inventory()["trading"]["hosts"] == ["trading-sandbox-1"]


def test_destroy_takes_everything_back_twice_over(deployed: Deployment) -> None:
    first = deployed.play("playbooks/destroy.yml", trading_destroy_confirm="sandbox", trading_destroy_data=True)
    assert first.exit_code == 0, first.output[-6000:]
    assert "trading" not in deployed.inventory() or not deployed.inventory()["trading"].get("hosts")
    second = deployed.play("playbooks/destroy.yml", trading_destroy_confirm="sandbox", trading_destroy_data=True)
    assert second.exit_code == 0, second.output[-6000:]
    assert second.count("changed") == 0


def test_down_leaves_no_process_mount_device_or_file(deployed: Deployment) -> None:
    done = deployed.down()
    assert done.returncode == 0, done.stderr
    assert deployed.down().returncode == 0
    status = run(ROOT / "scripts/sandbox", "status", "--name", SANDBOX, "--json")
    assert status.returncode != 0 or not json.loads(status.stdout or "{}").get("instances")
    traces = {
        "network namespaces": subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout,
        "mounts": Path("/proc/self/mounts").read_text(encoding="utf-8"),
        "processes": subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=True).stdout,
        "files": "\n".join(str(path) for path in Path("/var/lib/embedded-ec2").glob("*")),
    }
    left = {
        name: [line for line in text.splitlines() if f"embedded-ec2/{SANDBOX}" in line or f"ec2-{SANDBOX}" in line]
        for name, text in traces.items()
    }
    assert not any(left.values()), left
    addresses = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
    assert "10.79." not in addresses
