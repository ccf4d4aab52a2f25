"""Runs the tests: python -m tests.runner [--verbose] [PART [ARGUMENT…]]

A part is a group of tests that one process runs. scripts/test prepares the Python environment and calls this program.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.runner.lanes import ROOT, Run
from tests.runner.parts import CHOICES, Plan, plan
from tests.runner.results import Outcome

KEPT_RUNS = 10
SLOWEST = 10
USAGE = 2


def main(words: list[str]) -> int:
    verbose = "--verbose" in words
    words = [word for word in words if word != "--verbose"]
    chosen, *arguments = words or [""]
    if chosen and chosen not in CHOICES:
        print(f"error: no part '{chosen}'; there are: {' '.join(CHOICES)}", file=sys.stderr)
        return USAGE
    logs = _log_directory()
    todo = plan(chosen, arguments)
    if not _prepared(todo, logs):
        return 1
    begun_s = time.monotonic()
    run = Run(todo, logs, verbose)
    try:
        status = run.go()
    finally:
        _forget_compiled()
    _close(run, time.monotonic() - begun_s)
    return status


def _log_directory() -> Path:
    """Make a directory for the logs of this run and return its path. Remove the oldest directories of earlier runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lowlatency.trading/test-logs"
    cache.mkdir(parents=True, exist_ok=True)
    ended = [run for run in sorted(cache.iterdir()) if not Path("/proc", run.name.rpartition("-")[2]).exists()]
    for old in ended[: 1 - KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    made = cache / f"{time.strftime('%Y-%m-%dT%H.%M.%S')}-{os.getpid()}"
    made.mkdir()
    return made


def _prepared(todo: Plan, logs: Path) -> bool:
    """Install the packages that the parts need. Return whether the parts can run.

    When they cannot, print an error message.
    """
    if any(part.root for part in todo.parts) and os.geteuid() != 0:
        if not shutil.which("sudo"):
            print(
                "error: parts that boot machines or measure processes need root: run this as root, or install sudo",
                file=sys.stderr,
            )
            return False
        if subprocess.run(["sudo", "true"], check=False).returncode:
            return False
    wanted = sorted({name for part in todo.parts for name in part.needs})
    with (logs / "packages.log").open("wb") as log:
        done = subprocess.run([ROOT / "tests/runner/install.sh", *wanted], stdout=log, stderr=log, check=False)
    if done.returncode:
        said = (logs / "packages.log").read_text(errors="replace").splitlines()
        print(
            "\n".join(said[-20:]), f"error: cannot install what the tests need; see {logs}", sep="\n", file=sys.stderr
        )
    return done.returncode == 0


def _forget_compiled() -> None:
    """Remove Python's compiled files that belong to the tests' temporary directories. No later run needs them."""
    temporary = tempfile.gettempdir().lstrip("/")
    for prefix in (os.environ["PYTHONPYCACHEPREFIX"], f"{os.environ['PYTHONPYCACHEPREFIX']}-of-root"):
        for directory in Path(prefix, temporary).glob("pytest-of-*"):
            shutil.rmtree(directory, ignore_errors=True)
            if directory.exists() and os.geteuid() != 0:  # some files are root's
                subprocess.run(["sudo", "-n", "rm", "-rf", directory], check=False)


def _close(run: Run, took_s: float) -> None:
    """Print the end of the report: the slowest tests, the commands that repeat failed parts, and the counts."""
    total: Outcome = run.total
    slowest = sorted(total.durations_s.items(), key=lambda item: -item[1])[:SLOWEST]
    if len(total.durations_s) > 1:
        print("\nslowest:")
        for name, duration_s in slowest:
            print(f"{duration_s:8.1f} s  {name}")
    print(f"\n{took_s:.0f} s; logs: {run.logs}")
    if run.failed:
        print(f"failed: {'; '.join(f'scripts/test {part.again or part.name}' for part in run.failed)}")
    print(total)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
