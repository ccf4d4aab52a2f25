"""Lanes, which are lists of parts of the tests, run at the same time. Parts that measure run alone.

When the run succeeds, fails or is stopped with Ctrl-C, no process is left.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runner import left_over
from tests.runner.lanes import BESIDE, INTERRUPTED, ROOT, Run
from tests.runner.parts import ALONE, CHOICES, LANES, PARTS, Part, Plan, plan

LIMIT_S = 30.0
LEAVES_ONE = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"


def part(name: str, script: str) -> Part:
    return Part(name, (sys.executable, "-c", script), kind="single")


def note(path: Path, begin: str, end: str) -> str:
    return f"import time; f = open({str(path)!r}, 'a', 1); print({begin!r}, file=f); print({end!r}, file=f)"


def test_a_lane_keeps_its_order_and_what_is_alone_comes_last(tmp_path: Path) -> None:
    path = tmp_path / "order"
    lane = tuple(part(name, note(path, f"{name} begins", f"{name} ends")) for name in ("a", "b"))
    run = Run(Plan((lane,), (part("c", note(path, "c begins", "c ends")),)), tmp_path, verbose=False)
    assert run.go() == 0
    said = [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert path.read_text().splitlines() == said
    assert (run.total.passed, run.total.failed) == (3, 0)


def test_lanes_run_side_by_side(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening one end waits until the other end is opened
    lanes = tuple((part(mode, f"open({str(tmp_path / 'pipe')!r}, {mode!r})"),) for mode in ("r", "w"))
    assert Run(Plan(lanes), tmp_path, verbose=False).go() == 0


def test_a_lane_at_its_end_takes_over_the_last_part_of_another(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # the long part waits at it for the last part of its lane
    long, last = (part(mode, f"open({str(tmp_path / 'pipe')!r}, {mode!r})") for mode in ("r", "w"))
    assert Run(Plan(((long, last), (part("short", ""),))), tmp_path, verbose=False).go() == 0


def test_a_part_that_measures_last_goes_on_when_nothing_runs_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "order"
    os.mkfifo(tmp_path / "pipe")  # lets the other part end only after this part has begun
    lock = f"import fcntl, os; fcntl.flock(open(os.environ['{BESIDE}']), fcntl.LOCK_SH)"
    measuring = part("measuring", f"open({str(tmp_path / 'pipe')!r}, 'w'); {lock}; {note(path, 'measures', 'ends')}")
    other = part("other", f"open({str(tmp_path / 'pipe')!r}); {note(path, 'other', 'other ends')}")
    lanes = ((replace(measuring, measures_last=True),), (other, part("next", note(path, "next", "next ends"))))
    assert Run(Plan(lanes), tmp_path, verbose=False).go() == 0
    assert path.read_text().splitlines() == ["other", "other ends", "next", "next ends", "measures", "ends"]
    alone = Plan(((replace(part("alone", lock), measures_last=True),),))
    assert Run(alone, tmp_path, verbose=False).go() == 0


def test_a_failed_part_is_named_with_its_output_and_the_others_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = part("broken", "print('error: no disk'); raise SystemExit(3)")
    run = Run(Plan(((broken, part("fine", "print('chatter')")),)), tmp_path, verbose=False)
    assert run.go() == 1
    assert [one.name for one in run.failed] == ["broken"]
    said = capfd.readouterr().out
    assert "FAILED   broken" in said
    assert "error: no disk" in said
    assert "ok       fine" in said
    assert "chatter" not in said
    assert (tmp_path / "fine.log").read_text() == "chatter\n"


def test_a_part_that_cannot_be_started_has_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(Plan(((Part("absent", ("/nowhere/program",)),),)), tmp_path, verbose=False)
    assert run.go() == 1
    assert str(run.total) == "0 passed, 1 failed"
    assert "/nowhere/program" in capfd.readouterr().out


def test_verbose_shows_what_a_part_says_and_logs_it_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert Run(Plan(((part("fine", "print('chatter')"),),)), tmp_path, verbose=True).go() == 0
    assert "chatter\n" in capfd.readouterr().out
    assert (tmp_path / "fine.log").read_text() == "chatter\n"


def test_what_a_part_leaves_running_is_stopped_by_id(tmp_path: Path) -> None:
    run = Run(Plan(((part("leaves", f"{LEAVES_ONE}; raise SystemExit(1)"),),)), tmp_path, verbose=False)
    assert run.go() == 1
    said = (tmp_path / "leaves.log").read_text()
    assert "sleep 600" in said
    pid = int(said.partition("still running: ")[2].split()[0])
    assert not _runs(pid)


def test_an_interruption_stops_everything_and_begins_nothing(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    waits = f"{LEAVES_ONE}; import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    script = (
        "import sys; from pathlib import Path; from tests.runner.lanes import Run; "
        "from tests.runner.parts import Part, Plan; "
        f"parts = tuple(Part(name, (sys.executable, '-c', {waits!r}), kind='single') for name in ('now', 'next')); "
        f"sys.exit(Run(Plan((parts,)), Path({str(tmp_path)!r}), False).go())"
    )
    # The runner marks the processes of its parts itself. With this further mark, the test finds processes that the
    # runner has left.
    mark = {**os.environ, "MARK_OF_THIS_TEST": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=mark, stdout=subprocess.PIPE, text=True) as run:
        end_s = time.monotonic() + LIMIT_S
        while not ready.exists():
            assert time.monotonic() < end_s
            time.sleep(0.05)  # between two checks
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=LIMIT_S)
    assert run.returncode == INTERRUPTED
    assert "interrupted" in said
    assert "next" not in said
    assert _with_variable(f"MARK_OF_THIS_TEST={tmp_path}") == []


def test_a_sandbox_is_known_by_what_keeps_it() -> None:
    keeper = ("python", "-m", "embedded_ec2", "serve", "--name", "e2e", "--slot", "0")
    assert left_over.Process(1, keeper).sandbox == "e2e"
    assert left_over.Process(1, ("python", "-m", "embedded_ec2", "api")).sandbox == ""


def test_everything_is_planned_once_and_what_measures_is_alone() -> None:
    whole = plan("", [])
    names = [one.name.split()[0] for one in whole.parts]
    assert set(names) == {*itertools.chain(*LANES), *ALONE}
    assert len(names) - names.count("molecule") == len({*names} - {"molecule"})
    assert [one.name for one in whole.alone] == ["load"]
    assert [one.name for one in whole.parts if one.measures_last] == ["e2e"]
    folders = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "tests").glob("integration/*/test_*.py")}
    assert folders <= {word for one in whole.parts for word in one.path}


def test_every_choice_has_a_plan_and_arguments_reach_its_runner() -> None:
    for choice in CHOICES:
        assert plan(choice, []).parts
    (unit,) = plan("unit", ["-k", "journal"]).parts
    assert unit.argv[-3:] == ["-k", "journal", "tests/unit"]
    assert len(plan("integration", []).lanes) == 2  # an empty lane would take parts from the others
    (one,) = plan("integration", ["tests/integration/aws/test_hours.py"]).parts
    assert "tests/integration" not in one.argv
    assert [one.name for one in plan("molecule", ["os_tuning_kernel"]).parts] == ["molecule os_tuning_kernel"]
    assert all(name in PARTS or name == "molecule" for name in (*itertools.chain(*LANES), *ALONE))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _with_variable(variable: str) -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (directory / "environ").read_bytes().split(b"\0") and _runs(int(directory.name)):
                found.append((directory / "cmdline").read_text())
        except OSError:
            continue
    return found
