"""The report about a part of the tests has counts and times.

After a failure, it also has the lines of the log that show the cause.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runner.results import SHOWN_LINES, Outcome, failure, outcome

TESTS = """
import pytest
def test_passes(record_property):
    record_property("note", "met: p99")
def test_fails():
    print("what it said")
    assert [1] == [2]
@pytest.fixture
def broken():
    raise OSError("no fixture")
def test_has_an_error(broken): ...
@pytest.mark.skip(reason="not here")
def test_is_left_out(): ...
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, Path]:
    """Run pytest on a file in which each test has a different result.

    Return pytest's exit status, the path of its log, and the path of its report.
    """
    tmp_path = tmp_path_factory.mktemp("ran")
    (tmp_path / "test_kinds.py").write_text(TESTS)
    log, report = tmp_path / "part.log", tmp_path / "part.xml"
    with log.open("wb") as file:
        pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
        done = subprocess.run(
            [*pytest_, f"--junitxml={report}", "test_kinds.py"],
            cwd=tmp_path,
            stdout=file,
            stderr=file,
            check=False,
            timeout=60,
        )
    return done.returncode, log, report


def test_each_test_of_pytest_is_counted_with_its_time_and_note(ran: tuple[int, Path, Path]) -> None:
    status, log, report = ran
    found = outcome("pytest", "unit", log, report, status, 1.0)
    assert (found.passed, found.failed, found.skipped, found.notes) == (1, 2, 1, ["met: p99"])
    assert str(found) == "1 passed, 2 failed, 1 skipped"
    assert set(found.durations_s) == {
        f"test_kinds.py::test_{name}" for name in ("passes", "fails", "has_an_error", "is_left_out")
    }


def test_of_a_failure_of_pytest_everything_from_the_first_one_on_is_shown(ran: tuple[int, Path, Path]) -> None:
    shown = failure("pytest", ran[1])
    for words in ("assert [1] == [2]", "what it said", "OSError: no fixture", "FAILED test_kinds.py::test_fails"):
        assert words in shown
    assert "rootdir" not in shown


def test_a_part_that_was_killed_counts_as_a_failure(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("it began\n")
    found = outcome("pytest", "unit", tmp_path / "log", tmp_path / "none.xml", -9, 1.0)
    assert (found.passed, found.failed) == (0, 1)
    assert failure("pytest", tmp_path / "log") == "it began"


def test_each_part_of_lint_is_a_test(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        "ok       lint ruff          3 s\nE501 Line too long\nFAILED   lint yaml        12 s\nerror: see above\n"
    )
    found = outcome("lint", "lint", log, tmp_path / "none.xml", 1, 15.0)
    assert (found.passed, found.failed, found.durations_s) == (1, 1, {"lint ruff": 3.0, "lint yaml": 12.0})
    assert failure("lint", log).splitlines() == [
        "E501 Line too long",
        "FAILED   lint yaml        12 s",
        "error: see above",
    ]


@pytest.mark.parametrize(("status", "passed"), [(0, 1), (2, 0)])
def test_a_scenario_is_one_test(tmp_path: Path, status: int, passed: int) -> None:
    found = outcome("single", "molecule slo", tmp_path / "log", tmp_path / "none.xml", status, 7.0)
    assert found == Outcome(passed, 1 - passed, 0, {"molecule slo": 7.0})


def test_of_a_failed_scenario_the_last_trouble_and_the_end_are_shown_without_colours(tmp_path: Path) -> None:
    tasks = [f"  \x1b[2m│\x1b[0m TASK {number}" for number in range(500)]
    rescued, fatal = (
        f"  \x1b[2m│\x1b[0m \x1b[0;31mfatal: [host-1]: FAILED! => {why}\x1b[0m" for why in ("meant", "no disk")
    )
    log = tmp_path / "log"
    log.write_text("\n".join([rescued, *tasks[:100], fatal, *tasks[100:], "\x1b[31mdestroyed\x1b[0m"]))
    shown = failure("single", log).splitlines()
    assert {"TASK 99", "fatal: [host-1]: FAILED! => no disk", "TASK 100", "destroyed"} <= set(shown)
    assert not {"TASK 300", "fatal: [host-1]: FAILED! => meant"} & set(shown)


def test_of_very_much_the_begin_and_the_end_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(["=== FAILURES ===", *(str(number) for number in range(5000)), "FAILED last"]))
    shown = failure("pytest", log).splitlines()
    assert (shown[0], shown[-1], len(shown)) == ("=== FAILURES ===", "FAILED last", SHOWN_LINES + 1)
