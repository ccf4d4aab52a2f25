# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that run a playbook as a separate process, for the action plugin playbook_run, and read its results.

The process is ended at its time limit. It is also ended when the process that started it has ended.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

# Seconds between SIGTERM and SIGKILL: in them the playbook stops its worker processes.
GRACE_S = 20.0
_LOOK_EACH_S = 0.5
# How AWS's services word a missing permission. Line breaks of the log were replaced by blanks.
_DENIED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)|\b(UnauthorizedOperation|AccessDenied)\b")
_TEST_CASE = re.compile(r"\[(?P<host>[^\]]*)\] (?P<rest>.*)", re.DOTALL)


class Ended(NamedTuple):
    """The end of a process: its exit code, its duration in seconds, and whether it reached its time limit."""

    code: int
    seconds: float
    limit_reached: bool


def run(command: Sequence[str], environment: Mapping[str, str], log: str, limit_s: float) -> Ended:
    """Run a command, write its output to the file ``log``, and return how the command ended.

    The command is ended after ``limit_s`` seconds. It is also ended when this process's parent has ended. So a run that
    was killed creates no more resources.
    """
    started_s = time.monotonic()
    parent = os.getppid()
    with open(log, "ab") as output:
        child = subprocess.Popen(
            list(command), env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    over = False
    try:
        while child.poll() is None and not over and os.getppid() == parent:
            try:
                child.wait(_LOOK_EACH_S)
            except subprocess.TimeoutExpired:
                over = time.monotonic() - started_s >= limit_s
    finally:
        _end(child)
    return Ended(child.returncode, round(time.monotonic() - started_s, 1), over)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def tasks(folder: str) -> list[dict[str, Any]]:
    """Return one dictionary for each task of the run, from the file that Ansible's junit callback wrote.

    Its keys are host, task, seconds, outcome ("ok", "failed" or "skipped"), message and changed. The list is empty when
    the run was ended early, because the callback writes its file at the end.
    """
    return [
        _task(case)
        for path in sorted(glob.glob(os.path.join(folder, "*.xml")))
        for case in ElementTree.parse(path).getroot().iter("testcase")  # noqa: S314  Ansible's own file
    ]


def _task(case: ElementTree.Element) -> dict[str, Any]:
    found = _TEST_CASE.fullmatch(case.get("name", ""))
    host, rest = (found["host"], found["rest"]) if found else ("", case.get("name", ""))
    wrong = next((part for part in case if part.tag in ("failure", "error")), None)
    skipped = case.find("skipped") is not None
    return {
        "host": host,
        # The callback names a task "Play: role : File | Task". Keep "File | Task".
        "task": rest.partition(": ")[2].rpartition(" : ")[2],
        "seconds": round(float(case.get("time", "0")), 1),
        "outcome": "failed" if wrong is not None else "skipped" if skipped else "ok",
        "message": (wrong.get("message") or "") if wrong is not None else "",
        "changed": wrong is None and not skipped and _changed(case.findtext("system-out") or ""),
    }


def _changed(result: str) -> bool:
    """Return whether a task changed something, from the task's result, which the callback writes as JSON."""
    try:
        found = json.loads(result)
    except ValueError:
        return False
    return isinstance(found, dict) and found.get("changed") is True


def denials(log: str) -> list[str]:
    """Return the actions that AWS refused for a missing permission, from a log. Such an action is "ec2:RunInstances".

    When the log names no action, return the error codes, such as "AccessDenied".
    """
    with open(log, encoding="utf-8", errors="replace") as file:
        text = " ".join(file.read().split())
    found = {action or code for action, code in _DENIED.findall(text)}
    named = {one for one in found if ":" in one}
    return sorted(named or found)


def last_lines(log: str, number: int = 15) -> str:
    """Return the last ``number`` lines of a log as one text."""
    with open(log, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-number:])
