"""Reads the results of a part's tests from the output of pytest, scripts/lint or Molecule."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

_LINT = re.compile(r"^(ok|FAILED) +(lint \S+) +(\d+) s$")
_SECTION = re.compile(r"^=+ (FAILURES|ERRORS) =+$")
_TROUBLE = re.compile(r"^(fatal: \[|\[ERROR\]|CRITICAL|error: |Traceback )")
# Molecule draws a frame around the output of Ansible.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_DRAWN = re.compile(r"^ *│ ?", re.MULTILINE)
SHOWN_LINES = 600
BEFORE, AFTER, END = 10, 60, 30


@dataclass
class Outcome:
    """The results of a part: how many tests passed, failed and were skipped, and each test's duration by its name."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    durations_s: dict[str, float] = field(default_factory=dict)
    # Lines that tests add to the report with `record_property("note", …)`.
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.durations_s |= other.durations_s
        self.notes += other.notes


def outcome(kind: str, name: str, log: Path, report: Path, status: int, took_s: float) -> Outcome:
    """Return the results of a part. A part that fails without a failed test counts as one failure."""
    if kind == "pytest":
        found = _of_pytest(report)
    elif kind == "lint":
        found = _of_lint(log)
    else:
        found = Outcome(passed=int(status == 0), durations_s={name: took_s})
    if status and not found.failed:
        found.failed = 1
    return found


def _of_pytest(report: Path) -> Outcome:
    found = Outcome()
    try:
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  of our own pytest's
    except (OSError, ET.ParseError):
        return found  # pytest was killed and wrote no report
    for case in cases:
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        found.durations_s[name] = found.durations_s.get(name, 0.0) + float(case.get("time") or 0)
        if case.find("failure") is not None or case.find("error") is not None:
            found.failed += 1
        elif case.find("skipped") is not None:
            found.skipped += 1
        else:
            found.passed += 1
        found.notes += [one.get("value", "") for one in case.iter("property") if one.get("name") == "note"]
    return found


def _of_lint(log: Path) -> Outcome:
    found = Outcome()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := _LINT.match(line):
            found.passed += match[1] == "ok"
            found.failed += match[1] == "FAILED"
            found.durations_s[match[2]] = float(match[3])
    return found


def failure(kind: str, log: Path) -> str:
    """Return, as one text, the lines of a failed part's log that show why it failed."""
    text = _DRAWN.sub("", _COLOUR.sub("", log.read_text(encoding="utf-8", errors="replace")))
    lines = [line.rstrip() for line in text.splitlines()]
    first = next((number for number, line in enumerate(lines) if _SECTION.match(line)), None)
    if kind == "pytest" and first is not None:
        return _limited(lines[first:])
    if kind == "lint":
        return _limited([line for line in lines if not line.startswith("ok ")])
    # Use the last error. Earlier errors of a play can be expected, when the play handles them.
    trouble = max((number for number, line in enumerate(lines) if _TROUBLE.match(line)), default=len(lines))
    begin = lines[max(0, trouble - BEFORE) : trouble + AFTER]
    rest = lines[trouble + AFTER :]
    return "\n".join(begin + (["[…]"] if len(rest) > END else []) + rest[-END:])


def _limited(lines: list[str]) -> str:
    """Return the lines as one text. When there are too many, leave out the middle.

    The end stays, because it names what failed.
    """
    if len(lines) <= SHOWN_LINES:
        return "\n".join(lines)
    half = SHOWN_LINES // 2
    return "\n".join([*lines[:half], f"[{len(lines) - 2 * half} lines are in the log only]", *lines[-half:]])
