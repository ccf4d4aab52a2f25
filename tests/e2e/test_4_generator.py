"""A host with one vCPU is measured from a second instance, the load generator.

The load generator is removed after every measurement. Each test continues from the state that the previous test left.
The first test expects no load generator.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from tests.e2e.deployment import Deployment, Play

pytestmark = pytest.mark.usefixtures("in_written_order")

EPHEMERAL = {"trading_generator_host": "ephemeral", "trading_generator_type": "c6g.medium", "slo_duration_s": 3}
NAME = "trading-sandbox-generator-us-east-1a"
LAUNCHED_WITHIN_S = 120


def generators(deployed: Deployment) -> dict[str, str]:
    """Return the state of each instance that is a load generator, by instance id."""
    role = [{"Name": "tag:Role", "Values": ["trading_generator"]}]
    pages = deployed.ec2().describe_instances(Filters=role)["Reservations"]
    return {one["InstanceId"]: one["State"]["Name"] for page in pages for one in page["Instances"]}


def verify(deployed: Deployment, **variables: object) -> Play:
    """Run the measurement. Check that every load generator is terminated afterwards."""
    play = deployed.play("playbooks/verify.yml", **EPHEMERAL, **variables)
    assert set(generators(deployed).values()) == {"terminated"}, play.output[-6000:]
    return play


def test_one_that_an_interrupted_run_has_left_is_terminated_by_the_next_which_measures(deployed: Deployment) -> None:
    command = deployed.command("playbooks/verify.yml", **EPHEMERAL)
    environment = {**os.environ, **deployed.environment}
    quiet: Any = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True) as killed:
        try:
            deadline_s = time.monotonic() + LAUNCHED_WITHIN_S
            while "running" not in generators(deployed).values():
                assert killed.poll() is None, "it ended without a generator"
                assert time.monotonic() < deadline_s, "no generator was launched"
        finally:
            os.killpg(killed.pid, signal.SIGKILL)
    (left,) = generators(deployed)
    assert generators(deployed)[left] == "running"

    play = verify(deployed, slo_enforce="report")
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output
    assert left in generators(deployed)
    assert len(generators(deployed)) == 2
    report = (deployed.reports / "trading-sandbox-1.html").read_text(encoding="utf-8")
    assert f"from {NAME}" in report


@pytest.mark.usefixtures("alone")
def test_none_is_left_of_a_measurement_that_fails(deployed: Deployment) -> None:
    play = verify(deployed, trading_slo={"p99_us": 1}, slo_enforce="missed")
    assert play.exit_code != 0
    assert "missed p99" in play.output.partition("Outcome | Fail if the measurement failed]")[2]
