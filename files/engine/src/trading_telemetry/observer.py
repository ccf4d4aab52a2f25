"""The observer: it reads the engine's published state once a second and keeps the readings of the last minute.

The engine's counters only count up from its start. The rates and percentiles of a window, such as the last ten seconds,
are computed from the difference between two readings.
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
"""A publication of this age means that the engine does not work any more."""
STEP_S = 1.0
"""If a window's length by the wall clock differs from its monotonic length by this time, the wall clock was set."""
WINDOWS_S = (1, 10, 60)


@dataclass(frozen=True)
class Observation:
    """One reading of the engine's published state.

    `problem` says why there is no state or no running engine. It is "" if all is well.
    """

    observed_ns: int
    state: State | None
    problem: str

    @property
    def age_ns(self) -> int | None:
        """The time from the engine's publication of the state to this reading. It is None without a state."""
        return None if self.state is None else max(self.observed_ns - self.state.published_ns, 0)

    @property
    def is_stale(self) -> bool:
        return self.age_ns is not None and self.age_ns > STALE_NS


@dataclass(frozen=True)
class Look:
    """A state that was read, and the monotonic time at which it was read."""

    at_s: float
    state: State


class Window:
    """The time between two publications of one engine process, and what was counted in it."""

    def __init__(self, older: Look, newer: Look) -> None:
        self.older = older.state
        self.newer = newer.state
        published_s = (self.newer.published_ns - self.older.published_ns) / 1e9
        looked_s = newer.at_s - older.at_s
        self.seconds = published_s if abs(published_s - looked_s) < STEP_S else looked_s
        self._latencies: dict[str, Latency] = {}

    def count(self, names: Iterable[str]) -> int:
        """Return by how much the sum of the named counters increased."""
        return sum(self.newer.counters[name] - self.older.counters[name] for name in names)

    def rate_per_s(self, names: Iterable[str]) -> float:
        """Return by how much the sum of the named counters increased per second."""
        return self.count(names) / self.seconds if self.seconds > 0 else 0.0

    def bucket_counts(self, name: str) -> list[int]:
        """Return by how much each bucket of the named histogram increased."""
        newer, older = self.newer.histograms[name].counts, self.older.histograms[name].counts
        return [now - before for now, before in zip(newer, older, strict=True)]

    def latency(self, name: str) -> Latency:
        """Return the latencies that the named histogram recorded in this window.

        They are computed once and kept.
        """
        if name not in self._latencies:
            self._latencies[name] = Latency.of(self.newer.histograms[name].since(self.older.histograms[name]))
        return self._latencies[name]


class Observer:
    """The reader of one engine's published state. Call `sample` once a second, and `look` for each request."""

    def __init__(self, path: Path, looks: int = max(WINDOWS_S) + 1) -> None:
        """Begin to observe the engine whose shared memory is at `path`.

        The last `looks` readings are kept for the windows. For a caller that uses only `newest_window`, two readings
        are enough.
        """
        self._reader = StateReader(path)
        self._minute: deque[Look] = deque(maxlen=looks)
        self._windows: dict[int, Window | None] = {}
        self._grew = False

    def look(self) -> Observation:
        """Read the state now. No error is raised: if the reading fails, the observation says why."""
        try:
            state = self._reader.read()
        except StateError as error:
            return Observation(time.time_ns(), None, str(error))
        return Observation(time.time_ns(), state, "" if lives(state.pid) else f"process {state.pid} is gone")

    def sample(self) -> Observation:
        """Read the state now and keep it for the windows.

        If the engine has restarted, the older states are dropped, because its counters began at zero again.
        """
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
        """Return the window between the last two states, however long that window is.

        Returns None if the last `sample` found no new publication, or only the first publication of this engine
        process.
        """
        return Window(self._minute[-2], self._minute[-1]) if self._grew and len(self._minute) > 1 else None

    def window(self, seconds: int) -> Window | None:
        """Return the window of the last `seconds` seconds.

        If the observer has not run for so long, the window is shorter. Returns None if the engine has published less
        than twice since the observer's start.
        """
        if seconds not in self._windows:
            self._windows[seconds] = self._make_window(seconds)
        return self._windows[seconds]

    def _make_window(self, seconds: int) -> Window | None:
        if len(self._minute) < 2:
            return None
        newer = self._minute[-1]
        # Samples may be late by some milliseconds. Without this half second, a late sample would change the window's
        # length by a whole second.
        begin_s = newer.at_s - seconds - 0.5
        older = next(look for look in self._minute if look.at_s >= begin_s)
        return Window(older if older is not newer else self._minute[-2], newer)

    def close(self) -> None:
        self._reader.close()
