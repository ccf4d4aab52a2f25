"""The figures that a report computes from recorded times: of all time, and of the undisturbed time only."""

import html.parser
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_bench.disturbance import UNCERTAIN_NS
from trading_bench.generator import Recording
from trading_bench.html_report import render
from trading_bench.summary import Round, Summary, distribution_us, percentile, summarize, table


def recording(latencies_us: list[int], lateness_us: int = 5, warmup: int = 0) -> Recording:
    made = Recording(rate_per_s=1000, slots=len(latencies_us), warmup_slots=warmup)
    for slot, latency_us in enumerate(latencies_us):
        made.intended_ns[slot] = 1_000_000_000 + slot * 1_000_000
        made.sent_ns[slot] = made.intended_ns[slot] + lateness_us * 1000
        if latency_us:
            made.answered_ns[slot] = made.intended_ns[slot] + latency_us * 1000
    return made


def summary_of(made: Recording, own: dict[str, Any] | None = None) -> Summary:
    return summarize([Round(made, own=own)])


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.001, 100))
def test_a_percentile_is_the_smallest_value_that_this_share_does_not_exceed(values: list[int], percent: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert 100 * sum(value <= found for value in ordered) / len(ordered) >= percent
    below = [value for value in ordered if value < found]
    assert not below or 100 * sum(value <= below[-1] for value in ordered) / len(ordered) < percent


def test_figures_of_a_known_set() -> None:
    assert distribution_us([1000 * value for value in range(1, 1001)]) == {
        "avg": 500.5,
        "p50": 500.0,
        "p95": 950.0,
        "p99": 990.0,
        "p999": 999.0,
        "max": 1000.0,
    }


def test_latency_counts_from_the_intended_time_and_the_raw_one_from_the_send() -> None:
    summary = summary_of(recording([100] * 50, lateness_us=40))
    assert summary["latency_corrected_us"]["p50"] == 100
    assert summary["latency_raw_us"]["p50"] == 60
    assert summary["lateness_us"]["max"] == 40


def test_warm_up_orders_are_in_no_figure() -> None:
    summary = summary_of(recording([9000] * 10 + [100] * 90, warmup=10))
    assert summary["latency_corrected_us"]["max"] == 100
    assert summary["orders_sent"] == summary["orders_answered"] == 90


def test_throughput_is_answers_over_the_time_they_took() -> None:
    assert summary_of(recording([1000] * 100))["throughput_per_s"] == pytest.approx(1000)


def test_an_order_without_answer_is_an_error_and_never_a_latency() -> None:
    summary = summary_of(recording([100] * 10 + [0] * 3))
    assert summary["errors"] == {"orders without an answer": 3}
    assert summary["orders_answered"] == 10
    assert "error: orders without an answer: 3" in table(summary)


def test_a_late_generator_is_told_and_spoils_nothing() -> None:
    summary = summary_of(recording([300] * 100, lateness_us=250))
    assert summary["lateness_us"]["p99"] == 250
    assert not summary["interrupted"]


def test_an_interrupted_run_says_so() -> None:
    made = recording([100] * 20)
    made.sent_ns[19] = made.answered_ns[19] = 0
    assert summary_of(made)["interrupted"]
    assert "INTERRUPTED" in table(summary_of(made))


def test_runs_are_taken_together_and_none_is_left_out() -> None:
    summary = summarize([Round(recording([100] * 100)), Round(recording([900] * 100), left_open_shares=7)])
    assert summary["latency_corrected_us"]["avg"] == 500
    assert summary["throughput_per_s"] == pytest.approx(1000, rel=0.01)
    assert summary["errors"] == {"shares that could not be cancelled": 7}
    assert [part["start_s"] for part in summary["latency_slices"]] == pytest.approx([0.0, 0.1])


def test_nothing_answered_still_gives_a_table_and_a_report() -> None:
    summary = summary_of(recording([0] * 5))
    assert summary["throughput_per_s"] == 0
    assert "5 errors" in table(summary)
    assert "No order was answered" in render(summary, "nothing")


def test_figures_without_the_disturbed_time_stand_beside_those_of_all_of_it() -> None:
    # The orders from 200 to 299 ms waited for 30 ms, because the machine did not run for 40 ms.
    latencies_us = [100] * 200 + [30_000] * 100 + [100] * 700
    mark = [1_000_000_000 + 200_000_000, 40_000_000, 900_000]
    witness = {
        "cpu": 1,
        "refused": "",
        "quiet_loop_ns": 5000,
        "loaded_loop_ns": 5000,
        "milliseconds": 1000,
        "cpu_ns": 1_000_000,
        "marks": [mark],
    }
    own = {
        "engine_ahead_ns": None,
        "outside_cpus": 0,
        "witnesses": [witness],
        "samples": [],
        "real_time_tasks": [],
        "stalls": [],
    }
    summary = summary_of(recording(latencies_us), own)
    assert summary["latency_corrected_us"]["p99"] == 30_000
    assert summary["undisturbed"]["latency_corrected_us"]["max"] == 100
    # Three slices are set aside: the one in which the mark begins, the next one, and the one after, which still has a
    # queue.
    assert summary["disturbance"]["set_aside"] == 3
    assert summary["disturbance"]["causes"] == {"the CPU was slowed": 2, "right after": 1}
    assert "the machine disturbed 30 % of the time" in table(summary)
    assert render(summary, "disturbed").count('class="shaded"') == 3


class References(html.parser.HTMLParser):
    """An HTML parser that collects every reference that lets a browser load a file."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "srcset", "data", "action"}]


def test_the_report_holds_the_figures_and_refers_to_nothing_outside() -> None:
    summary = json.loads(json.dumps(summary_of(recording([1234] * 2000, warmup=1))))
    document = render(summary, "127.0.0.1 <script>")
    references = References()
    references.feed(document)
    assert references.found == []
    assert "1,234.0" in document
    assert "<script>" not in document
    assert document.count("<polyline") >= 4


@pytest.mark.parametrize(("beyond_ns", "set_aside"), [(0, 2), (1000, 0)])
def test_clocks_that_are_not_known_well_enough_set_nothing_aside(beyond_ns: int, set_aside: int) -> None:
    made = recording([0] * 50 + [(2 * UNCERTAIN_NS + 2 * beyond_ns) // 1000] + [0] * 949, lateness_us=0)
    made.engine_ns[50] = (made.sent_ns[50] + made.answered_ns[50]) // 2
    witness: dict[str, Any] = {"cpu": 0, "refused": "", "quiet_loop_ns": 5_000, "loaded_loop_ns": 5_000}
    witness |= {"milliseconds": 1000, "cpu_ns": 20_000_000, "marks": [[made.intended_ns[450], 0, 200_000]]}
    about: dict[str, Any] = {"samples": [], "real_time_tasks": [], "stalls": []}
    seen = {"engine_ahead_ns": 0, "outside_cpus": 1, "witnesses": [witness], **about}
    disturbance = summarize([Round(made, engine_host=seen)])["disturbance"]
    assert disturbance["set_aside"] == set_aside
    said = "the clock of the engine's host is not known well enough: what was seen there is left out"
    assert (said in disturbance["remarks"]) is (set_aside == 0)
