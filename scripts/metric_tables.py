"""Render the catalogue of metrics: the section `prometheus` of files/metrics.yml, and docs/metrics.md.

Source of truth: trading_engine.published.catalogue, and trading_telemetry.metrics for what telemetry adds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from trading_telemetry.metrics import ALL, labels_of

BEGIN = "# Begin of what scripts/docs makes from the catalogue (trading_engine/published/catalogue.py).\n"
END = "# End of what scripts/docs makes.\n"

HEAD = """# Metrics

Made by `scripts/docs` from the catalogue (`files/engine/src/trading_engine/published/catalogue.py`). On `/metrics`
there are Prometheus' own `process_*` and `python_*` of the telemetry process as well.

| metric | kind | unit | labels | meaning |
|---|---|---|---|---|
"""


def contract() -> str:
    """Return the section of files/metrics.yml."""
    lines = ["prometheus:"]
    for metric in sorted(ALL, key=lambda each: each.name):
        lines += [
            f"  - name: {metric.name}",
            f"    type: {metric.kind}",
            f"    unit: {metric.unit}",
            f"    labels: [{', '.join(labels_of(metric))}]",
            f"    meaning: {json.dumps(metric.meaning)}",
        ]
        if metric.absent:
            lines.append(f"    absent: {json.dumps(metric.absent)}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/metrics.md."""
    rows = []
    for metric in sorted(ALL, key=lambda each: each.name):
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        absent = f" Absent while {metric.absent}." if metric.absent else ""
        rows.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning}{absent} |\n")
    return HEAD + "".join(rows)


def with_region(text: str) -> str:
    """Return files/metrics.yml with the section made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{contract()}{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/docs", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is out of date")
    arguments = parser.parse_args()
    root: Path = arguments.root
    file = root / "files/metrics.yml"
    wanted = {file: with_region(file.read_text(encoding="utf-8")), root / "docs/metrics.md": page()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(root)} is out of date: run scripts/docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
