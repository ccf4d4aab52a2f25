"""The answer of /metrics, as a collector for the library prometheus_client.

At each scrape the collector reads the state of engines and host, and converts it to metric families.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from trading_engine.published.histogram import Distribution, bucket_of
from trading_engine.published.shm import State

from trading_telemetry import metrics
from trading_telemetry.backup import read_backup
from trading_telemetry.certificate import Certificates
from trading_telemetry.clock import Clock, read_clock
from trading_telemetry.config import Targets
from trading_telemetry.health import Status, check_all, overall
from trading_telemetry.host import resident_bytes, sample_host, tuning
from trading_telemetry.nic import allowance_exceeded
from trading_telemetry.observer import Observation, Observer

_COMPILED = {True: "true", False: "false", None: "unknown"}


class EngineCollector(Collector):
    """The collector of all metrics.

    It reads the engines' state for each scrape, and keeps nothing between scrapes.
    """

    def __init__(
        self,
        observers: Mapping[str, Observer],
        targets: Targets | None,
        clock: Callable[[], Clock | None] = read_clock,
        certificates: Certificates | None = None,
    ) -> None:
        """Collect from these observers, a dictionary: name of a partition → the observer of its engine.

        A host without partitions has one observer, under the name "".
        """
        self._observers = observers
        self._targets = targets
        self._clock = clock
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        clock, tuned, backup = self._clock(), tuning(), read_backup()
        observed = {name: observer.look() for name, observer in self._observers.items()}
        health = {}
        for name, observation in observed.items():
            window = self._observers[name].window(60)
            checks = check_all(observation, window, self._targets, tuned, clock, self._certificates, backup)
            health[name] = _health(observation, overall(checks))
        yield from _together(health)
        yield from _targets(self._targets)
        yield from _host(clock)
        if self._certificates is not None and self._certificates.ends:
            yield _each("trading_certificate_end_time_seconds", self._certificates.ends)
        if backup is not None and backup.runs:
            yield _single("trading_backup_backlog_bytes", backup.backlog_bytes)
            yield _single("trading_backup_oldest_unsent_seconds", backup.oldest_unsent_s)
            yield _single("trading_backup_lost_segments_total", backup.lost_segments)
        yield from _together({name: _observed(each, self._targets) for name, each in observed.items()})


def _together(by_partition: Mapping[str, Iterable[Metric]]) -> Iterable[Metric]:
    """Return each metric family once, with the samples of all partitions.

    Each sample gets the label `partition`, except on a host without partitions.
    """
    families: dict[str, Metric] = {}
    for partition, metrics_of_it in by_partition.items():
        for family in metrics_of_it:
            if partition:
                family.samples = [
                    sample._replace(labels={"partition": partition, **sample.labels}) for sample in family.samples
                ]
            first = families.setdefault(family.name, family)
            if first is not family:
                first.samples += family.samples
    return families.values()


def _health(observation: Observation, status: Status) -> Iterator[Metric]:
    up = observation.state is not None and not observation.problem and not observation.is_stale
    yield _single("trading_up", float(up))
    yield _each("trading_health", {name: float(name == status) for name in ("ok", "degraded", "failing")})


def _observed(observation: Observation, targets: Targets | None) -> Iterator[Metric]:
    """Yield the numbers that the engine published, as metrics. Yield nothing if no state can be read."""
    if observation.state is not None:
        yield _single("trading_state_age_seconds", (observation.age_ns or 0) / 1e9)
        yield from _engine(observation.state)
        if targets is not None:
            yield _over_target(observation.state.histograms["receive_to_reply"], targets)


def _family(name: str) -> CounterMetricFamily | GaugeMetricFamily:
    """Return a metric family that has this name and no samples yet."""
    metric = metrics.BY_NAME[name]
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return make(name, metric.meaning, labels=metrics.labels_of(metric))


def _single(name: str, value: float) -> Metric:
    family = _family(name)
    family.add_metric([], value)
    return family


def _each(name: str, values: Mapping[str, float]) -> Metric:
    """Return a metric family with one sample for each item of `values`.

    The key of the item is the value of the family's label.
    """
    family = _family(name)
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _engine(state: State) -> Iterator[Metric]:
    info = _family(metrics.INFO.name)
    info.add_metric([_COMPILED[state.compiled], state.durability, state.version], 1)
    yield info
    yield _single("trading_start_time_seconds", state.started_ns / 1e9)
    yield _single("trading_journal_failed", float(bool(state.failure)))
    if (resident := resident_bytes(state.pid)) is not None:
        yield _single("trading_engine_resident_bytes", resident)
    values = {**state.counters, **state.gauges}
    for metric in metrics.ENGINES:
        if metric.kind == "histogram":
            yield _histogram(metric.name, metric.meaning, state.histograms[metric.numbers[0].name])
            continue
        family = _family(metric.name)
        for number in metric.numbers:
            scale = 1e-9 if number.name.endswith("_ns") else 1.0
            family.add_metric([number.label] if metric.label else [], values[number.name] * scale)
        yield family


def _histogram(name: str, meaning: str, distribution: Distribution) -> Metric:
    """Return the engine's histogram as a metric, with only the buckets in BUCKET_BOUNDS_US.

    The engine itself has 1,664 buckets with other bounds. So the bound up to which a bucket really counts differs from
    the bound in its label by up to 1.6 %.
    """
    below = list(accumulate(distribution.counts))
    buckets = [
        (repr(bound_us / 1e6), float(below[bucket_of(bound_us * 1000)])) for bound_us in metrics.BUCKET_BOUNDS_US
    ]
    family = HistogramMetricFamily(name, meaning)
    family.add_metric([], [*buckets, ("+Inf", float(below[-1]))], distribution.total_ns / 1e9)
    return family


def _targets(targets: Targets | None) -> Iterator[Metric]:
    """Yield the targets as metrics, so that alert rules can compare figures with them. Yield none without targets."""
    if targets is None:
        return
    latency_us = {"avg": targets.avg_us, "p95": targets.p95_us, "p99": targets.p99_us}
    yield _each("trading_slo_target_seconds", {name: value_us / 1e6 for name, value_us in latency_us.items()})
    if targets.feed_p99_us is not None:
        yield _single("trading_slo_target_feed_seconds", targets.feed_p99_us / 1e6)
    yield _single("trading_slo_target_orders_per_second", targets.throughput_per_s)
    yield _single("trading_slo_target_cpu_ratio", targets.cpu_percent / 100)
    yield _single("trading_slo_target_memory_ratio", targets.memory_percent / 100)


def _over_target(distribution: Distribution, targets: Targets) -> Metric:
    """Return two numbers as a metric: how many orders took longer than the p95 target, and than the p99 target.

    They are counted by the engine's own buckets, because the buckets of /metrics may have no bound at the target.
    """
    below = list(accumulate(distribution.counts))
    slow = {
        statistic: below[-1] - below[bucket_of(int(target_us * 1000))]
        for statistic, target_us in (("p95", targets.p95_us), ("p99", targets.p99_us))
    }
    return _each("trading_slo_over_target_total", slow)


def _host(clock: Clock | None) -> Iterator[Metric]:
    sample = sample_host()
    yield _each("trading_host_cpu_seconds_total", sample.cpu_s)
    yield _single("trading_host_memory_bytes", sample.memory_total_bytes)
    yield _single("trading_host_memory_available_bytes", sample.memory_available_bytes)
    if clock is not None:
        yield _single("trading_host_clock_synchronised", float(clock.synchronised))
        if clock.offset_us is not None and clock.bound_us is not None:
            yield _single("trading_host_clock_offset_seconds", clock.offset_us / 1e6)
            yield _single("trading_host_clock_error_bound_seconds", clock.bound_us / 1e6)
    if exceeded := allowance_exceeded():
        yield _each("trading_host_allowance_exceeded_total", exceeded)
    network = {"received": sample.received_bytes, "sent": sample.sent_bytes}
    yield _each("trading_host_network_bytes_total", network)
