"""From recorded times to figures and to the question whether they may count."""

import html.parser
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trading_bench.generator import Recording
from trading_bench.html_report import render
from trading_bench.summary import distribution_us, percentile, summarize, table


def recording(latencies_us: list[int], lateness_us: int = 5, warmup: int = 0) -> Recording:
    made = Recording(rate_per_s=1000, slots=len(latencies_us), warmup_slots=warmup)
    for slot, latency_us in enumerate(latencies_us):
        made.intended_ns[slot] = 1_000_000_000 + slot * 1_000_000
        made.sent_ns[slot] = made.intended_ns[slot] + lateness_us * 1000
        if latency_us:
            made.answered_ns[slot] = made.intended_ns[slot] + latency_us * 1000
    return made


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
    summary = summarize(recording([100] * 50, lateness_us=40), 0)
    assert summary["latency_corrected_us"]["p50"] == 100
    assert summary["latency_raw_us"]["p50"] == 60
    assert summary["lateness_us"]["max"] == 40


def test_warm_up_orders_are_in_no_figure() -> None:
    summary = summarize(recording([9000] * 10 + [100] * 90, warmup=10), 0)
    assert summary["latency_corrected_us"]["max"] == 100
    assert summary["orders_sent"] == summary["orders_answered"] == 90


def test_throughput_is_answers_over_the_time_they_took() -> None:
    assert summarize(recording([1000] * 100), 0)["throughput_per_s"] == pytest.approx(1000)


def test_an_order_without_answer_is_an_error_and_never_a_latency() -> None:
    summary = summarize(recording([100] * 10 + [0] * 3), 0)
    assert summary["errors"] == {"orders without an answer": 3}
    assert summary["orders_answered"] == 10
    assert "error: orders without an answer: 3" in table(summary)


@pytest.mark.parametrize(("lateness_us", "void"), [(200, False), (201, True)])
def test_a_run_is_void_when_the_generator_was_late(lateness_us: int, void: bool) -> None:
    summary = summarize(recording([300] * 100, lateness_us=lateness_us), 0)
    assert summary["void"] is void
    assert ("VOID, not a verdict: the generator itself was late" in table(summary)) is void


def test_an_interrupted_run_is_void() -> None:
    made = recording([100] * 20)
    made.sent_ns[19] = made.answered_ns[19] = 0
    assert summarize(made, 0)["void_reason"] == "the run was interrupted"


def test_nothing_answered_still_gives_a_table_and_a_report() -> None:
    summary = summarize(recording([0] * 5), 0)
    assert summary["throughput_per_s"] == 0
    assert "5 errors" in table(summary)
    assert "No order was answered" in render(summary, "nothing")


class References(html.parser.HTMLParser):
    """Collects whatever would make a browser load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href", "srcset", "data", "action"}]


def test_the_report_holds_the_figures_and_refers_to_nothing_outside() -> None:
    summary = json.loads(json.dumps(summarize(recording([1234] * 2000, warmup=1), 0)))
    document = render(summary, "127.0.0.1 <script>")
    references = References()
    references.feed(document)
    assert references.found == []
    assert "1,234.0" in document
    assert "<script>" not in document
    assert document.count("<polyline") >= 4
