"""One sample a second for an hour: what the charts start with, and how well the promise was kept."""

from collections import deque
from dataclasses import astuple, dataclass, fields
from itertools import islice

from trading_engine.shm import State

from trading_telemetry.config import Targets
from trading_telemetry.host import HostSample, resident_bytes
from trading_telemetry.observer import PROMISED, Observation, Window

KEPT_S = 3600
OBJECTIVE = 0.999
"""The share of an hour's judged seconds in which each figure is to be within its target: 3.6 s may be worse."""


@dataclass(frozen=True)
class Sample:
    """A second. None means unknown: no engine, or no order in this second."""

    time_s: float
    age_s: float | None = None
    orders_per_s: float | None = None
    executions_per_s: float | None = None
    rejects_per_s: float | None = None
    avg_us: float | None = None
    p50_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    loop_lag_us: float | None = None
    gc_pause_us: float | None = None
    engine_resident_bytes: int | None = None
    journal_lag_bytes: int | None = None
    queued_bytes: int | None = None
    sessions: int | None = None
    cpu_percent: float | None = None
    steal_percent: float | None = None


COLUMNS = tuple(field.name for field in fields(Sample))


class History:
    """Bounded: KEPT_S samples, whatever happens."""

    def __init__(self, targets: Targets | None) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT_S)
        self._targets = targets

    def add(self, observation: Observation, window: Window | None, host: HostSample, earlier: HostSample) -> None:
        """Remember this second. `window` is the last second's, and does not count when the engine is gone."""
        cpu = host.cpu_percent_since(earlier)
        known: dict[str, float | int | None] = {"cpu_percent": cpu["busy"], "steal_percent": cpu["steal"]}
        if observation.state is not None:
            known["age_s"] = (observation.age_ns or 0) / 1e9
            if not observation.problem and not observation.is_stale:
                known |= _of_engine(observation.state, window)
        self._samples.append(Sample(observation.observed_ns / 1e9, **known))  # type: ignore[arg-type]

    def columns(self, seconds: int) -> dict[str, list[float | int | None]]:
        """The last `seconds` samples as a list for each column, oldest first."""
        wanted = list(islice(reversed(self._samples), seconds))[::-1]
        rows = [astuple(sample) for sample in wanted]
        return {name: [row[position] for row in rows] for position, name in enumerate(COLUMNS)}

    def newest(self) -> dict[str, float | int | None]:
        return dict(zip(COLUMNS, astuple(self._samples[-1]), strict=True)) if self._samples else {}

    def compliance(self) -> dict[str, dict[str, float | int | None]]:
        """For avg, p95 and p99: seconds with orders, the share within the target, and what is left of the budget."""
        if self._targets is None:
            return {}
        found: dict[str, dict[str, float | int | None]] = {}
        for name in ("avg", "p95", "p99"):
            target_us = getattr(self._targets, f"{name}_us")
            values = [value for sample in self._samples if (value := getattr(sample, f"{name}_us")) is not None]
            broken = sum(value >= target_us for value in values)
            allowed = (1 - OBJECTIVE) * len(values)
            found[name] = {
                "judged_s": len(values),
                "kept_ratio": 1 - broken / len(values) if values else None,
                "budget_left_ratio": max(1 - broken / allowed, 0.0) if values else None,
            }
        return found


def _of_engine(state: State, window: Window | None) -> dict[str, float | int | None]:
    gauges = state.gauges
    known: dict[str, float | int | None] = {
        "loop_lag_us": gauges["loop_lag_last_ns"] / 1e3,
        "gc_pause_us": gauges["gc_pause_last_ns"] / 1e3,
        "engine_resident_bytes": resident_bytes(state.pid),
        "journal_lag_bytes": gauges["journal_lag_bytes"],
        "queued_bytes": gauges["queued_bytes"],
        "sessions": gauges["sessions_open"] + gauges["test_sessions_open"],
    }
    if window is not None:
        known["orders_per_s"] = window.rate_per_s(("enters_received",))
        known["executions_per_s"] = window.rate_per_s(("executions",))
        known["rejects_per_s"] = window.rate_per_s(name for name in state.counters if name.startswith("rejects_"))
        known |= {f"{name}_us": value for name, value in window.latency(PROMISED).figures_us.items()}
    return known
