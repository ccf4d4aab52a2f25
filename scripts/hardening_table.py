"""Write docs/hardening.yml as the tables of docs/host.md. scripts/docs runs this.

The tables list the hardening points, met or not met, and the open suggestions of the audit program lynis.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import made_files
import yaml

TABLES = ("points", "lynis")
MARKS = {name: (f"<!-- {name}: begin, made by scripts/docs -->", f"<!-- {name}: end -->") for name in TABLES}
MET = {"yes": "yes", "partly": "partly", "no": "no"}


def points(data: dict[str, Any]) -> str:
    """Return the Markdown table with one row for each hardening point. Raises KeyError for an unknown state."""
    lines = ["| point | met | by what, or why not |", "|---|---|---|"]
    lines += [f"| {each['point']} | {MET[each['met']]} | {each['why']} |" for each in data["points"]]
    return "\n".join(lines)


def lynis(root: Path, data: dict[str, Any]) -> str:
    """Return the Markdown table with one row for each suggestion of the program lynis in the newest record.

    Ends the program with a message when a suggestion has no answer in docs/hardening.yml.
    """
    newest = max((root / "docs/evidence").glob("*-security.json"), default=None)
    found = json.loads(newest.read_text(encoding="utf-8"))["lynis"] if newest else data["measured"]
    before, after = found["index"]
    if open_ones := sorted(set(found["remaining"]) - set(data["lynis"])):
        sys.exit(f"docs/hardening.yml: answer what lynis suggests by {', '.join(open_ones)}")
    lines = [f"Index before the roles: {before}, after: {after}.", "", "| lynis suggests | answer |", "|---|---|"]
    lines += [f"| `{text}` ({name}) | {data['lynis'][name]} |" for name, text in found["remaining"].items()]
    return "\n".join(lines)


def wanted(root: Path) -> dict[Path, str]:
    """Return a dictionary: the page's path → the page's text with the current tables."""
    data = yaml.safe_load((root / "docs/hardening.yml").read_text(encoding="utf-8"))
    page = root / "docs/host.md"
    text = page.read_text(encoding="utf-8")
    for name, table in (("points", points(data)), ("lynis", lynis(root, data))):
        begin, end = MARKS[name]
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return {page: text}


if __name__ == "__main__":
    sys.exit(made_files.main(__doc__, wanted))
