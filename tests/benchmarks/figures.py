"""The figures that benchmarks measure, and a function that prints them as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value. `what` says in words what was measured.

    `reference` was measured in the same run for comparison. `ratio` is the value divided by the reference. `reach` is
    the bound that the value should keep. `aim` is a stricter bound.
    """

    benchmark: str
    variant: str
    what: str
    value: float
    unit: str
    reference_what: str = ""
    reference: float | None = None
    reach: str = ""
    aim: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}

    def as_row(self) -> list[str]:
        reference = f"{self.reference:,.1f} ({self.reference_what})" if self.reference is not None else ""
        ratio = f"{self.ratio:.2f}" if self.ratio is not None else ""
        return [self.variant, self.what, f"{self.value:,.2f} {self.unit}", reference, ratio, self.reach, self.aim]


HEADINGS = ["variant", "measure", "value", "reference", "ratio", "reach", "aim"]


def table(figures: list[Figure]) -> str:
    """Return the figures as a Markdown table."""
    rows = [HEADINGS, *(figure.as_row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
