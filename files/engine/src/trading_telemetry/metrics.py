"""The list of all metrics of /metrics, with their units, meanings and labels.

ENGINES are the numbers that the engine publishes (`trading_engine.published.catalogue`). OWN are the metrics that
telemetry itself makes: of the engine's process, the targets, the host and the backup.
"""

from typing import Final

from trading_engine.published.catalogue import COUNTER_METRICS, GAUGE_METRICS, HISTOGRAM_METRICS, Metric

BUCKET_BOUNDS_US: Final = (
    20, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 750, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000, 5_000,
    10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
)  # fmt: skip
"""The upper bounds of the buckets of /metrics' histograms. The usual targets 500, 1,000 and 2,000 µs are among them."""

_NO_ENGINE: Final = "no engine has run since the host's start"
_NO_BACKUP: Final = "nothing ships the journal to a bucket"
_NO_TARGETS: Final = "the promise is not known"

OWN: Final = (
    Metric("trading_up", "gauge", "flag", "1 when the engine runs and publishes its state, otherwise 0."),
    Metric(
        "trading_health", "gauge", "flag",
        "1 for the present status of the host, which is ok, degraded or failing; 0 for the others.", label="status"
    ),
    Metric("trading_state_age_seconds", "gauge", "seconds", "Age of the engine's last publication.", absent=_NO_ENGINE),
    Metric("trading_start_time_seconds", "gauge", "seconds", "Unix time of the engine's start.", absent=_NO_ENGINE),
    Metric(
        "trading_journal_failed", "gauge", "flag",
        "1 when the journal failed, so that the engine sends no more messages; otherwise 0.",
        absent=_NO_ENGINE,
    ),
    Metric(
        "trading_engine_resident_bytes", "gauge", "bytes", "Resident memory of the engine.",
        absent="the engine does not run",
    ),
    Metric(
        "trading_slo_target_seconds", "gauge", "seconds",
        "The promised latency. The label statistic is avg, p95 or p99.",
        label="statistic", absent=_NO_TARGETS,
    ),
    Metric(
        "trading_slo_target_feed_seconds", "gauge", "seconds",
        "Promised delay from an order's reply to its market data, for 99 % of the orders.",
        absent=_NO_TARGETS,
    ),
    Metric(
        "trading_slo_target_orders_per_second", "gauge", "count",
        "The promised number of orders a second.", absent=_NO_TARGETS
    ),
    Metric(
        "trading_slo_target_cpu_ratio", "gauge", "ratio",
        "The promise's limit for the used share of the CPUs.", absent=_NO_TARGETS
    ),
    Metric(
        "trading_slo_target_memory_ratio", "gauge", "ratio",
        "The promise's limit for the used share of the memory.", absent=_NO_TARGETS
    ),
    Metric(
        "trading_slo_over_target_total", "counter", "count",
        "Orders that took longer than the target of the statistic.", label="statistic", absent=_NO_TARGETS,
    ),
    Metric(
        "trading_host_cpu_seconds_total", "counter", "seconds", "CPU time of the host since its start, by mode.",
        label="mode",
    ),
    Metric("trading_host_memory_bytes", "gauge", "bytes", "Memory of the host."),
    Metric(
        "trading_host_memory_available_bytes", "gauge", "bytes",
        "Memory of the host that programs can get without swapping.",
    ),
    Metric(
        "trading_host_network_bytes_total", "counter", "bytes",
        "Bytes sent and received on all interfaces except the loopback, by direction.", label="direction",
    ),
    Metric(
        "trading_host_clock_synchronised", "gauge", "flag",
        "1 when the host's clock is synchronised, 0 when it is not.",
        absent="neither chrony nor the kernel gives an answer",
    ),
    Metric(
        "trading_host_clock_offset_seconds", "gauge", "seconds", "Distance of the host's clock from its reference.",
        absent="the clock is not synchronised",
    ),
    Metric(
        "trading_host_clock_error_bound_seconds", "gauge", "seconds", "Upper bound of the clock's offset.",
        absent="the clock is not synchronised",
    ),
    Metric(
        "trading_host_allowance_exceeded_total", "counter", "count",
        "Packets that AWS delayed or dropped because of a limit, by this limit.",
        label="limit", absent="there is no ENA interface",
    ),
    Metric(
        "trading_certificate_end_time_seconds", "gauge", "seconds",
        "Unix time at which a certificate ends, by the certificate's file.",
        label="file", absent="telemetry neither serves nor watches a certificate",
    ),
    Metric(
        "trading_backup_backlog_bytes", "gauge", "bytes", "Bytes of the journal that are not in the bucket yet.",
        absent=_NO_BACKUP,
    ),
    Metric(
        "trading_backup_oldest_unsent_seconds", "gauge", "seconds",
        "Age of the oldest byte of the journal that is not in the bucket. A lost byte counts for an hour.",
        absent=_NO_BACKUP,
    ),
    Metric(
        "trading_backup_lost_segments_total", "counter", "count",
        "Journal segments that were deleted before they were in the bucket.", absent=_NO_BACKUP,
    ),
)  # fmt: skip

INFO: Final = Metric(
    "trading_engine_info",
    "gauge",
    "flag",
    "Always 1. The labels name the version of the engine and how it runs.",
    absent=_NO_ENGINE,
)
INFO_LABELS: Final = ("compiled", "durability", "version")

ENGINES: Final = tuple(each for each in (*COUNTER_METRICS, *GAUGE_METRICS, *HISTOGRAM_METRICS) if each.name)
ALL: Final = (*ENGINES, *OWN, INFO)
BY_NAME: Final = {each.name: each for each in ALL}


def labels_of(metric: Metric) -> list[str]:
    """Return the names of the labels that a metric has."""
    if metric is INFO:
        return list(INFO_LABELS)
    return [metric.label] if metric.label else []
