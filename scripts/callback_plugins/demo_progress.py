# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback plugin that reports a play's progress to scripts/demo.

It writes an event for each play, role and task, and at the end the failures of each failed host.
"""

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
short_description: Reports a play's progress to scripts/demo
description:
  - Writes lines to the file descriptor that DEMO_EVENTS names. The play's own output does not change.
  - When a host has failed, writes the message of its last failed task to the file that DEMO_FAILURE names.
requirements: [enabled in the configuration]
"""

# Longer lines could mix with other writers' lines: a write to a pipe is atomic only up to this size (POSIX, PIPE_BUF).
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
        # The heading is written with the first role, so that a play without roles or tasks gets no line.
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
        # Only at the end it is known which failures were rescued.
        lost = [host for host in self._failures if _counts(stats.summarize(host))]
        if lost:
            text = "\n".join(f"{host}: {self._failures[host]}" for host in lost)
            self._failure_file.write_text(f"{text}\n", encoding="utf-8")


def _counts(summary: dict[str, int]) -> bool:
    return bool(summary["failures"] or summary["unreachable"])


def _outermost_role(task: Any) -> str:
    """Return the name of the role that the play names, for one of its tasks.

    If that role includes another role, its name is also returned for the tasks of the included role. The name is empty
    when the play runs another entry point of a role. Such an entry point only checks or reports something, and gets no
    line.
    """
    outermost = None
    while task is not None:
        outermost = getattr(task, "_role", None) or outermost
        task = getattr(task, "_parent", None)
    if outermost is None or "tasks" in outermost._from_files:
        return ""
    return str(outermost.get_name().rpartition(".")[2])


def failure(task: str, result: dict[str, Any]) -> str:
    """Return a text about a failed task: its name and the lines of its messages."""
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
