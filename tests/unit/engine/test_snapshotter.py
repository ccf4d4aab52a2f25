"""The engine's child process that makes snapshots: when it is started again, and when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from trading_engine.storage.snapshotter import FIRST_PAUSE_NS, LONGEST_PAUSE_NS, Snapshotter
from trading_engine.wire import ouch

from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, Client, EngineProcess

FULL_BYTES = 1 << 30
LONGER = "the journal stays longer than it should"


@pytest.fixture
def snapshotter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshotter]:
    """Yield a snapshotter whose child process never ends.

    One segment of the journal is a pipe, and the child process waits for its content.
    """
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", ENVIRONMENT["PYTHONPYCACHEPREFIX"])
    os.mkfifo(tmp_path / "000000000001.journal")
    (tmp_path / "000000000002.journal").touch()
    made = Snapshotter(tmp_path, FULL_BYTES)
    yield made
    if made._child:
        os.kill(made._child, signal.SIGKILL)
    made.stop()


def told_after_a_kill(snapshotter: Snapshotter, used_bytes: int = 0) -> str:
    os.kill(snapshotter._child, signal.SIGKILL)
    end_s = time.monotonic() + DEADLINE_S
    while not (told := snapshotter.tick(1, used_bytes)):
        assert time.monotonic() < end_s
    return told[0]


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the monotonic clock run ahead. Return a list with one number: by how many ns it is ahead.

    A test can change this number.
    """
    monotonic_ns = time.monotonic_ns
    passed = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns() + passed[0])
    return passed


def test_one_that_is_killed_is_not_started_again_at_once(snapshotter: Snapshotter, passed: list[int]) -> None:
    pause_ns = FIRST_PAUSE_NS
    for _ in range(8):
        snapshotter.tick(1, 0)
        assert snapshotter._child
        assert told_after_a_kill(snapshotter).endswith(f"exit code -9; {LONGER}, next try in {pause_ns // 10**9} s")
        snapshotter.tick(1, 0)
        assert not snapshotter._child
        passed[0] += pause_ns
        pause_ns = min(2 * pause_ns, LONGEST_PAUSE_NS)


def test_without_room_no_pause_is_long(snapshotter: Snapshotter, passed: list[int]) -> None:
    for _ in range(4):
        snapshotter.tick(1, 0)
        told_after_a_kill(snapshotter)
        passed[0] += LONGEST_PAUSE_NS
    snapshotter.tick(1, 0)
    told_after_a_kill(snapshotter)
    passed[0] += FIRST_PAUSE_NS
    snapshotter.tick(1, 0)
    assert not snapshotter._child
    snapshotter.tick(1, FULL_BYTES)  # during a long pause
    assert snapshotter._child
    pause_s = FIRST_PAUSE_NS // 10**9
    assert told_after_a_kill(snapshotter, FULL_BYTES).endswith(f"next try in {pause_s} s")
    snapshotter.tick(1, FULL_BYTES)
    assert not snapshotter._child
    passed[0] += FIRST_PAUSE_NS
    snapshotter.tick(1, FULL_BYTES)
    assert snapshotter._child


def test_a_stop_ends_it_and_removes_what_it_had_begun(snapshotter: Snapshotter, tmp_path: Path) -> None:
    (tmp_path / "000000000001.part").touch()
    snapshotter.tick(1, 0)
    stopping = threading.Thread(target=snapshotter.stop, daemon=True)
    stopping.start()
    stopping.join(DEADLINE_S)
    assert not stopping.is_alive()
    assert not (tmp_path / "000000000001.part").exists()


def test_it_is_killed_for_memory_before_the_engine(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from trading_engine.process import tools\n"
        "tools.snapshot_at_idle(pathlib.Path(sys.argv[1]))\n"
        "print(pathlib.Path('/proc/self/oom_score_adj').read_text())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0


def test_systemd_is_told_that_a_recovery_goes_on(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        client = Client(engine.port)
        client.send(ouch.EnterOrder("one", "B", 100, "TEST", 1_000_000))
        client.wait_for(2)
        client.close()
        assert engine.extensions == 0
        engine.stop(signal.SIGKILL)
        engine.start()
        assert engine.extensions >= 1
