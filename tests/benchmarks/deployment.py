"""How long a deployment on the embedded EC2 takes: the sandbox, the first site.yml and the second one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.figures import Figure
from tests.e2e.deployment import Deployment, Play

Result = TypeVar("Result")


def deployment(variant: str) -> Iterator[Figure]:
    """What a newcomer waits for. The host's engine is the pure wheel, so there is nothing to measure for the other."""
    if variant != "pure":
        return
    with tempfile.TemporaryDirectory(prefix="deployment-bench-") as folder:
        it = Deployment(Path(folder))
        try:
            up_s, _ = _timed(it.up)
            first_s, first = _timed(lambda: it.play("site.yml", slo_enforce="report"))
            second_s, second = _timed(lambda: it.play("site.yml", slo_enforce="report"))
            _must_have_ended(first)
            _must_have_ended(second)
        finally:
            down_s, _ = _timed(it.down)
    figures = (
        ("sandbox up, image cached", up_s, ""),
        ("site.yml, first run", first_s, "≤ 150"),
        ("site.yml, second run", second_s, "≤ 75"),
        ("sandbox down", down_s, ""),
    )
    for what, value, aim in figures:
        yield Figure("deployment", variant, what, value, "s", "", None, aim=aim)
    yield Figure(
        "deployment", variant, "changed in the second run", second.count("changed"), "tasks", "", None, aim="0"
    )


def _timed(action: Callable[[], Result]) -> tuple[float, Result]:
    begun_s = time.monotonic()
    result = action()
    return time.monotonic() - begun_s, result


def _must_have_ended(play: Play) -> None:
    if play.exit_code != 0:
        raise SystemExit(f"site.yml failed, so there is nothing to measure:\n{play.output[-3000:]}")
