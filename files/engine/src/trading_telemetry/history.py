"""The history of one engine: one sample a second for the last hour.

The page's charts begin with these samples. The share of seconds in which the promise was kept is computed from them.
"""

from collections import deque
from dataclasses import astuple, dataclass, fields
from itertools import islice

from trading_engine.published.shm import State

from trading_telemetry.config import Targets
from trading_telemetry.host import HostSample, resident_bytes
from trading_telemetry.observer import Observation, Observer
from trading_telemetry.promise import CANARY, CLIENTS, PROMISED, figures_us, target_us, worst_us

KEPT_S = 3600
CANARY_S = 10
"""The canary's latencies of this many seconds are judged together: its ten orders a second are too few alone."""
OBJECTIVE = 0.999
"""The share of the measured seconds in which each figure should be within its target: 3.6 s an hour may be worse."""


@dataclass(frozen=True)
class Sample:
    """The values of one second. None means that a value is unknown: no engine ran, or nothing was measured."""

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
    """The samples of the last KEPT_S seconds of one engine."""

    def __init__(self, targets: Targets | None) -> None:
        self._samples: deque[Sample] = deque(maxlen=KEPT_S)
        self._targets = targets

    def add(self, observation: Observation, observer: Observer, host: HostSample, earlier: HostSample) -> None:
        """Add the sample of this second. Without a running engine, only the host's values and the age are known."""
        cpu = host.cpu_percent_since(earlier)
        known: dict[str, float | int | None] = {"cpu_percent": cpu["busy"], "steal_percent": cpu["steal"]}
        if observation.state is not None:
            known["age_s"] = (observation.age_ns or 0) / 1e9
            if not observation.problem and not observation.is_stale:
                known |= _of_engine(observation.state, observer)
        self._samples.append(Sample(observation.observed_ns / 1e9, **known))  # type: ignore[arg-type]

    def columns(self, seconds: int) -> dict[str, list[float | int | None]]:
        """Return a dictionary: column name → values of the last `seconds` samples, the oldest value first."""
        wanted = list(islice(reversed(self._samples), seconds))[::-1]
        rows = [astuple(sample) for sample in wanted]
        return {name: [row[position] for row in rows] for position, name in enumerate(COLUMNS)}

    def newest(self) -> dict[str, float | int | None]:
        """Return a dictionary: column name → value of the newest sample. Without a sample it is empty."""
        return dict(zip(COLUMNS, astuple(self._samples[-1]), strict=True)) if self._samples else {}

    def compliance(self) -> dict[str, dict[str, float | int | None]]:
        """Return how well each of the targets avg, p95 and p99 was kept. Without targets the result is {}.

        `judged_s` is the number of seconds with a measurement. `kept_ratio` is the share of these within the target.
        OBJECTIVE allows some of these seconds to exceed the target. `budget_left_ratio` is the share of the allowed
        seconds that is left.
        """
        if self._targets is None:
            return {}
        found: dict[str, dict[str, float | int | None]] = {}
        for name in PROMISED:
            limit_us = target_us(self._targets, name)
            values = [value for sample in self._samples if (value := getattr(sample, f"{name}_us")) is not None]
            broken = sum(value >= limit_us for value in values)
            allowed = (1 - OBJECTIVE) * len(values)
            found[name] = {
                "judged_s": len(values),
                "kept_ratio": 1 - broken / len(values) if values else None,
                "budget_left_ratio": max(1 - broken / allowed, 0.0) if values else None,
            }
        return found


def _of_engine(state: State, observer: Observer) -> dict[str, float | int | None]:
    gauges = state.gauges
    second, canary = observer.window(1), observer.window(CANARY_S)
    known: dict[str, float | int | None] = {
        "loop_lag_us": gauges["loop_lag_last_ns"] / 1e3,
        "gc_pause_us": gauges["gc_pause_recent_ns"] / 1e3,
        "engine_resident_bytes": resident_bytes(state.pid),
        "journal_lag_bytes": gauges["journal_lag_bytes"],
        "queued_bytes": gauges["queued_bytes"],
        "sessions": gauges["sessions_open"],
    }
    figures = worst_us(figures_us(second, sources=(CLIENTS,)), figures_us(canary, sources=(CANARY,)))
    known |= {f"{name}_us": value for name, value in figures.items()}
    if second is not None:
        known["orders_per_s"] = second.rate_per_s(("enters_received",))
        known["executions_per_s"] = second.rate_per_s(("executions",))
        known["rejects_per_s"] = second.rate_per_s(name for name in state.counters if name.startswith("rejects_"))
    return known
