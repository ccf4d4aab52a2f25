"""CloudWatch's view of a period: data for PutMetricData, with names and units of files/metrics.yml."""

import os
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from trading_engine.published.histogram import BUCKETS, middle_ns

from trading_telemetry.backup import read_backup
from trading_telemetry.clock import read_clock
from trading_telemetry.host import sample_host
from trading_telemetry.observer import Observation, Window

NAMESPACE = "LowLatencyTrading"
VALUES_IN_ONE_DATUM = 150
ENOUGH_ORDERS = 1000
"""The number of orders from which a p99 is meaningful; with fewer orders the alarms ignore it."""
UNITS = {
    "OrderLatency": "Microseconds",
    "Throughput": "Count/Second",
    "Rejects": "Count",
    "JournalLag": "Bytes",
    "JournalSecondsLeft": "Seconds",
    "GcPauseMax": "Microseconds",
    "EngineUp": "Count",
    "MemoryUsed": "Percent",
    "DiskUsed": "Percent",
    "ClockOffset": "Microseconds",
    "BackupAge": "Seconds",
}

JUDGED: dict[str, Callable[[list[float]], float]] = {
    "EngineUp": min, "JournalSecondsLeft": min, "Throughput": sum, "Rejects": sum,
}  # fmt: skip
"""The function that combines several engines' values of a metric. For all other metrics the maximum is the worst."""

Datum = dict[str, Any]


@dataclass
class Period:
    """The sum of several readings of one engine, so that a restart of the engine loses seconds and not the period."""

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    orders: int = 0
    rejects: int = 0
    seconds: float = 0.0

    def add(self, window: Window) -> None:
        self.counts = [a + b for a, b in zip(self.counts, window.bucket_counts("receive_to_reply"), strict=True)]
        self.orders += window.count(("enters_received",))
        self.rejects += window.count(name for name in window.newer.counters if name.startswith("rejects_"))
        self.seconds += window.seconds

    def figures(self, observation: Observation) -> dict[str, float]:
        """Return the engine's metrics except its latency; unknown ones are left out."""
        state = observation.state
        if state is None or observation.problem or observation.is_stale:
            return {"EngineUp": 0.0}
        found = {
            "EngineUp": 1.0,
            "Rejects": float(self.rejects),
            "JournalLag": float(state.gauges["journal_lag_bytes"]),
            "GcPauseMax": state.gauges["gc_pause_max_ns"] / 1e3,
        }
        if self.seconds:
            found["Throughput"] = self.orders / self.seconds
        if state.gauges["journal_seconds_left"] >= 0:
            found["JournalSecondsLeft"] = float(state.gauges["journal_seconds_left"])
        return found

    @property
    def slowness(self) -> tuple[bool, int]:
        """Return whether an alarm would judge the 99th percentile, and its histogram bucket; -1 without an order."""
        below = list(accumulate(self.counts))
        return below[-1] >= ENOUGH_ORDERS, bisect_left(below, below[-1] * 0.99) if below[-1] else -1


def data_of(
    engines: list[tuple[Period, Observation]], disk: Path, time_s: float, instance_id: str, period_s: int
) -> list[Datum]:
    """Return the period's data, one or more for each metric; unknown values are not sent.

    Several engines are reported as one, with the worst values. An alarm knows only the metric that it was made for, and
    a metric for each partition would cost money.
    """
    single = worst([period.figures(observation) for period, observation in engines]) | _host(disk)
    common = {
        "Dimensions": [{"Name": "InstanceId", "Value": instance_id}],
        "Timestamp": time_s,
        "StorageResolution": 1 if period_s < 60 else 60,
    }
    data = [{"MetricName": name, "Unit": UNITS[name], "Value": value, **common} for name, value in single.items()]
    slowest = max((period for period, _ in engines), key=lambda period: period.slowness)
    buckets = [(middle_ns(bucket) / 1e3, count) for bucket, count in enumerate(slowest.counts) if count]
    for start in range(0, len(buckets), VALUES_IN_ONE_DATUM):
        part = buckets[start : start + VALUES_IN_ONE_DATUM]
        arrays = {"Values": [value for value, _ in part], "Counts": [float(count) for _, count in part]}
        data.append({"MetricName": "OrderLatency", "Unit": UNITS["OrderLatency"], **arrays, **common})
    return data


def worst(engines: list[dict[str, float]]) -> dict[str, float]:
    """Return the worst value of each metric over all engines, or the sum for a metric that adds up."""
    found: dict[str, list[float]] = {}
    for figures in engines:
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    return {name: JUDGED.get(name, max)(values) for name, values in found.items()}


def _host(disk: Path) -> dict[str, float]:
    found = {"MemoryUsed": sample_host().memory_percent}
    if disk.exists():
        status = os.statvfs(disk)
        found["DiskUsed"] = 100 * (1 - status.f_bavail / status.f_blocks)
    clock = read_clock()
    if clock is not None and clock.offset_us is not None:
        found["ClockOffset"] = clock.offset_us
    backup = read_backup()
    if backup is not None and backup.runs:
        found["BackupAge"] = backup.oldest_unsent_s
    return found
