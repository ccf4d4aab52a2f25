"""/metrics: a collector that turns one observation into metric families when Prometheus asks."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from trading_engine.published.histogram import Distribution, bucket_of
from trading_engine.published.shm import State

from trading_telemetry import metrics
from trading_telemetry.clock import clock_offset_us
from trading_telemetry.config import Targets
from trading_telemetry.health import check_all, overall
from trading_telemetry.host import resident_bytes, sample_host, tuning
from trading_telemetry.nic import allowance_exceeded
from trading_telemetry.observer import Observer

_COMPILED = {True: "true", False: "false", None: "unknown"}


class EngineCollector(Collector):
    """Looks at the engine anew for each scrape; keeps nothing between two."""

    def __init__(self, observer: Observer, targets: Targets | None) -> None:
        self._observer = observer
        self._targets = targets

    def collect(self) -> Iterator[Metric]:
        observation = self._observer.look()
        checks = check_all(observation, self._observer.window(60), self._targets, tuning())
        up = observation.state is not None and not observation.problem and not observation.is_stale
        yield GaugeMetricFamily("trading_up", "1 when the engine lives and publishes.", float(up))
        status = GaugeMetricFamily(
            "trading_health", "1 for the host's present status: ok, degraded or failing.", labels=["status"]
        )
        for name in ("ok", "degraded", "failing"):
            status.add_metric([name], float(overall(checks) == name))
        yield status
        yield from _targets(self._targets)
        yield from _host()
        if observation.state is not None:
            age = (observation.age_ns or 0) / 1e9
            yield GaugeMetricFamily("trading_state_age_seconds", "Age of the engine's last publication.", age)
            yield from _engine(observation.state)
            if self._targets is not None:
                yield _over_target(observation.state.histograms["receive_to_reply"], self._targets)


def _engine(state: State) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "trading_engine_info", "Always 1; the labels say what runs.", labels=["version", "durability", "compiled"]
    )
    info.add_metric([state.version, state.durability, _COMPILED[state.compiled]], 1)
    yield info
    yield GaugeMetricFamily("trading_start_time_seconds", "Unix time of the engine's start.", state.started_ns / 1e9)
    yield GaugeMetricFamily(
        "trading_journal_failed", "1 when the journal failed and nothing is sent any more.", float(bool(state.failure))
    )
    if (resident := resident_bytes(state.pid)) is not None:
        yield GaugeMetricFamily("trading_engine_resident_bytes", "Resident memory of the engine.", resident)
    for mapping in metrics.COUNTERS:
        counter = CounterMetricFamily(mapping.name, mapping.meaning, labels=_labels(mapping))
        for value, source in mapping.sources.items():
            counter.add_metric([value] if mapping.label else [], state.counters[source] * mapping.scale)
        yield counter
    for mapping in metrics.GAUGES:
        gauge = GaugeMetricFamily(mapping.name, mapping.meaning, labels=_labels(mapping))
        for value, source in mapping.sources.items():
            gauge.add_metric([value] if mapping.label else [], state.gauges[source] * mapping.scale)
        yield gauge
    for source, (name, meaning) in metrics.HISTOGRAMS.items():
        yield _histogram(name, meaning, state.histograms[source])


def _labels(mapping: metrics.Mapping) -> list[str]:
    return [mapping.label] if mapping.label else []


def _histogram(name: str, meaning: str, distribution: Distribution) -> Metric:
    """The engine's 1,664 buckets added up; an edge lies within 1.6 % of the bound it is labelled with."""
    below = list(accumulate(distribution.counts))
    buckets = [
        (repr(bound_us / 1e6), float(below[bucket_of(bound_us * 1000)])) for bound_us in metrics.BUCKET_BOUNDS_US
    ]
    family = HistogramMetricFamily(name, meaning)
    family.add_metric([], [*buckets, ("+Inf", float(below[-1]))], distribution.total_ns / 1e9)
    return family


def _targets(targets: Targets | None) -> Iterator[Metric]:
    """The promise as metrics, so that a rule compares metric with metric. Nothing when the targets are unknown."""
    if targets is None:
        return
    latency = GaugeMetricFamily(
        "trading_slo_target_seconds", "The latency promised; statistic is avg, p95 or p99.", labels=["statistic"]
    )
    for statistic, value_us in (("avg", targets.avg_us), ("p95", targets.p95_us), ("p99", targets.p99_us)):
        latency.add_metric([statistic], value_us / 1e6)
    yield latency
    yield GaugeMetricFamily(
        "trading_slo_target_orders_per_second", "The orders a second promised.", targets.throughput_per_s
    )
    yield GaugeMetricFamily(
        "trading_slo_target_cpu_ratio", "The share of the CPUs that may be used.", targets.cpu_percent / 100
    )
    yield GaugeMetricFamily(
        "trading_slo_target_memory_ratio", "The share of memory that may be used.", targets.memory_percent / 100
    )


def _over_target(distribution: Distribution, targets: Targets) -> Metric:
    """By the engine's own fine buckets: a share of slow orders that does not depend on this exporter's coarse ones."""
    below = list(accumulate(distribution.counts))
    family = CounterMetricFamily(
        "trading_slo_over_target_total",
        "Orders that took longer than the target of the statistic.",
        labels=["statistic"],
    )
    for statistic, target_us in (("p95", targets.p95_us), ("p99", targets.p99_us)):
        family.add_metric([statistic], below[-1] - below[bucket_of(int(target_us * 1000))])
    return family


def _host() -> Iterator[Metric]:
    sample = sample_host()
    cpu = CounterMetricFamily(
        "trading_host_cpu_seconds_total", "CPU time of the host since its start, by mode.", labels=["mode"]
    )
    for mode, seconds in sample.cpu_s.items():
        cpu.add_metric([mode], seconds)
    yield cpu
    yield GaugeMetricFamily("trading_host_memory_bytes", "Memory of the host.", sample.memory_total_bytes)
    yield GaugeMetricFamily(
        "trading_host_memory_available_bytes", "Memory that can be had without swapping.", sample.memory_available_bytes
    )
    if (offset_us := clock_offset_us()) is not None:
        yield GaugeMetricFamily(
            "trading_host_clock_offset_seconds", "Distance of the host's clock from its reference.", offset_us / 1e6
        )
    if exceeded := allowance_exceeded():
        allowance = CounterMetricFamily(
            "trading_host_allowance_exceeded_total", "Packets that AWS held back, by the limit.", labels=["limit"]
        )
        for limit, packets in exceeded.items():
            allowance.add_metric([limit], packets)
        yield allowance
    network = CounterMetricFamily(
        "trading_host_network_bytes_total",
        "Bytes on all interfaces but the loopback, by direction.",
        labels=["direction"],
    )
    network.add_metric(["received"], sample.received_bytes)
    network.add_metric(["sent"], sample.sent_bytes)
    yield network
