from __future__ import annotations

import importlib
from typing import Any

timer_jitter = importlib.import_module("ansible_collections.lowlatency.trading.plugins.modules.timer_jitter")


def test_percentiles_are_those_of_the_wake_ups() -> None:
    figures = timer_jitter.summary([n * 1000 for n in range(1, 1001)])
    assert figures == {"samples": 1000, "lateness_us": {"p50": 501.0, "p99": 991.0, "p999": 1000.0, "max": 1000.0}}


def test_a_measurement_counts_its_wake_ups_and_is_never_early(run_module: Any) -> None:
    figures = run_module("timer_jitter", duration_s=0.05, interval_us=1000)["figures"]
    assert 0 < figures["samples"] <= 50
    assert 0 < figures["lateness_us"]["p50"] <= figures["lateness_us"]["max"]


def test_a_cpu_the_host_does_not_have_is_named(run_module: Any) -> None:
    report = run_module("timer_jitter", cpu=1000)
    assert report["failed"]
    assert "cpu 1000" in report["msg"]
