"""Lets playbooks/benchmark.yml compare a tuning profile with itself, and counts the false verdicts.

Both sides are equal, so a verdict that finds a difference is false. In all other respects, the playbook runs as for a
user.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.deployment import Deployment, addresses
from tests.proofs.evidence import ROOT, Evidence

SOURCES = [ROOT / name for name in ("roles/os_tuning", "roles/tuning_benchmark", "plugins/filter", "plugins/modules")]
PAIRS = 11  # with fewer pairs no verdict on the metrics of one subject is possible
# Assume that one comparison in a hundred is false by chance. Then one proof in 140 has three or more false comparisons
# among its 40.
MOST_FALSE_OF_40 = 2


def prove(comparisons: int) -> Path:
    """Make this number of comparisons. Write the record and return its path.

    Raises AssertionError when too many comparisons have a false verdict.
    """
    evidence = Evidence("null", comparisons, SOURCES)
    with tempfile.TemporaryDirectory(prefix="null-") as name:
        deployment = Deployment(Path(name), sandbox="null", addresses=addresses(76))
        try:
            deployment.down()  # an interrupted proof may have left a sandbox
            deployment.up()
            deployed = deployment.play("site.yml", slo_verify="never")
            assert deployed.exit_code == 0, deployed.output[-4000:]
            for number in range(evidence.done, comparisons):
                evidence.add(_compare(deployment, number))
                print(f"{number + 1} of {comparisons}: {evidence.results[-1]['verdicts']}", file=sys.stderr)
        finally:
            deployment.down()
    false = [result["seed"] for result in evidence.results if not _is_right(result)]
    path = evidence.finish(
        {"comparisons": comparisons, "pairs_each": PAIRS, "false": len(false), "each": evidence.results}
    )
    assert len(false) <= max(MOST_FALSE_OF_40, comparisons // 20), f"false verdicts with the seeds {false}; see {path}"
    return path


def _compare(deployment: Deployment, seed: int) -> dict[str, Any]:
    play = deployment.play(
        "playbooks/benchmark.yml",
        tuning_benchmark_seed=seed,
        tuning_benchmark_pairs=PAIRS,
        tuning_benchmark_duration_s=1,
        __os_tuning_switched_off=[],
    )
    assert play.exit_code == 0, play.output[-4000:]
    (path,) = deployment.reports.glob("*-tuning.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    return {
        "seed": seed,
        "verdicts": {row["metric"]: row["verdict"] for row in report["verdicts"]},
        "p": {row["metric"]: row["p"] for row in report["verdicts"]},
    }


def _is_right(result: dict[str, Any]) -> bool:
    return set(result["verdicts"].values()) <= {"no difference", "not measured"}
