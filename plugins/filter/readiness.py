# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that judge whether an environment is ready for real orders, for the playbook readiness.yml.

They judge each line of the checklist files/readiness.yml by readings, which are results of tasks. The judge of a line
is the function in module_utils/readiness whose name is the line's id.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.module_utils.readiness import keeping, reach, running
from ansible_collections.lowlatency.trading.plugins.module_utils.readiness.answers import (
    MET,
    NOT_DONE,
    STATES,
    Answer,
    NotTakenError,
    Readings,
)

Row = dict[str, Any]

# Ansible indents and quotes what it prints, so fewer than a terminal's 80 columns are left for a line.
_COLUMNS = 70
_INDENT = " " * 10


def _judge(name: str) -> Callable[[Readings], Answer]:
    for module in (reach, running, keeping):
        if hasattr(module, name):
            judge: Callable[[Readings], Answer] = getattr(module, name)
            return judge
    raise AnsibleFilterError(f"there is no judge for the line {name}")


def _row(line: dict[str, Any], where: str, readings: Readings) -> Row:
    judge = _judge(line["id"])
    try:
        answer = judge(readings)
    except NotTakenError as reason:
        answer = Answer(NOT_DONE, (str(reason),))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        answer = Answer(NOT_DONE, (f"the reading is not understood: {type(error).__name__}: {error}",))
    shown = {key: line[key] for key in ("id", "question", "by", "do")}
    return {**shown, "where": where, "state": answer.state, "evidence": list(answer.evidence), "shares": answer.shares}


def readiness_lines(readings: dict[str, Any], lines: list[dict[str, Any]]) -> list[Row]:
    """Return one row for each line of the checklist and each host.

    A line about the whole environment gets only one row. A row has the line's texts, and the state, evidence and shares
    of its answer (see the class Answer). Raises AnsibleFilterError for a line without a judge.
    """
    hosts: dict[str, Readings] = readings.get("hosts") or {"no host": {"problem": "the inventory has no trading host"}}
    found = []
    for line in lines:
        if line["of"] == "host":
            found += [_row(line, name, of_host) for name, of_host in hosts.items()]
        else:
            found.append(_row(line, "", readings.get("environment") or {}))
    return found


def _wrapped(text: str, begin: str) -> list[str]:
    return textwrap.wrap(
        text, _COLUMNS, initial_indent=f"{_INDENT}{begin}", subsequent_indent=f"{_INDENT}{' ' * len(begin)}"
    )


def _table(rows: list[Row]) -> Iterator[str]:
    for row in rows:
        state = row["state"] if row["state"] == MET else row["state"].upper()
        yield from textwrap.wrap(
            f"{state:<10}{row['id']}{': ' if row['where'] else ''}{row['where']}", _COLUMNS, subsequent_indent=_INDENT
        )
        for one in row["evidence"][: 1 if row["state"] == MET else None]:
            yield from _wrapped(one, "")
        if row["state"] != MET:
            yield from _wrapped(row["do"], "-> ")


def readiness_table(rows: list[Row]) -> list[str]:
    """Return the lines of text to print: first each row of the checklist, then the totals.

    A row shows its state and evidence. A row that is not met also shows its remedy.
    """
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    return [*_table(rows), ", ".join(f"{count} {state}" for state, count in counts.items())]


def readiness_open(rows: list[Row]) -> list[str]:
    """Return one text for each state except "met". It counts the rows in this state and names their ids and hosts."""
    named = {
        state: [f"{row['id']}{' of ' if row['where'] else ''}{row['where']}" for row in rows if row["state"] == state]
        for state in STATES
        if state != MET
    }
    return [f"{len(names)} {state}: {', '.join(names)}" for state, names in named.items() if names]


def journal_lines(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last line that each unit logged, from one result of the command journalctl for each unit.

    An entry has ``unit``, ``milliseconds`` (Unix time) and ``text``. A unit that logged no text is left out.
    """
    found = []
    for result in results:
        lines = [line for line in result.get("stdout_lines", []) if line.startswith("{")]
        entry = json.loads(lines[-1]) if lines else {}
        message = entry.get("MESSAGE")
        # journald returns a list for a message that is not text. The CloudWatch agent sends no empty lines.
        if isinstance(message, str) and message.strip():
            moment_ms = int(entry["__REALTIME_TIMESTAMP"]) // 1000
            found.append({"unit": result["item"], "milliseconds": moment_ms, "text": message})
    return found


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {
            "readiness_lines": readiness_lines,
            "readiness_table": readiness_table,
            "readiness_open": readiness_open,
            "journal_lines": journal_lines,
        }
