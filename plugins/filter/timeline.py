# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that merge events of an AWS account and of its hosts into one timeline, for the playbook audit.yml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_COLUMNS = ("time", "where", "kind", "who")
_WIDEST = 48
_MOST = 200


def timeline(sources: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Return a dictionary: ``rows`` are the events of all sources, ``notes`` say which events a source lacks.

    The rows are in order of time. ``sources`` maps the name of a host, or "aws", to its ``events`` and ``notes``. Each
    row has that name as ``where``.
    """
    rows = [{"where": where, **event} for where, source in sources.items() for event in source.get("events", [])]
    notes = [f"{where}: {note}" for where, source in sources.items() for note in source.get("notes", [])]
    return {"rows": sorted(rows, key=lambda row: (str(row["time"]), str(row["where"]))), "notes": notes}


def timeline_table(found: dict[str, list[Any]]) -> list[str]:
    """Return the most recent 200 events as lines for a terminal, the latest last, followed by the notes."""
    rows = found["rows"][-_MOST:]
    if not rows:
        return ["nothing happened", *found["notes"]]
    lines = [dict.fromkeys(_COLUMNS, ""), *rows]
    widths = {key: min(_WIDEST, max(len(str(line[key])) for line in lines)) for key in _COLUMNS}
    table = []
    for row in rows:
        columns = [f"{str(row[key])[-_WIDEST:]:<{width}}" for key, width in widths.items()]
        table.append("  ".join([*columns, row["what"] + (f" ({row['count']} times)" if row["count"] > 1 else "")]))
    left = len(found["rows"]) - len(rows)
    return [*([f"{left} earlier events are in the files only"] if left else []), *table, *found["notes"]]


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return a dictionary with the function of each filter, under the name that roles and playbooks use."""
        return {"timeline": timeline, "timeline_table": timeline_table}
