from __future__ import annotations

import importlib
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.statistics.verdict import (
    ALPHA,
    HELPED,
    NO_DIFFERENCE,
    NOT_MEASURED,
    WORSE,
    judge,
    pairs_needed,
    sign_flip_p,
    signed_ranks,
)

tuning = importlib.import_module("ansible_collections.lowlatency.trading.plugins.filter.tuning")
FILTERS = tuning.FilterModule().filters()

RECORDED = json.loads((Path(__file__).parent / "null_runs.json").read_text())
PAIRS = 16


def brute_force_p(differences: list[float]) -> float:
    seen = abs(sum(differences)) * (1 - 1e-12)
    signs = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(pattern, differences, strict=True))) for pattern in signs]
    return sum(total >= seen for total in sums) / len(sums)


@pytest.mark.parametrize("seed", range(20))
def test_the_p_value_is_that_of_all_sign_patterns(seed: int) -> None:
    lot = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    differences = [lot.gauss(0.3, 1) for _ in range(lot.randint(1, 11))]
    assert sign_flip_p(differences) == pytest.approx(brute_force_p(differences))


def test_ranks_keep_signs_and_ties_share_theirs() -> None:
    assert signed_ranks([0.5, -0.1, 9.0, 0.0, -0.5]) == [2.5, -1.0, 4.0, 0.0, -2.5]


def test_pairs_needed_are_the_fewest_that_can_reach_a_verdict() -> None:
    for comparisons in (1, 7, 140):
        needed = pairs_needed(comparisons)
        assert 2 / 2**needed <= ALPHA / comparisons < 2 / 2 ** (needed - 1)


def resampled(lot: random.Random, effect: float = 1.0) -> dict[str, list[tuple[float, float]]]:
    """Return pairs of figures for each metric, drawn at random from recorded runs.

    In the recorded runs, a tuning profile was compared with itself. For all metrics, the figures of a pair come from
    the same two runs.
    """
    families: dict[str, list[tuple[float, float]]] = {metric: [] for metric in tuning.METRICS}
    for _ in range(PAIRS):
        one, other = lot.sample(RECORDED["runs"], 2)
        for metric in families:
            families[metric].append((one[metric] * effect, other[metric]))
    return families


def test_of_recorded_runs_without_a_difference_at_most_one_family_in_hundred_gets_a_verdict() -> None:
    lot = random.Random(20261123)  # noqa: S311
    families = 2000
    false = sum(any(v.verdict != NO_DIFFERENCE for v in judge(resampled(lot)).values()) for _ in range(families))
    # At most 20 false verdicts are expected. By chance, one in a thousand such tests has 35 or more.
    assert false < 35


@pytest.mark.parametrize(("effect", "word"), [(10.0, WORSE), (0.1, HELPED)])
def test_an_injected_delay_or_gain_is_called(effect: float, word: str) -> None:
    lot = random.Random(7)  # noqa: S311
    for _ in range(20):
        verdicts = judge(resampled(lot, effect))
        # One recorded run is unusual (round trips of 1.3 s). When it is drawn, there may be no verdict about round
        # trips.
        assert {verdict.verdict for verdict in verdicts.values()} <= {word, NO_DIFFERENCE}
        assert {verdicts[metric].verdict for metric in ("timer p50", "timer p99", "timer p99.9")} == {word}
        assert verdicts["timer p50"].ratio == pytest.approx(effect, rel=0.5)


def test_a_comparison_without_pairs_is_not_measured_and_never_a_pass() -> None:
    assert judge({"a": []})["a"].verdict == NOT_MEASURED


def test_too_few_pairs_reach_no_verdict_however_large_the_effect() -> None:
    assert judge({"a": [(1.0, 100.0)] * 7})["a"].verdict == NO_DIFFERENCE
    assert judge({"a": [(1.0, 100.0)] * 8})["a"].verdict == HELPED


def test_equal_figures_are_no_difference() -> None:
    assert judge({"a": [(5.0, 5.0)] * PAIRS})["a"].verdict == NO_DIFFERENCE


