# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to one line of the readiness checklist, and functions by which judges access readings.

A judge is a function that decides the state of one line. A reading is the result of a task. When the task is absent,
was skipped or failed, the reading was not taken, and the line's state is "not done".
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MET, FAILED, NOT_DONE = "met", "failed", "not done"
STATES = (MET, FAILED, NOT_DONE)
_WORST_FIRST = (FAILED, NOT_DONE, MET)

Readings = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The answer of a judge: the state of a line, its evidence, and `shares`.

    `shares` says for each limit which part of it is used (1 means all of it).
    """

    state: str
    evidence: tuple[str, ...]
    shares: dict[str, float] = field(default_factory=dict)


class NotTakenError(Exception):
    """A reading was not taken. The message says why."""


def of(problems: list[str], evidence: list[str], shares: dict[str, float] | None = None) -> Answer:
    """Return the answer "failed" with the problems, or "met" with the evidence when there are no problems."""
    return Answer(FAILED if problems else MET, tuple(problems or evidence), shares or {})


def taken(readings: Readings, name: str) -> dict[str, Any]:
    """Return the reading of this name. If it was not taken, raise NotTakenError with the message of its task."""
    found = readings.get(name)
    if not isinstance(found, dict) or not found:
        raise NotTakenError(str(readings.get("problem") or f"nobody read {name}"))
    if found.get("skipped"):
        raise NotTakenError(f"nobody read {name}: its task was skipped")
    if found.get("problem") or found.get("failed") or found.get("unreachable"):
        raise NotTakenError(str(found.get("problem") or found.get("msg") or f"{name} was not read"))
    return found


def of_each_partition(name: str) -> Callable[[Callable[[Readings], Answer]], Callable[[Readings], Answer]]:
    """Return a decorator that makes a judge of one engine judge the engines of all partitions.

    The decorated judge applies the original one to the reading of each partition. Its answer has the worst state, and
    the evidence of the partitions in that state. A reading without `partitions` is judged as it is.
    """

    def of_all(judge: Callable[[Readings], Answer]) -> Callable[[Readings], Answer]:
        @functools.wraps(judge)
        def judged(readings: Readings) -> Answer:
            found = readings.get(name)
            if not isinstance(found, dict) or not found.get("partitions"):
                return judge(readings)
            answers = {
                partition: _answer(judge, {**readings, name: one}) for partition, one in found["partitions"].items()
            }
            worst = min((answer.state for answer in answers.values()), key=_WORST_FIRST.index)
            evidence = [
                f"{partition}: {text}"
                for partition, answer in answers.items()
                if answer.state == worst
                for text in answer.evidence
            ]
            shares = {
                f"{partition}: {limit}": share
                for partition, answer in answers.items()
                for limit, share in answer.shares.items()
            }
            # The table shows only the first text of a line that is met, so join the texts.
            return Answer(worst, ("; ".join(evidence),) if worst == MET else tuple(evidence), shares)

        return judged

    return of_all


def _answer(judge: Callable[[Readings], Answer], readings: Readings) -> Answer:
    try:
        return judge(readings)
    except NotTakenError as reason:
        return Answer(NOT_DONE, (str(reason),))


def hours(seconds: float) -> str:
    """Return a duration as text, in days, hours or minutes, whichever is easiest to read."""
    for unit, size_s in (("day", 86400), ("hour", 3600)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}s"
    minutes = round(seconds / 60)
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
