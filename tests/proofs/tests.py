"""Runs the tests that have the marker `proof`. They take too long for scripts/test, which skips them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.proofs.evidence import ROOT, Evidence

_FOLDERS = ("tests/unit", "tests/integration/aws")
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
        command = [sys.executable, "-m", "pytest", "-m", "proof", f"--junitxml={report}", *_FOLDERS]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "TRADING_PROOF": "1"}, check=False)
        assert done.returncode == 0, "a test failed, or none was found; see above"
        suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314  of our own pytest
        assert suite is not None
        return {"passed": int(suite.attrib["tests"]) - int(suite.attrib["skipped"])}
