"""Measures how long a deployment in the sandbox takes.

It also measures how long the readiness checklist and a diagnosis take.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.figures import Figure
from tests.e2e.deployment import Deployment, Play

Result = TypeVar("Result")


@dataclass(frozen=True)
class Round:
    """The times of one deployment, from the sandbox's start to its end. Downloads may come from a cache."""

    up_s: float
    first_s: float
    second_s: float
    readiness_s: float
    diagnosis_s: float
    down_s: float
    changed: float
    # site.yml runs twice, and each run measures a load. This is the larger share of disturbed time. None when no report
    # has it.
    disturbed_percent: float | None


def deployment(variant: str, count: int = 1) -> Iterator[Figure]:
    """Measure `count` deployments and yield the medians. The deployment itself decides which variant the engine is."""
    if variant != "pure":
        return
    rounds = [_round() for _ in range(count)]
    reach = f"median of {count}" if count > 1 else ""

    def figure(what: str, value: Callable[[Round], float], unit: str, aim: str = "") -> Figure:
        median = statistics.median(value(one) for one in rounds)
        return Figure("deployment", variant, what, median, unit, "", None, reach=reach, aim=aim)

    yield figure("sandbox up, image cached", lambda one: one.up_s, "s")
    yield figure("site.yml, first run", lambda one: one.first_s, "s", "≤ 150")
    yield figure("site.yml, second run", lambda one: one.second_s, "s", "≤ 75")
    yield figure("readiness.yml, nothing disturbed", lambda one: one.readiness_s, "s", "≤ 90")
    yield figure("diagnose.yml", lambda one: one.diagnosis_s, "s", "≤ 45")
    yield figure("sandbox down", lambda one: one.down_s, "s")
    yield figure("changed in the second run", lambda one: one.changed, "tasks", "0")
    if all(one.disturbed_percent is not None for one in rounds):
        yield figure("time of the load that was disturbed", lambda one: one.disturbed_percent or 0.0, "%")


def preflight(variant: str, count: int = 3) -> Iterator[Figure]:
    """Measure `count` times how long `plan.yml` takes. It only queries the AWS account and prints a plan."""
    if variant != "pure":
        return
    with tempfile.TemporaryDirectory(prefix="preflight-bench-") as folder:
        it = Deployment(Path(folder))
        try:
            it.up()
            times_s = [_timed(lambda: _play(it, "playbooks/plan.yml"))[0] for _ in range(count)]
        finally:
            it.down()
    median = statistics.median(times_s)
    yield Figure("preflight", variant, "plan.yml", median, "s", "", None, reach=f"median of {count}", aim="≤ 10")


def _round() -> Round:
    with tempfile.TemporaryDirectory(prefix="deployment-bench-") as folder:
        it = Deployment(Path(folder))
        disturbed: list[float] = []
        try:
            up_s, _ = _timed(it.up)
            first_s, _ = _timed(lambda: _site(it))
            disturbed += _disturbed(it)
            second_s, second = _timed(lambda: _site(it))
            disturbed += _disturbed(it)
            readiness_s, _ = _timed(lambda: it.play("playbooks/readiness.yml"))  # fails: no alarm has a subscriber
            diagnosis_s, _ = _timed(lambda: _play(it, "playbooks/diagnose.yml"))
        finally:
            down_s, _ = _timed(it.down)
    times_s = (up_s, first_s, second_s, readiness_s, diagnosis_s, down_s)
    return Round(*times_s, second.count("changed"), max(disturbed, default=None))


def _site(it: Deployment) -> Play:
    return _play(it, "site.yml", slo_enforce="report")


def _play(it: Deployment, playbook: str, **variables: object) -> Play:
    play = it.play(playbook, **variables)
    if play.exit_code != 0:
        raise SystemExit(f"{playbook} failed, so there is nothing to measure:\n{play.output[-3000:]}")
    return play


def _disturbed(it: Deployment) -> list[float]:
    """Return how much of the load's time was disturbed, in percent. There is one value for each report with a load."""
    loads = [json.loads(path.read_text(encoding="utf-8")).get("load") or {} for path in it.reports.glob("*.json")]
    told = [load["disturbance"] for load in loads if load.get("disturbance")]
    return [100 * one["set_aside"] / one["slices"] for one in told if one["slices"]]


def _timed(action: Callable[[], Result]) -> tuple[float, Result]:
    begun_s = time.monotonic()
    result = action()
    return time.monotonic() - begun_s, result
