import os
from pathlib import Path

from embedded_ec2 import processes
from embedded_ec2.state import Running, Sandbox


def record(sandbox: Sandbox, started_ticks: int) -> None:
    sandbox.directory.mkdir()
    sandbox.record(Running(os.getpid(), started_ticks, "http://127.0.0.1:1", slot=2, kinds=[]))


def test_a_running_sandbox_is_found_by_its_record(tmp_path: Path) -> None:
    sandbox = Sandbox("a", tmp_path / "a")
    record(sandbox, processes.start_ticks(os.getpid()) or 0)
    running = sandbox.running()
    assert running is not None
    assert running.slot == 2


def test_the_record_of_a_dead_process_counts_as_none(tmp_path: Path) -> None:
    sandbox = Sandbox("a", tmp_path / "a")
    record(sandbox, 1)
    assert sandbox.running() is None


def test_a_torn_record_counts_as_none(tmp_path: Path) -> None:
    sandbox = Sandbox("a", tmp_path / "a")
    sandbox.directory.mkdir()
    sandbox.running_file.write_text('{"pid": 1')
    assert sandbox.running() is None
