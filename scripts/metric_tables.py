"""Write the catalogue of metrics: the section `prometheus` of files/metrics.yml, and docs/metrics.md.

scripts/docs runs this. The data are in trading_engine.published.catalogue, and in trading_telemetry.metrics for
telemetry's own metrics.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import made_files
from trading_telemetry.metrics import ALL, labels_of

BEGIN = "# Begin of what scripts/docs makes from the catalogue (trading_engine/published/catalogue.py).\n"
END = "# End of what scripts/docs makes.\n"

HEAD = """# Metrics

`scripts/docs` makes this page from the catalogue
(`files/engine/src/trading_engine/published/catalogue.py`) and from telemetry's own metrics
(`files/engine/src/trading_telemetry/metrics.py`). On a host with
[partitions](telemetry.md#partitions) these metrics also have the label `partition`, except those of
the host. `/metrics` also has the metrics `process_*` and `python_*`, which come from Prometheus'
own library. They describe the telemetry process and never have that label.

| metric | kind | unit | labels | meaning |
|---|---|---|---|---|
"""


def contract() -> str:
    """Return the text of the section `prometheus` in files/metrics.yml, made from the catalogue of metrics."""
    lines = ["prometheus:"]
    for metric in sorted(ALL, key=lambda each: each.name):
        lines += [
            f"  - name: {metric.name}",
            f"    type: {metric.kind}",
            f"    unit: {metric.unit}",
            f"    labels: [{', '.join(labels_of(metric))}]",
            *textwrap.wrap(
                f"    meaning: {json.dumps(metric.meaning)}",
                120,
                subsequent_indent=" " * 6,
                break_long_words=False,
                break_on_hyphens=False,
            ),
        ]
        if metric.absent:
            lines.append(f"    absent: {json.dumps(metric.absent)}")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return the text of docs/metrics.md, made from the catalogue of metrics."""
    rows = []
    for metric in sorted(ALL, key=lambda each: each.name):
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        absent = f" The metric is absent while {metric.absent}." if metric.absent else ""
        rows.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning}{absent} |\n")
    return HEAD + "".join(rows)


def with_region(text: str) -> str:
    """Return the text of files/metrics.yml, with the section `prometheus` replaced by the current one."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{contract()}{END}{after}"


def wanted(root: Path) -> dict[Path, str]:
    """Return a dictionary: path of a generated file → its text."""
    file = root / "files/metrics.yml"
    return {file: with_region(file.read_text(encoding="utf-8")), root / "docs/metrics.md": page()}


if __name__ == "__main__":
    sys.exit(made_files.main(__doc__, wanted))
