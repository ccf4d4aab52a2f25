"""The observer compares two published states of the same engine process.

The difference between the two states is called a window.
"""

import time
from pathlib import Path

import pytest
from trading_telemetry.observer import STALE_NS, Observation, Observer

from tests.unit.telemetry.conftest import Publisher


def test_a_window_holds_what_happened_between_two_samples_and_nothing_before(
    engine: Publisher, state_path: Path
) -> None:
    engine.orders(1000, latency_us=5000)
    engine.publish()
    observer = Observer(state_path)
    observer.sample()
    engine.orders(99, latency_us=100)
    engine.orders(1, latency_us=900)
    engine.publish()
    observer.sample()
    window = observer.window(1)
    assert window is not None
    assert window.count(("enters_received",)) == 100
    assert window.rate_per_s(("enters_received",)) == pytest.approx(100 / window.seconds)
    latency = window.latency("receive_to_reply")
    assert latency.count == 100
    assert latency.percentile_us(50) == pytest.approx(100, rel=0.01)
    assert latency.percentile_us(99.5) == pytest.approx(900, rel=0.01)
    assert latency.figures_us["avg"] == pytest.approx(108)


def test_there_is_no_window_before_the_second_publication(engine: Publisher, state_path: Path) -> None:
    observer = Observer(state_path)
    for _ in range(3):
        observer.sample()
    assert observer.window(60) is None


def test_a_restarted_engine_begins_a_new_window(engine: Publisher, state_path: Path) -> None:
    observer = Observer(state_path)
    observer.sample()
    engine.orders(500, latency_us=100)
    engine.publish()
    observer.sample()
    restarted = Publisher(state_path)
    observer.sample()
    assert observer.window(60) is None
    restarted.orders(3, latency_us=100)
    restarted.publish()
    observer.sample()
    window = observer.window(60)
    assert window is not None
    assert window.count(("enters_received",)) == 3


def test_an_engine_that_starts_later_or_dies_is_an_observation_and_no_error(state_path: Path) -> None:
    observer = Observer(state_path)
    assert observer.look().state is None
    assert "does not exist" in observer.look().problem
    Publisher(state_path)
    assert observer.look().problem == ""


@pytest.mark.usefixtures("engine_that_died")
def test_a_dead_process_is_noticed_at_once(state_path: Path) -> None:
    observation = Observer(state_path).look()
    assert observation.state is not None
    assert observation.problem == f"process {observation.state.pid} is gone"


def test_a_foreign_file_is_named(state_path: Path) -> None:
    state_path.write_bytes(b"something else" * 1000)
    assert "is not an engine's state" in Observer(state_path).look().problem


def test_data_is_stale_after_two_seconds(engine: Publisher, state_path: Path) -> None:
    state = Observer(state_path).look().state
    assert state is not None
    assert not Observation(state.published_ns + STALE_NS, state, "").is_stale
    assert Observation(state.published_ns + STALE_NS + 1, state, "").is_stale


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_wall_clock_that_is_set_makes_no_window_longer(
    engine: Publisher, state_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: int
) -> None:
    observer = Observer(state_path)
    observer.sample()
    wall_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + step_s * 1_000_000_000)
    engine.orders(10, latency_us=100)
    engine.publish()
    observer.sample()
    window = observer.window(1)
    assert window is not None
    assert window.count(("enters_received",)) == 10
    assert 0 < window.seconds < 60
