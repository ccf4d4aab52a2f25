"""Runs the files whose tests have the marker `proof`. These tests take too long for scripts/test, which skips them.

The files run as a whole, because a marked test may build on the tests before it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.proofs.evidence import ROOT, Evidence

_FOLDERS = (ROOT / "tests/unit", ROOT / "tests/integration/aws")
_SOURCES = [ROOT / name for name in ("roles", "playbooks", "plugins", "files/engine/src", "sandbox/src")]


def prove(runs: int) -> Path:
    """Run these tests this many times, write the record and return its path. Raises AssertionError when one fails."""
    evidence = Evidence("tests", runs, _SOURCES)
    while evidence.done < runs:
        evidence.add(_once())
    return evidence.finish({"runs": evidence.results})


def _once() -> dict[str, int]:
    """Return the number of tests that passed. Raises AssertionError when one failed, or when none was found."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        files = [path for folder in _FOLDERS for path in folder.rglob("test_*.py") if "mark.proof" in path.read_text()]
        command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *map(str, sorted(files))]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TRADING_PROOF": "1"}, check=False)
        assert done.returncode == 0, "a test failed, or none was found; see above"
        suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314  of our own pytest
        assert suite is not None
        return {"passed": int(suite.attrib["tests"]) - int(suite.attrib["skipped"])}
