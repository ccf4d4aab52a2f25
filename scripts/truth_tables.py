"""Write docs/truth.md, which shows the proofs of claims, and README.md's list of things that were never run.

scripts/docs runs this. The rows are in docs/truth.yml. The ids are in comments of README.md and docs/ (claims.py).
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import claims
import made_files

BEGIN, END = "<!-- never run: begin, made by scripts/docs -->", "<!-- never run: end -->"
PLACES = {
    "unit": "one module or program at a time, on the machine of the tests",
    "emulator": "playbooks and modules against the emulated API of AWS (moto), without machines",
    "process": "engine, feed, telemetry and load generator as processes beside the tests, the page in a browser",
    "machine": "the whole on machines of the sandbox: containers with systemd that share the controller's kernel",
    "own kernel": "an emulated machine with a kernel of its own",
    "aarch64 by emulation": "the cross-compiled engine on an emulated processor",
    "AWS": "an account of AWS",
}
MEASURED, UNSHOWN = "measured, no record", "not shown"
HEAD = """# What was shown, and where

`scripts/docs` makes this page from `docs/truth.yml`. Each claim of the [README](../README.md) and
of these pages has an id, in a comment beside it (`<!-- claim: … -->`). Each id has a row here with
the tests and the records that show the claim. `tests/unit/collection/test_truth.py` fails when

- an id has no row, or a row has no id in a page,
- a row names a test or a record that does not exist,
- a measured figure has no id that covers it.

The test cannot tell whether the named tests show enough. The author of a row has read them.

"""
LEGEND = f"""
A row can count in several places. *{MEASURED.capitalize()}* are figures that a command printed
once, on the machine that the page names. No file but the page keeps them. The command prints them
anew.
"""
RECORDS = """
## Records

`scripts/prove` left these. Each belongs to the sources of its time, whose digest it holds
(`sources_sha256`). Later changes are covered by the tests alone.

"""


def places(row: dict[str, Any]) -> list[str]:
    """Return the places in which a row's claim was shown, such as "machine", in the order of PLACES."""
    found = {claims.place(shown) for shown in row.get("shown", ())}
    return [name for name in PLACES if name in found] + ([MEASURED] if "measured" in row else [])


def row_line(row: dict[str, Any]) -> str:
    """Return a row of docs/truth.yml as a line of a Markdown table."""
    by = [f"`{shown}`" for shown in [*row.get("shown", ()), *row.get("measured", ())]]
    if "unshown" in row:
        by.append(f"{UNSHOWN}: {row['unshown']}")
    where = ", ".join(places(row)) or UNSHOWN
    return f"| `{row['claim']}` | {row['says']} | {where} | {'<br>'.join(by) or 'nothing'} |\n"


def counts(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table that shows for each place how many claims were shown there."""
    counted = Counter(place for row in rows for place in places(row))
    unshown = [row for row in rows if "unshown" in row]
    partly = sum(bool(places(row)) for row in unshown)
    lines = [(name, counted[name], what) for name, what in PLACES.items()]
    lines.append((MEASURED, counted[MEASURED], "a command printed the figures; no file has them but the page"))
    lines.append((UNSHOWN, len(unshown), f"nothing shows the claim, or a part of it ({partly})"))
    body = "".join(f"| {name} | {count} | {what} |\n" for name, count, what in lines)
    return f"| where | claims | what that is |\n|---|---|---|\n{body}"


def records(root: Path) -> str:
    """Return a Markdown table that shows the time and place of each record."""
    lines = ["| record | of | where |\n|---|---|---|\n"]
    for path in sorted((root / "docs/evidence").glob("*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))["at"].replace("T", " ").removesuffix("Z")
        name = str(path.relative_to(root))
        lines.append(f"| [{path.name}](evidence/{path.name}) | {made} UTC | {claims.place(name)} |\n")
    return "".join(lines)


def item(text: str) -> str:
    """Return a text as a Markdown list item, wrapped at 100 columns."""
    return (
        textwrap.fill(
            text, 100, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        + "\n"
    )


def never(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown list of things that were never run."""
    return "".join(item(row["never"]) for row in rows if "never" in row)


def page(root: Path) -> str:
    """Return the text of docs/truth.md."""
    rows = claims.rows(root)
    first: dict[str, str] = {}
    for unit in claims.all_units(root):
        for claim in unit.ids:
            first.setdefault(claim, unit.page)
    parts = [HEAD, counts(rows), LEGEND, "\n## Never run\n\n", never(rows), "\n## Not shown\n\n"]
    parts += [item(f"`{row['claim']}`: {row['says']} *{row['unshown']}*") for row in rows if "unshown" in row]
    parts += [RECORDS, records(root)]
    for name in dict.fromkeys(str(each.relative_to(root)) for each in claims.pages(root)):
        lines = [row_line(row) for row in rows if first.get(row["claim"]) == name]
        if lines:
            parts.append(f"\n## {name}\n\n| id | claim | where | shown by |\n|---|---|---|---|\n{''.join(lines)}")
    return "".join(parts)


def with_region(text: str, region: str) -> str:
    """Return the text of README.md, in which the list of things that were never run is replaced by the current one."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{region}{END}{after}"


def wanted(root: Path) -> dict[Path, str]:
    """Return a dictionary: path of a generated file → its text."""
    readme = root / "README.md"
    region = never(claims.rows(root))
    return {readme: with_region(readme.read_text(encoding="utf-8"), region), root / "docs/truth.md": page(root)}


if __name__ == "__main__":
    sys.exit(made_files.main(__doc__, wanted))
