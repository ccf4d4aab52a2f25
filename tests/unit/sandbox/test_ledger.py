import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from embedded_ec2 import ledger as ledger_module
from embedded_ec2 import processes
from embedded_ec2.ledger import Ledger


def test_what_was_recorded_is_known_to_the_next_process(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.json").add("tree", str(tmp_path / "disk"))
    assert Ledger(tmp_path / "ledger.json").entries() == [("tree", str(tmp_path / "disk"))]


def test_undo_takes_the_newest_away_first(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    inner = tmp_path / "outer" / "inner"
    ledger.add("directory", str(inner.parent))
    ledger.add("directory", str(inner))
    inner.mkdir(parents=True)
    # Only empty directories are removed, so the inner directory must be removed first.
    ledger.undo_all()
    assert not inner.parent.exists()
    assert json.loads((tmp_path / "ledger.json").read_text()) == []


def test_what_was_recorded_but_never_made_is_no_error(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    for kind in ("tree", "directory", "mount", "cgroup"):
        ledger.add(kind, str(tmp_path / kind))
    ledger.add("netns", "ec2-never-made")
    ledger.add("link", "ec2-never")
    ledger.undo_all()
    assert ledger.entries() == []


def test_a_process_is_ended_by_its_id_and_start_time(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        started = processes.start_ticks(process.pid)
        assert started
        # A process with this id that started at another time is another process.
        ledger.add("process", f"{process.pid} {started - 1}")
        ledger.end_processes()
        assert process.poll() is None
        ledger.add("process", f"{process.pid} {started}")
        ledger.end_processes()
        assert process.wait(5) != 0
    assert ledger.entries() == []


def test_a_failed_undo_keeps_its_entry_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    (tmp_path / "file").write_text("")
    ledger.add("directory", str(tmp_path / "file"))
    with pytest.raises(OSError, match="Not a directory"):
        ledger.undo_all()
    assert Ledger(tmp_path / "ledger.json").entries() == [("directory", str(tmp_path / "file"))]


def test_every_recorded_kind_has_an_undo(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="teapot"):
        Ledger(tmp_path / "ledger.json").add("teapot", "short and stout")
    sources = Path(ledger_module.__file__).parent.glob("*.py")
    recorded = {kind for source in sources for kind in re.findall(r'edger\.add\("([a-z-]+)"', source.read_text())}
    assert len(recorded) >= 8
    assert recorded <= set(ledger_module.UNDO)
