"""The observer: it reads the engine's published state once a second and keeps the last minute, for windows.

The engine only counts up; rates and percentiles of a window are differences between two readings.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trading_engine.host.processes import lives
from trading_engine.published.shm import State, StateError, StateReader

from trading_telemetry.latency import Latency

STALE_NS = 2_000_000_000
STEP_S = 1.0
"""The longest time between a look and a publication. A longer one means that the wall clock was set."""
WINDOWS_S = (1, 10, 60)


@dataclass(frozen=True)
class Observation:
    """One reading: the state, or the problem that prevented it."""

    observed_ns: int
    state: State | None
    problem: str

    @property
    def age_ns(self) -> int | None:
        return None if self.state is None else max(self.observed_ns - self.state.published_ns, 0)

    @property
    def is_stale(self) -> bool:
        return self.age_ns is not None and self.age_ns > STALE_NS


@dataclass(frozen=True)
class Look:
    """A state and the time of its reading, by the monotonic clock."""

    at_s: float
    state: State


class Window:
    """The time between two publications of one engine process. Latencies are computed once."""

    def __init__(self, older: Look, newer: Look) -> None:
        self.older = older.state
        self.newer = newer.state
        published_s = (self.newer.published_ns - self.older.published_ns) / 1e9
        looked_s = newer.at_s - older.at_s
        self.seconds = published_s if abs(published_s - looked_s) < STEP_S else looked_s
        self._latencies: dict[str, Latency] = {}

    def count(self, names: Iterable[str]) -> int:
        """Return the sum of the named counters' increases."""
        return sum(self.newer.counters[name] - self.older.counters[name] for name in names)

    def rate_per_s(self, names: Iterable[str]) -> float:
        return self.count(names) / self.seconds if self.seconds > 0 else 0.0

    def bucket_counts(self, name: str) -> list[int]:
        newer, older = self.newer.histograms[name].counts, self.older.histograms[name].counts
        return [now - before for now, before in zip(newer, older, strict=True)]

    def latency(self, name: str) -> Latency:
        if name not in self._latencies:
            self._latencies[name] = Latency.of(self.newer.histograms[name].since(self.older.histograms[name]))
        return self._latencies[name]


class Observer:
    """Owner of the reader. Call `sample` once a second; call `look` for each request."""

    def __init__(self, path: Path, looks: int = max(WINDOWS_S) + 1) -> None:
        """Keep `looks` looks for the windows; two suffice for a caller that needs only `newest_window`."""
        self._reader = StateReader(path)
        self._minute: deque[Look] = deque(maxlen=looks)
        self._windows: dict[int, Window | None] = {}
        self._grew = False

    def look(self) -> Observation:
        """Read now. It never raises: a problem is part of the observation."""
        try:
            state = self._reader.read()
        except StateError as error:
            return Observation(time.time_ns(), None, str(error))
        return Observation(time.time_ns(), state, "" if lives(state.pid) else f"process {state.pid} is gone")

    def sample(self) -> Observation:
        """Look, and keep the state for the windows. A restarted engine begins a new minute."""
        observation = self.look()
        state = observation.state
        self._windows.clear()
        self._grew = False
        if state is not None:
            if self._minute and self._minute[-1].state.started_ns != state.started_ns:
                self._minute.clear()
            if not self._minute or self._minute[-1].state.sequence != state.sequence:
                self._minute.append(Look(time.monotonic(), state))
                self._grew = True
        return observation

    def newest_window(self) -> Window | None:
        """Return the window between the last two samples, however far apart; None without a new publication."""
        return Window(self._minute[-2], self._minute[-1]) if self._grew and len(self._minute) > 1 else None

    def window(self, seconds: int) -> Window | None:
        """Return the window of the last `seconds` seconds, or of fewer at the start; None without two samples."""
        if seconds not in self._windows:
            self._windows[seconds] = self._make_window(seconds)
        return self._windows[seconds]

    def _make_window(self, seconds: int) -> Window | None:
        if len(self._minute) < 2:
            return None
        newer = self._minute[-1]
        # Half a second of tolerance: the sampler's own lateness must not make a window a second longer.
        begin_s = newer.at_s - seconds - 0.5
        older = next(look for look in self._minute if look.at_s >= begin_s)
        return Window(older if older is not newer else self._minute[-2], newer)

    def close(self) -> None:
        self._reader.close()
