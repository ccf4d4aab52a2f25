# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports a play's progress to scripts/demo: a line for each play, role and task, and at the end any failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: demo_progress
type: notification
short_description: Tells scripts/demo how far a play is
description:
  - Lines go to the file descriptor that DEMO_EVENTS names; the play's own output stays as it is.
  - When a host has failed, what its last failing task said goes to the file that DEMO_FAILURE names.
requirements: [enabled in the configuration]
"""

# A pipe takes no more than this in one piece.
LONGEST_BYTES = 500


class CallbackModule(CallbackBase):  # type: ignore[misc]
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "demo_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._events = int(os.environ["DEMO_EVENTS"])
        self._failure_file = Path(os.environ["DEMO_FAILURE"])
        self._heading = ""
        self._part = ""
        self._failures: dict[str, str] = {}

    def _tell(self, word: str, text: str) -> None:
        line = f"{word} {' '.join(text.split())}".encode()[:LONGEST_BYTES].decode(errors="ignore")
        with suppress(OSError):  # nobody listens any more; the play goes on
            os.write(self._events, f"{line}\n".encode())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        # Told with the first of its roles: a play that has none, or only skips, is not worth a line.
        self._heading, self._part = play.get_name().strip(), ""

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        part = _outermost_role(task)
        if part and part != self._part:
            if self._heading:
                self._tell("heading", self._heading)
                self._heading = ""
            self._part = part
            self._tell("part", part)
        self._tell("detail", task.name or task.action)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._tell("detail", task.name or task.action)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._failures[result.host.get_name()] = failure(result.task.get_name(), result.result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._failures[result.host.get_name()] = failure(result.task.get_name(), result.result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        # Only now is it known which failures nobody rescued.
        lost = [host for host in self._failures if _counts(stats.summarize(host))]
        if lost:
            text = "\n".join(f"{host}: {self._failures[host]}" for host in lost)
            self._failure_file.write_text(f"{text}\n", encoding="utf-8")


def _counts(summary: dict[str, int]) -> bool:
    return bool(summary["failures"] or summary["unreachable"])


def _outermost_role(task: Any) -> str:
    """Return the role that the play names, even for tasks of an included role; "" when the play names an entry point.

    An entry point only checks or reports something, and gets no line.
    """
    outermost = None
    while task is not None:
        outermost = getattr(task, "_role", None) or outermost
        task = getattr(task, "_parent", None)
    if outermost is None or "tasks" in outermost._from_files:
        return ""
    return str(outermost.get_name().rpartition(".")[2])


def failure(task: str, result: dict[str, Any]) -> str:
    """Return a failed task's name and its message in readable form."""
    said = list(dict.fromkeys(_said(result)))
    return "\n  ".join([task, *(line for text in said for line in text.strip().splitlines())])


def _said(result: dict[str, Any]) -> Iterator[str]:
    items = [item for item in result.get("results", ()) if isinstance(item, dict) and item.get("failed")]
    if items:
        for item in items:
            yield from _said(item)
        return
    for key in ("msg", "censored", "stderr", "module_stderr"):
        if result.get(key):
            yield str(result[key])
