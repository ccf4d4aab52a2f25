"""Slows the engine by a program, or by the network. Each time the verdict must be *missed*.

This must be so even when this machine is disturbed. Two cases take turns. In one, a real-time task takes the engine's
CPU for 20 ms of every 100 ms. In the other, the network link is too slow.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.deployment import Deployment, addresses
from tests.e2e.test_5_verdict import HOG, SLOW_LINK, on_the_host, verify
from tests.proofs.evidence import ROOT, Evidence

SOURCES = [ROOT / name for name in ("roles/slo", "plugins/filter", "files/engine/src/trading_bench")]


def prove(times: int) -> Path:
    """Get this many verdicts in each case. Write the record and return its path.

    Raises AssertionError when a verdict is not *missed p99*.
    """
    evidence = Evidence("false-verdicts", times, SOURCES)
    with tempfile.TemporaryDirectory(prefix="false-verdicts-") as name:
        deployment = Deployment(Path(name), sandbox="verdicts", addresses=addresses(75))
        try:
            deployment.down()  # an interrupted proof may have left a sandbox
            deployment.up()
            deployed = deployment.play("site.yml", slo_verify="never")
            assert deployed.exit_code == 0, deployed.output[-4000:]
            for number in range(evidence.done, times):
                evidence.add({"a real-time hog": _hogged(deployment), "a slow link": _slowed(deployment)})
                print(f"{number + 1} of {times}: {evidence.results[-1]}", file=sys.stderr)
        finally:
            deployment.down()
    wrong = [each for each in evidence.results for one in each.values() if one["exit"] == 0 or one["p99"] != "missed"]
    path = evidence.finish({"times": times, "wrong": len(wrong), "each": evidence.results})
    assert not wrong, f"{len(wrong)} verdicts were wrong; see {path}"
    return path


def _hogged(deployment: Deployment) -> dict[str, Any]:
    hog = ["systemd-run", "--unit=hog", "chrt", "--fifo", "50", "python3", "-c", HOG]
    with on_the_host(deployment, hog, ["systemctl", "stop", "hog"]):
        return _seen(*verify(deployment))


def _slowed(deployment: Deployment) -> dict[str, Any]:
    with on_the_host(deployment, *SLOW_LINK):
        return _seen(*verify(deployment, slo_duration_s=5, slo_offered_per_s=3000))


def _seen(play: Any, report: dict[str, Any]) -> dict[str, Any]:
    load = report["load"]
    return {
        "exit": play.exit_code,
        "p99": next(row["verdict"] for row in report["verdict"] if row["name"] == "p99"),
        "p99_us": round(load["latency_corrected_us"]["p99"]),
        "slices": load["disturbance"]["slices"],
        "set_aside": load["disturbance"]["set_aside"],
        "counted_anyway": load["disturbance"]["counted_anyway"],
    }
