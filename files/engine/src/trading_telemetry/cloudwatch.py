"""The metrics that `trading-telemetry publish` sends to CloudWatch, as data for its API call PutMetricData.

files/metrics.yml lists the same names and units for the dashboards and alarms.
"""

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
"""A 99th percentile is meaningful only from this number of orders on. The alarms ignore periods with fewer orders."""
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
"""The function that combines the values of several engines into one. For all other metrics it is `max`."""

Datum = dict[str, Any]


@dataclass
class Period:
    """The sums of one engine's orders, rejects and latencies over all readings of a period, such as a minute.

    An engine that restarts counts from zero again. So the sums are those of the differences between successive
    readings, and a restart loses only the seconds since the last reading.
    """

    counts: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    orders: int = 0
    rejects: int = 0
    seconds: float = 0.0

    def add(self, window: Window) -> None:
        """Add the orders, rejects and latencies between two readings."""
        self.counts = [a + b for a, b in zip(self.counts, window.bucket_counts("receive_to_reply"), strict=True)]
        self.orders += window.count(("enters_received",))
        self.rejects += window.count(name for name in window.newer.counters if name.startswith("rejects_"))
        self.seconds += window.seconds

    def figures(self, observation: Observation) -> dict[str, float]:
        """Return a dictionary: metric → value in the unit that UNITS names.

        It has all of the engine's metrics except OrderLatency. Metrics whose values are unknown are left out.
        """
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
        """A key by which periods can be sorted by slowness. Its two parts are a flag and a number.

        The flag says whether there were enough orders for the alarm. The number is the histogram bucket of the 99th
        percentile, or -1 without an order.
        """
        below = list(accumulate(self.counts))
        return below[-1] >= ENOUGH_ORDERS, bisect_left(below, below[-1] * 0.99) if below[-1] else -1


def data_of(
    engines: list[tuple[Period, Observation]], disk: Path, time_s: float, instance_id: str, period_s: int
) -> list[Datum]:
    """Return the data of a period in the form for PutMetricData. Metrics whose values are unknown are left out.

    OrderLatency has several data if it has more than VALUES_IN_ONE_DATUM different values. Several engines are reported
    as one, with the worst values. The reasons are that an alarm watches one metric, and that a metric for each
    partition would cost money.
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
    """Return one value for each metric, combined from the values of all engines.

    JUDGED has the function that combines the values of a metric.
    """
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
