# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One timeline of the events in an account and on its hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_COLUMNS = ("time", "where", "kind", "who")
_WIDEST = 48
_MOST = 200


def timeline(sources: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the events of all sources in order of time, each with its source, and notes on what the sources lack."""
    rows = [{"where": where, **event} for where, source in sources.items() for event in source.get("events", [])]
    notes = [f"{where}: {note}" for where, source in sources.items() for note in source.get("notes", [])]
    return {"rows": sorted(rows, key=lambda row: (str(row["time"]), str(row["where"]))), "notes": notes}


def timeline_table(found: dict[str, list[Any]]) -> list[str]:
    """Return the most recent events as lines for a terminal, the latest at the end, and the notes."""
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
    """The filters by the names that playbooks use."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"timeline": timeline, "timeline_table": timeline_table}
