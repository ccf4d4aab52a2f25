"""The verdict: a pass is a measurement that met its target, and nothing else is."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.slo import FilterModule, cpu_percent

FILTERS = FilterModule().filters()
slo_missed, slo_rows, slo_table = FILTERS["slo_missed"], FILTERS["slo_rows"], FILTERS["slo_table"]

TARGETS = {
    "avg_us": 500.0,
    "p95_us": 1000.0,
    "p99_us": 2000.0,
    "throughput_per_s": 10_000.0,
    "cpu_percent": 80.0,
    "memory_percent": 90.0,
}
STATE = {
    "units": {"trading-engine.service": "active, enabled"},
    "health": {"status": 200, "text": "{}"},
    "memory_percent": 40.0,
    "cpus": 1,
    "cpu_scope": "machine",
    "cpu_busy_s": {"machine": 104.0},
}
FIGURES = {
    "void": False,
    "void_reason": "",
    "latency_corrected_us": {"avg": 120.0, "p95": 300.0, "p99": 700.0},
    "throughput_per_s": 10_480.0,
    "errors": {},
    "errors_total": 0,
    "rejects": {},
    "rejects_total": 0,
    "generator": {"cpu_s": 8.0, "wall_s": 10.0},
}


@pytest.fixture
def load() -> dict[str, Any]:
    before = {**STATE, "cpu_busy_s": {"machine": 100.0}}
    return copy.deepcopy({"figures": FIGURES, "before": before, "after": STATE, "on_host": False})


def missed(load: dict[str, Any], state: dict[str, Any] = STATE) -> str:
    return "; ".join(slo_missed(slo_rows(TARGETS, state, load), load_wanted=True))


def test_a_host_that_meets_every_target_passes(load: dict[str, Any]) -> None:
    rows = slo_rows(TARGETS, STATE, load)
    assert {line["verdict"] for line in rows} == {"met"}
    assert slo_missed(rows, load_wanted=True) == []


@pytest.mark.parametrize(
    ("name", "target", "limit_us"), [("avg", "< 500 µs", 500), ("p95", "< 1000 µs", 1000), ("p99", "< 2000 µs", 2000)]
)
def test_a_latency_at_its_limit_is_missed_by_name_with_value_and_target(
    load: dict[str, Any], name: str, target: str, limit_us: int
) -> None:
    load["figures"]["latency_corrected_us"][name] = float(limit_us)
    assert missed(load) == f"missed {name}, {limit_us} µs instead of {target}"


def test_throughput_a_little_below_the_target_is_missed(load: dict[str, Any]) -> None:
    load["figures"]["throughput_per_s"] = 9_999.0
    assert missed(load) == "missed throughput, 9999/s instead of ≥ 10000/s"


def test_one_error_or_reject_is_missed_and_told_what_it_was(load: dict[str, Any]) -> None:
    load["figures"].update(errors={"orders without an answer": 1}, errors_total=1, rejects={"X": 2}, rejects_total=2)
    text = missed(load)
    assert "missed errors, 1 instead of 0" in text
    assert "1 orders without an answer" in text
    assert "2 X" in text


def test_a_run_in_which_nothing_was_answered_is_missed(load: dict[str, Any]) -> None:
    load["figures"].update(latency_corrected_us={}, throughput_per_s=0.0)
    assert "missed p99, no answer instead of < 2000 µs" in missed(load)


def test_a_void_run_is_never_a_pass_and_says_why_once(load: dict[str, Any]) -> None:
    load["figures"].update(void=True, void_reason="the generator itself was late")
    text = missed(load)
    assert text.startswith("not measured avg, p95, p99, throughput, errors, rejects, cpu")
    assert text.count("the generator itself was late") == 1


def test_without_load_the_rest_still_counts(load: dict[str, Any]) -> None:
    rows = slo_rows(TARGETS, STATE, {})
    assert slo_missed(rows, load_wanted=False) == []
    assert slo_missed(rows, load_wanted=True) != []
    down = {**STATE, "units": {"trading-engine.service": "failed, enabled"}}
    assert "missed trading-engine.service" in slo_missed(slo_rows(TARGETS, down, {}), load_wanted=False)[0]


def test_bad_health_is_missed_with_what_it_says(load: dict[str, Any]) -> None:
    ill = {**STATE, "health": {"status": 503, "text": "journal failed"}}
    assert missed(load, ill) == "missed health, 503 instead of 200; health says journal failed"
    unreachable = {**STATE, "health": {"status": 0, "text": "connection refused"}}
    assert "no answer instead of 200; health says connection refused" in missed(load, unreachable)


def test_cpu_is_the_host_s_without_the_generator_beside_the_engine(load: dict[str, Any]) -> None:
    assert cpu_percent(load["before"], load["after"], FIGURES, on_host=False) == pytest.approx(40.0)
    busy = {**STATE, "cpu_busy_s": {"machine": 112.0}}
    assert cpu_percent(load["before"], busy, FIGURES, on_host=True) == pytest.approx(40.0)
    two_cpus = {**STATE, "cpus": 2}
    assert cpu_percent(load["before"], two_cpus, FIGURES, on_host=False) == pytest.approx(20.0)


def test_in_a_container_only_processes_that_still_run_count() -> None:
    before = {"cpu_busy_s": {"1@5": 10.0, "70@900": 3.0}}
    after = {"cpu_busy_s": {"1@5": 11.0, "80@950": 2.0}, "cpu_scope": "processes", "cpus": 1}
    assert cpu_percent(before, after, FIGURES, on_host=True) == pytest.approx(30.0)


def test_the_table_has_a_line_for_each_target_and_fits_a_terminal(load: dict[str, Any]) -> None:
    load["figures"]["latency_corrected_us"]["p99"] = 5120.0
    lines = slo_table(slo_rows(TARGETS, STATE, load))
    (p99,) = (line for line in lines if line.startswith("p99"))
    assert p99.split("  ")[-1] == "MISSED"
    assert "< 2000 µs" in p99
    assert "5120 µs" in p99
    table = [line for line in lines if not line.startswith("(")]
    assert len(table) == 1 + len(slo_rows(TARGETS, STATE, load))
    assert max(map(len, table)) <= 70
