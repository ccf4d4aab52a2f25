"""When the host itself has a fault, the verdict never blames a disturbance of the machine.

One fault is a task that takes the engine's CPU. The other fault is a slow network link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.deployment import Deployment, Play

pytestmark = pytest.mark.usefixtures("alone")

HOG = """
import time
while True:
    turn_ns = time.monotonic_ns() + 20_000_000
    while time.monotonic_ns() < turn_ns:
        pass
    time.sleep(0.08)
"""

# The replies to 3,000 orders a second need about 3 Mbit/s, but the link carries 2. A slower link would need minutes to
# send the queue after the load. The qdisc netem could do the same, but not every kernel has it.
SLOW_LINK = (
    ["tc", "qdisc", "add", "dev", "ens5", "root", "tbf", "rate", "2mbit", "burst", "16kb", "latency", "300ms"],
    ["tc", "qdisc", "del", "dev", "ens5", "root"],
)


def verify(deployed: Deployment, **variables: object) -> tuple[Play, dict[str, Any]]:
    """Measure with the default targets of a host. Return the run and its report.

    The test's fault exceeds a target so far that a disturbance of this machine cannot be the reason.
    """
    play = deployed.play("playbooks/verify.yml", trading_slo={}, **variables)
    report: dict[str, Any] = json.loads((deployed.reports / "trading-sandbox-1.json").read_text(encoding="utf-8"))
    return play, report


def must_name_the_p99(play: Play, report: dict[str, Any]) -> None:
    assert play.exit_code != 0, play.output[-6000:]
    assert {row["name"]: row["verdict"] for row in report["verdict"]}["p99"] == "missed"
    assert "missed p99" in play.output.partition("Verdict | Fail if an SLO target is missed]")[2]


@contextmanager
def on_the_host(deployed: Deployment, begin: list[str], end: list[str]) -> Iterator[None]:
    address = deployed.host()["ansible_host"]
    begun = deployed.ssh(address, "sudo", *begin)
    assert begun.returncode == 0, begun.stderr
    try:
        yield
    finally:
        ended = deployed.ssh(address, "sudo", *end)
        assert ended.returncode == 0, ended.stderr


def test_a_real_time_task_that_takes_the_engine_s_cpu_is_never_set_aside(deployed: Deployment) -> None:
    hog = ["systemd-run", "--unit=hog", "chrt", "--fifo", "50", "python3", "-c", HOG]
    with on_the_host(deployed, hog, ["systemctl", "stop", "hog"]):
        play, report = verify(deployed)
    must_name_the_p99(play, report)
    assert any("real-time tasks of others" in remark for remark in report["load"]["disturbance"]["remarks"])


def test_a_link_slower_than_the_load_is_never_set_aside(deployed: Deployment) -> None:
    with on_the_host(deployed, *SLOW_LINK):
        play, report = verify(deployed, slo_duration_s=5, slo_offered_per_s=3000)
    must_name_the_p99(play, report)
