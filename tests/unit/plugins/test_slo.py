"""The verdict about a host's targets. Only a measurement that met its target passes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.filter.slo import FilterModule, cpu_percent
from jinja2.nativetypes import NativeEnvironment

FILTERS = FilterModule().filters()
slo_rows, slo_table, slo_needs_more = FILTERS["slo_rows"], FILTERS["slo_table"], FILTERS["slo_needs_more"]
slo_missed, slo_unmeasured = FILTERS["slo_missed"], FILTERS["slo_unmeasured"]

TARGETS = {
    "avg_us": 500.0,
    "p95_us": 1000.0,
    "p99_us": 2000.0,
    "feed_p99_us": 1000.0,
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
LATENCY_US = {"avg": 120.0, "p95": 300.0, "p99": 700.0}
MISSING_US = {"avg": 120.0, "p95": 300.0, "p99": 9000.0}
ON_TIME_US = {"avg": 1.0, "p95": 2.0, "p99": 4.0}
LATE_US = {"avg": 90.0, "p95": 300.0, "p99": 8700.0}


def latencies(
    corrected_us: dict[str, float], raw_us: dict[str, float], lateness_us: dict[str, float]
) -> dict[str, dict[str, float]]:
    return {"latency_corrected_us": corrected_us, "latency_raw_us": raw_us, "lateness_us": lateness_us}


FEED_US = {"feed_us": {"p50": 80.0, "p99": 400.0}}
LATE_FEED_US = {"feed_us": {"p50": 3100.0, "p99": 8000.0}}


def disturbance(slices: int = 100, set_aside: int = 0) -> dict[str, Any]:
    return {
        "slices": slices,
        "set_aside": set_aside,
        "undisturbed_s": (slices - set_aside) / 10,
        "causes": {"the CPU was slowed": set_aside} if set_aside else {},
        "remarks": [],
    }


FIGURES = {
    "interrupted": False,
    **latencies(LATENCY_US, LATENCY_US, ON_TIME_US),
    **FEED_US,
    "undisturbed": {**latencies(LATENCY_US, LATENCY_US, ON_TIME_US), **FEED_US},
    "disturbance": disturbance(),
    "throughput_per_s": 10_480.0,
    "errors": {},
    "errors_total": 0,
    "rejects": {},
    "rejects_total": 0,
    "generator": {"cpu_s": 8.0, "offered_s": 10.0, "wall_s": 14.0},
}


@pytest.fixture
def load() -> dict[str, Any]:
    before = {**STATE, "cpu_busy_s": {"machine": 100.0}}
    looked = {"looks": [[before, STATE]], "on_host": False, "disturbed": "count", "wanted_s": 10, "unwatched": ""}
    return copy.deepcopy({"figures": FIGURES, **looked})


def missed(load: dict[str, Any], state: dict[str, Any] = STATE) -> str:
    return "; ".join(slo_missed(slo_rows(TARGETS, state, load)))


def verdicts(load: dict[str, Any]) -> dict[str, str]:
    return {line["name"]: line["verdict"] for line in slo_rows(TARGETS, STATE, load)}


def test_a_host_that_meets_every_target_passes(load: dict[str, Any]) -> None:
    rows = slo_rows(TARGETS, STATE, load)
    assert {line["verdict"] for line in rows} == {"met"}
    assert slo_missed(rows) == slo_unmeasured(rows) == []


def test_figures_that_meet_the_targets_are_met_however_late_the_generator_was(load: dict[str, Any]) -> None:
    load["figures"].update(latencies(LATENCY_US, LATENCY_US, LATE_US))
    assert set(verdicts(load).values()) == {"met"}


@pytest.mark.parametrize("disturbed", ["count", "set_aside"])
def test_the_generous_targets_of_tests_are_met_on_any_machine(load: dict[str, Any], disturbed: str) -> None:
    file = Path(__file__).parents[3] / "extensions/molecule/shared/vars/generous_targets.yml"
    targets = {**TARGETS, **yaml.safe_load(file.read_text(encoding="utf-8"))["trading_slo"]}
    after_the_load_us = dict.fromkeys(LATENCY_US, 15e6)
    load["disturbed"] = disturbed
    load["figures"].update(latencies(after_the_load_us, after_the_load_us, after_the_load_us))
    load["figures"].update(feed_us={"p50": 15e6, "p99": 15e6}, disturbance=disturbance(100, 100), throughput_per_s=1.0)
    rows = [row for row in slo_rows(targets, STATE, load) if row["name"] not in {"cpu", "memory"}]
    assert {row["name"]: row["verdict"] for row in rows if row["verdict"] != "met"} == {}
    assert not slo_needs_more(targets, load)


def test_a_latency_is_missed_when_it_misses_from_the_send_as_well(load: dict[str, Any]) -> None:
    load["figures"].update(latencies(MISSING_US, MISSING_US, LATE_US))
    assert "missed p99, 9000 µs instead of < 2000 µs" in missed(load)


def test_a_latency_is_missed_when_the_generator_was_on_time(load: dict[str, Any]) -> None:
    load["figures"].update(latencies(MISSING_US, LATENCY_US, {**ON_TIME_US, "p99": 200.0}))
    assert verdicts(load)["p99"] == "missed"


def test_a_latency_that_only_a_late_generator_missed_was_not_measured(load: dict[str, Any]) -> None:
    load["figures"].update(latencies(MISSING_US, LATENCY_US, LATE_US))
    rows = slo_rows(TARGETS, STATE, load)
    assert slo_missed(rows) == []
    assert slo_unmeasured(rows)[0] == "not measured p99"
    assert "the generator itself was late, p99 8700 µs" in slo_unmeasured(rows)[1]
    assert verdicts(load)["avg"] == "met"


def test_by_default_disturbed_time_counts(load: dict[str, Any]) -> None:
    load["figures"].update(latencies(MISSING_US, MISSING_US, ON_TIME_US), disturbance=disturbance(100, 30))
    assert verdicts(load)["p99"] == "missed"
    assert not slo_needs_more(TARGETS, load)


@pytest.fixture
def aside(load: dict[str, Any]) -> dict[str, Any]:
    """Change the result of a load, so that its disturbed slices are set aside. Return the result.

    In the whole time of the load, targets are missed. In the undisturbed time, they are met.
    """
    load["disturbed"] = "set_aside"
    load["figures"].update(latencies(MISSING_US, MISSING_US, ON_TIME_US), disturbance=disturbance(150, 50))
    return load


def test_the_verdict_is_of_the_undisturbed_time_and_tells_the_rest(aside: dict[str, Any]) -> None:
    rows = slo_rows(TARGETS, STATE, aside)
    assert {line["verdict"] for line in rows} == {"met"}
    (p99,) = (line for line in rows if line["name"] == "p99")
    assert p99["measured"] == "700 µs"
    assert "the 10 s that the machine left undisturbed" in p99["note"]
    assert "over all of it: avg 120, p95 300, p99 9000 µs" in p99["note"]


def test_an_engine_that_misses_in_undisturbed_time_missed(aside: dict[str, Any]) -> None:
    aside["figures"]["undisturbed"] = latencies(MISSING_US, MISSING_US, ON_TIME_US)
    assert verdicts(aside)["p99"] == "missed"


def test_a_generator_late_in_undisturbed_time_measured_nothing(aside: dict[str, Any]) -> None:
    aside["figures"]["undisturbed"] = latencies(MISSING_US, LATENCY_US, LATE_US)
    assert verdicts(aside)["p99"] == "not measured"


@pytest.mark.parametrize(("slices", "set_aside"), [(100, 50), (600, 401)])
def test_too_little_undisturbed_time_is_no_measurement(aside: dict[str, Any], slices: int, set_aside: int) -> None:
    aside["figures"]["disturbance"] = disturbance(slices, set_aside)
    rows = slo_rows(TARGETS, STATE, aside)
    assert slo_missed(rows) == []
    assert slo_unmeasured(rows)[0] == "not measured p99"
    assert f"{slices / 10:g} s undisturbed, too little for a verdict" in slo_unmeasured(rows)[1]
    assert f"the CPU was slowed in {set_aside}" in slo_unmeasured(rows)[1]
    assert slo_needs_more(TARGETS, aside)


def test_no_more_load_is_needed_for_what_passes_or_is_enough(aside: dict[str, Any]) -> None:
    assert not slo_needs_more(TARGETS, aside)
    aside["figures"].update(latencies(LATENCY_US, LATENCY_US, ON_TIME_US), disturbance=disturbance(100, 50))
    assert not slo_needs_more(TARGETS, aside), "the whole passes, disturbed or not"


def test_without_a_witness_every_slice_counts_and_it_is_said(aside: dict[str, Any]) -> None:
    aside["figures"]["disturbance"] = {
        **disturbance(),
        "remarks": ["CPU 1 of this host: real-time priority was refused"],
    }
    aside["unwatched"] = "trading-witness does not start on this host"
    rows = slo_rows(TARGETS, STATE, aside)
    assert verdicts(aside)["p99"] == "missed"
    assert any("refused; trading-witness does not start" in line for line in slo_table(rows))


def test_an_engine_that_answered_nothing_in_undisturbed_time_missed(aside: dict[str, Any]) -> None:
    aside["figures"]["undisturbed"] = latencies({}, {}, ON_TIME_US)
    assert verdicts(aside)["p99"] == "missed"


def test_less_throughput_on_a_disturbed_machine_shows_nothing(aside: dict[str, Any]) -> None:
    aside["figures"]["throughput_per_s"] = 9_000.0
    assert verdicts(aside)["throughput"] == "not measured"
    aside["disturbed"] = "count"
    assert verdicts(aside)["throughput"] == "missed"


@pytest.mark.parametrize(
    ("name", "target", "limit_us"), [("avg", "< 500 µs", 500), ("p95", "< 1000 µs", 1000), ("p99", "< 2000 µs", 2000)]
)
def test_a_latency_at_its_limit_is_missed_by_name_with_value_and_target(
    load: dict[str, Any], name: str, target: str, limit_us: int
) -> None:
    load["figures"].update(latencies({**LATENCY_US, name: float(limit_us)}, LATENCY_US, ON_TIME_US))
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


def test_an_interrupted_run_is_never_met(load: dict[str, Any]) -> None:
    load["figures"]["interrupted"] = True
    rows = slo_rows(TARGETS, STATE, load)
    assert slo_unmeasured(rows) == [
        "not measured avg, p95, p99, feed p99, throughput, errors, rejects, cpu",
        "the load was interrupted",
    ]


def test_without_load_the_rest_still_counts() -> None:
    rows = slo_rows(TARGETS, STATE, {})
    assert slo_missed(rows) == []
    assert slo_unmeasured(rows) != []
    down = {**STATE, "units": {"trading-engine.service": "failed, enabled"}}
    assert "missed trading-engine.service" in slo_missed(slo_rows(TARGETS, down, {}))[0]


def test_the_table_tells_what_runs() -> None:
    table = slo_table(slo_rows(TARGETS, {**STATE, "compiled": False}, {}))
    assert "(the engine in force is not compiled)" in table


def test_bad_health_is_missed_with_what_it_says(load: dict[str, Any]) -> None:
    ill = {**STATE, "health": {"status": 503, "text": "journal failed"}}
    assert missed(load, ill) == "missed health, 503 instead of 200; health says journal failed"
    unreachable = {**STATE, "health": {"status": 0, "text": "connection refused"}}
    assert "no answer instead of 200; health says connection refused" in missed(load, unreachable)


def test_cpu_is_the_host_s_over_the_offered_time_without_the_generator_beside_the_engine(load: dict[str, Any]) -> None:
    before, after = load["looks"][0]
    assert cpu_percent([[before, after]], FIGURES, on_host=False) == pytest.approx(40.0)
    busy = {**STATE, "cpu_busy_s": {"machine": 112.0}}
    assert cpu_percent([[before, busy]], FIGURES, on_host=True) == pytest.approx(40.0)
    two_cpus = {**STATE, "cpus": 2}
    assert cpu_percent([[before, two_cpus]], FIGURES, on_host=False) == pytest.approx(20.0)
    assert cpu_percent([[before, after], [after, busy]], FIGURES, on_host=False) == pytest.approx(120.0)


def test_in_a_container_only_processes_that_still_run_count() -> None:
    before = {"cpu_busy_s": {"1@5": 10.0, "70@900": 3.0}}
    after = {"cpu_busy_s": {"1@5": 11.0, "80@950": 2.0}, "cpu_scope": "processes", "cpus": 1}
    assert cpu_percent([[before, after]], FIGURES, on_host=True) == pytest.approx(30.0)


def test_the_table_has_a_line_for_each_target_and_fits_a_terminal(load: dict[str, Any]) -> None:
    load["figures"].update(latencies({**LATENCY_US, "p99": 5120.0}, MISSING_US, ON_TIME_US))
    lines = slo_table(slo_rows(TARGETS, STATE, load))
    (p99,) = (line for line in lines if line.startswith("p99"))
    assert p99.split("  ")[-1] == "MISSED"
    assert "< 2000 µs" in p99
    assert "5120 µs" in p99
    table = [line for line in lines if not line.startswith("(")]
    assert len(table) == 1 + len(slo_rows(TARGETS, STATE, load))
    assert max(map(len, table)) <= 70


def test_a_late_feed_is_missed_by_its_name(load: dict[str, Any]) -> None:
    load["figures"].update(LATE_FEED_US)
    assert missed(load) == "missed feed p99, 8000 µs instead of < 1000 µs"


def test_a_late_generator_excuses_no_late_feed(load: dict[str, Any]) -> None:
    load["figures"].update({**latencies(MISSING_US, LATENCY_US, LATE_US), **LATE_FEED_US})
    assert verdicts(load)["feed p99"] == "missed"


def test_a_feed_that_shows_nothing_is_missed(load: dict[str, Any]) -> None:
    load["figures"]["feed_us"] = {}
    assert missed(load).startswith("missed feed p99, nothing seen instead of < 1000 µs; the market saw none")


def test_a_feed_that_only_a_disturbed_machine_made_late_is_judged_by_the_rest(aside: dict[str, Any]) -> None:
    aside["figures"].update(LATE_FEED_US)
    assert verdicts(aside)["feed p99"] == "met"
    aside["figures"]["undisturbed"].update(LATE_FEED_US)
    assert verdicts(aside)["feed p99"] == "missed"


def test_an_engine_without_a_feed_passes_without_a_row_of_it(load: dict[str, Any]) -> None:
    targets = {name: value for name, value in TARGETS.items() if name != "feed_p99_us"}
    load["figures"]["feed_us"] = {}  # no client subscribed
    rows = slo_rows(targets, STATE, load)
    assert {line["verdict"] for line in rows} == {"met"}
    for measured in (load, {}):
        assert "feed p99" not in {line["name"] for line in slo_rows(targets, STATE, measured)}
    load["figures"]["interrupted"] = True
    assert "feed" not in slo_unmeasured(slo_rows(targets, STATE, load))[0]


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 9002),
        ({"trading_feed_port": "9102"}, 9102),
        ({"slo_units": ["their-engine.service"]}, 0),
    ],
)
def test_the_market_data_is_judged_where_there_is_a_feed(variables: dict[str, Any], port: int) -> None:
    role = Path(__file__).parents[3] / "roles/slo"
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text(encoding="utf-8"))
    template = NativeEnvironment().from_string
    units = variables.get("slo_units") or template(defaults["slo_units"].replace("| bool", "")).render(**variables)
    assert ("trading-feed.service" in units) == (port > 0)
    assert int(template(defaults["slo_feed_port"]).render(**{**variables, "slo_units": units})) == port
    judged = yaml.safe_load((role / "vars/main.yml").read_text(encoding="utf-8"))["__slo_judged"]
    filters = NativeEnvironment()
    filters.filters["combine"] = lambda one, other: {**one, **other}
    judges: object = filters.from_string(judged).render(__slo_targets={}, slo_feed_p99_us="1000", slo_feed_port=port)
    assert judges == ({"feed_p99_us": 1000.0} if port else {})


def test_a_generator_of_a_release_that_cannot_subscribe_has_no_row_of_the_feed(aside: dict[str, Any]) -> None:
    del aside["figures"]["feed_us"], aside["figures"]["undisturbed"]["feed_us"]
    assert "feed p99" not in verdicts(aside)
    assert set(verdicts(aside).values()) == {"met"}
    aside["figures"].update(latencies(LATENCY_US, LATENCY_US, ON_TIME_US), disturbance=disturbance(100, 80))
    assert not slo_needs_more(TARGETS, aside)


def test_where_too_little_was_undisturbed_a_late_feed_was_not_measured_and_more_load_may_tell(
    aside: dict[str, Any],
) -> None:
    aside["figures"].update({**latencies(LATENCY_US, LATENCY_US, ON_TIME_US), **LATE_FEED_US})
    aside["figures"]["disturbance"] = disturbance(100, 80)
    assert verdicts(aside)["feed p99"] == "not measured"
    assert verdicts(aside)["p99"] == "met"
    assert slo_needs_more(TARGETS, aside)


@pytest.mark.parametrize(
    ("verify", "sessions", "loaded"),
    [
        ("auto", 0, True),
        ("auto", 1, False),
        ("auto", -1, False),  # the engine does not tell the number
        ("always", 3, True),
        ("never", 0, False),
    ],
)
def test_an_engine_with_clients_gets_no_load_unless_that_is_meant(verify: str, sessions: int, loaded: bool) -> None:
    role = Path(__file__).parents[3] / "roles/slo"
    decides = yaml.safe_load((role / "vars/main.yml").read_text(encoding="utf-8"))["__slo_load_wanted"]
    state = {"sessions_open": sessions}
    decided: object = NativeEnvironment().from_string(decides).render(slo_verify=verify, __slo_state=state)
    assert decided is loaded
    tasks = yaml.safe_load((role / "tasks/measurement.yml").read_text(encoding="utf-8"))
    *before, block = tasks
    assert block["when"] == "__slo_load_wanted"
    assert {key for task in before for key in task if "." in key} == {
        "ansible.builtin.debug", "ansible.builtin.meta", "ansible.builtin.set_fact",
    }  # fmt: skip
