"""Runs scripts/demo repeatedly. Each run must succeed, and no verdict may be wrong.

During the last fifth of the runs, a busy loop runs on each CPU of the controller. In these runs a target may be *not
measured*. It may never be *missed*, because the engine has no fault.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.proofs.evidence import ROOT, Evidence

SOURCES = [ROOT / name for name in ("roles", "plugins", "files/engine/src", "sandbox/src", "scripts")]
BUSY_OF_ALL = 5
LEAST_MET_OF_20 = 16
LIMIT_S = 900
Verdict = Callable[[Path, "subprocess.CompletedProcess[str]"], tuple[str, dict[str, Any]]]
MOST_LINES = 60


def prove(runs: int) -> Path:
    """Run scripts/demo this many times. Write the record and return its path.

    Raises AssertionError when a run fails. Also raises it when too few runs without busy loops meet their targets.
    """
    return _prove("demo", runs, [], _reported)


def prove_local(runs: int) -> Path:
    """Do the same as `prove`, but with `scripts/demo --no-machine`."""
    return _prove("demo-local", runs, ["--no-machine"], _measured_here)


def _prove(name: str, runs: int, arguments: list[str], verdict: Verdict) -> Path:
    evidence = Evidence(name, runs, SOURCES)
    with tempfile.TemporaryDirectory(prefix="demo ") as folder:
        clone = Path(folder) / "a clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for number in range(evidence.done, runs):
            busy = number >= runs - runs // BUSY_OF_ALL
            with busy_loops() if busy else nothing():
                evidence.add({"busy": busy, **_run(clone, arguments, verdict)})
            print(f"{number + 1} of {runs}: {evidence.results[-1]}", file=sys.stderr)
    quiet = [each for each in evidence.results if not each["busy"]]
    counts = {
        name: dict(Counter(each["verdict"] for each in group))
        for name, group in (("quiet", quiet), ("busy", [each for each in evidence.results if each["busy"]]))
    }
    path = evidence.finish({"runs": runs, **counts, "each": evidence.results})
    assert all(each["exit"] == 0 for each in evidence.results), f"a demo failed; see {path}"
    wrong = [each for each in evidence.results if each["verdict"] in ("missed", "none")]
    assert not wrong, f"a verdict was wrong, or there was none; see {path}"
    assert all(each["lines"] <= MOST_LINES for each in evidence.results), f"a demo says too much; see {path}"
    met = counts["quiet"].get("met", 0)
    assert met * 20 >= len(quiet) * LEAST_MET_OF_20, f"{met} of {len(quiet)} quiet runs were met; see {path}"
    return path


def _run(clone: Path, arguments: list[str], verdict: Verdict) -> dict[str, Any]:
    begun_s = time.monotonic()
    try:
        done = subprocess.run(
            [clone / "scripts/demo", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
            cwd=clone,
        )
        took_s = time.monotonic() - begun_s
        word, load = verdict(clone / "build/demo", done)
    finally:
        subprocess.run([clone / "scripts/demo", "down"], capture_output=True, check=True, cwd=clone)
    if not load:
        return {"exit": done.returncode, "verdict": word, "took_s": round(took_s), "said": done.stderr[-2000:]}
    return {
        "exit": done.returncode,
        "verdict": word,
        "took_s": round(took_s),
        "lines": len(done.stdout.splitlines()) + len(done.stderr.splitlines()),
        "control_characters": any(ord(letter) < 32 and letter != "\n" for letter in done.stdout + done.stderr),
        "p99_us": round(load["latency_corrected_us"]["p99"]),
        "undisturbed_p99_us": round(load["undisturbed"]["latency_corrected_us"].get("p99", 0)),
        "lateness_p99_us": round(load["lateness_us"]["p99"]),
        "slices": load["disturbance"]["slices"],
        "set_aside": load["disturbance"]["set_aside"],
        "causes": load["disturbance"]["causes"],
    }


def _reported(work: Path, _done: subprocess.CompletedProcess[str]) -> tuple[str, dict[str, Any]]:
    """Return the verdict and the figures. Both are in the report about the host."""
    files = list((work / "reports").glob("*.json"))
    if not files:
        return "none", {}
    report = json.loads(files[0].read_text(encoding="utf-8"))
    verdicts = {row["verdict"] for row in report["verdict"]}
    return next((word for word in ("missed", "not measured") if word in verdicts), "met"), report["load"]


def _measured_here(work: Path, done: subprocess.CompletedProcess[str]) -> tuple[str, dict[str, Any]]:
    """Return the verdict and the figures. The verdict is in no report, so it is read from the printed output."""
    figures = work / "local/figures.json"
    if not figures.exists():
        return "none", {}
    said = (done.stdout + done.stderr).lower()
    word = next((word for word in ("missed", "not measured", "met") if re.search(rf"\b{word}\b", said)), "none")
    return word, json.loads(figures.read_text(encoding="utf-8"))


@contextmanager
def nothing() -> Iterator[None]:
    yield


@contextmanager
def busy_loops() -> Iterator[None]:
    """Run a busy loop with normal priority on each CPU, until the context ends."""
    loops = [
        subprocess.Popen(["taskset", "--cpu-list", str(cpu), sys.executable, "-c", "while True: pass"])
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
