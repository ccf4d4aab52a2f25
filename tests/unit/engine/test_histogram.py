"""The figures that a histogram computes are right for the durations that it has recorded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trading_engine.published.histogram import BUCKETS, Distribution, Histogram, bucket_of, lower_bound_ns, middle_ns
from trading_telemetry.latency import Latency

DURATIONS = st.integers(1_024, 60_000_000_000)


def distribution(histogram: Histogram) -> Distribution:
    return Distribution(list(histogram.counts), histogram.total_ns, histogram.maximum_ns)


@given(DURATIONS)
def test_a_bucket_holds_its_durations_within_less_than_one_percent(duration_ns: int) -> None:
    bucket = bucket_of(duration_ns)
    assert lower_bound_ns(bucket) <= duration_ns < lower_bound_ns(bucket + 1)
    assert abs(middle_ns(bucket) - duration_ns) <= duration_ns * 0.008


def test_no_bucket_is_wider_than_is_said() -> None:
    errors = [
        (lower_bound_ns(bucket + 1) - 1 - middle_ns(bucket)) / (lower_bound_ns(bucket + 1) - 1)
        for bucket in range(bucket_of(1_024), BUCKETS - 1)
    ]
    errors += [
        (middle_ns(bucket) - lower_bound_ns(bucket)) / lower_bound_ns(bucket)
        for bucket in range(bucket_of(1_024), BUCKETS)
    ]
    assert 0.007 < max(errors) <= 0.008


def test_buckets_follow_each_other_without_gap_up_to_the_last() -> None:
    assert [bucket_of(lower_bound_ns(bucket)) for bucket in range(BUCKETS)] == list(range(BUCKETS))
    assert bucket_of(0) == bucket_of(-5) == 0
    assert bucket_of(10**15) == BUCKETS - 1


@given(st.integers(-1_000, 10**15), st.integers(1, 9))
def test_what_is_recorded_is_counted_in_its_bucket(duration_ns: int, times: int) -> None:
    histogram = Histogram()
    histogram.record(duration_ns, times)
    assert histogram.counts[bucket_of(duration_ns)] == sum(histogram.counts) == times
    assert (histogram.total_ns, histogram.maximum_ns) == (max(duration_ns, 0) * times, max(duration_ns, 0))


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([50, 95, 99, 99.9, 100]))
def test_a_percentile_is_that_of_the_sorted_durations_within_one_percent(durations: list[int], percent: float) -> None:
    histogram = Histogram()
    for duration_ns in durations:
        histogram.record(duration_ns)
    exact = sorted(durations)[max(1, -int(-len(durations) * percent // 100)) - 1]
    found_ns = Latency.of(distribution(histogram)).percentile_us(percent) * 1e3
    assert abs(found_ns - exact) <= exact / 100


def test_a_window_is_the_difference_of_two_readings() -> None:
    histogram = Histogram()
    histogram.record(5_000, 10)
    before = distribution(histogram)
    histogram.record(2_000_000, 4)
    window = distribution(histogram).since(before)
    assert (window.count, window.total_ns) == (4, 8_000_000)
    assert not sum(window.counts[: bucket_of(1_000_000) + 1])