def test_a_schedule_has_both_runs_of_each_pair_side_by_side_in_an_order_drawn_by_lot() -> None:
    runs = tuning.tuning_schedule(["profile", "vm.swappiness"], 50, seed=3)
    assert len(runs) == 200
    firsts = {"with": 0, "without": 0}
    for one, other in zip(runs[::2], runs[1::2], strict=True):
        assert (one["subject"], one["pair"]) == (other["subject"], other["pair"])
        assert {one["variant"], other["variant"]} == {"with", "without"}
        firsts[one["variant"]] += 1
    assert min(firsts.values()) > 25
    assert runs == tuning.tuning_schedule(["profile", "vm.swappiness"], 50, seed=3)


def observations(effect: float, late_pairs: int = 0) -> list[dict[str, Any]]:
    lot = random.Random(11)  # noqa: S311
    runs = []
    for entry in tuning.tuning_schedule(["profile"], PAIRS, seed=1):
        factor = lot.uniform(0.95, 1.05) * (effect if entry["variant"] == "with" else 1.0)
        figures = dict.fromkeys(("avg", "p50", "p99", "p999"), 100 * factor)
        load = {
            "interrupted": False,
            "lateness_us": {"p99": 900.0 if entry["pair"] < late_pairs else 5.0},
            "latency_corrected_us": figures,
        }
        runs.append({**entry, "load": load, "timer": {"lateness_us": figures}})
    return runs


def test_rows_tell_metric_verdict_and_figures() -> None:
    rows = tuning.tuning_verdicts(observations(2.0), ["profile"])
    assert [row["metric"] for row in rows] == list(tuning.METRICS)
    assert {row["verdict"] for row in rows} == {WORSE}
    assert len(rows[0]["with_us"]) == PAIRS
    assert tuning.tuning_veto(rows) == ["profile"]


def test_pairs_with_a_run_whose_generator_was_late_do_not_count() -> None:
    rows = tuning.tuning_verdicts(observations(2.0, late_pairs=PAIRS), ["profile"])
    verdicts = {row["metric"]: row["verdict"] for row in rows}
    assert verdicts["round trip p99"] == NOT_MEASURED
    assert verdicts["timer p99"] == WORSE


def test_what_helps_one_metric_is_not_vetoed_for_another() -> None:
    rows = [{"subject": "x", "verdict": WORSE}, {"subject": "x", "verdict": HELPED}]
    assert tuning.tuning_veto(rows) == []


def knob(status: str, value: str, reason: str = "") -> dict[str, str]:
    blank = {"before": "", "previous": "0-3", "overridden_by": ""}
    return {"name": "irq_affinity", "status": status, "value": value, "reason": reason, **blank}


def test_the_report_of_a_second_run_is_that_of_the_first() -> None:
    refused = knob("refused", "0", "1 of 4: irq9; EIO")
    first = [knob("applied", "0, 1", "2 of 4: irq1, irq2"), knob("already", "0", "1 of 4: irq3"), refused]
    second = [knob("already", "0, 1", "3 of 4: irq1, irq2, irq3"), refused]
    assert tuning.tuning_report(first) == tuning.tuning_report(second)
    assert [entry["status"] for entry in tuning.tuning_report(second)] == ["in_force", "refused"]


def test_the_filter_asks_for_pairs_enough_for_every_metric_of_every_subject() -> None:
    assert len(tuning.METRICS) == 7
    assert FILTERS["tuning_pairs_needed"](["os", "network"]) == pairs_needed(14) == 12
    assert FILTERS["tuning_pairs_needed"](["os"]) < FILTERS["tuning_pairs_needed"](
        [str(number) for number in range(20)]
    )


def test_differing_are_the_knobs_that_the_host_had_otherwise_once_each() -> None:
    knobs = [
        {"name": "vm.swappiness", "value": "1", "previous": "60"},
        {"name": "vm.stat_interval", "value": "1", "previous": "1"},
        {"name": "irq_affinity", "value": "0-1", "previous": "0-3"},
        {"name": "irq_affinity", "value": "0", "previous": "3"},
    ]
    assert FILTERS["tuning_differing"](knobs) == ["vm.swappiness", "irq_affinity"]
    assert FILTERS["tuning_differing"]([]) == []
