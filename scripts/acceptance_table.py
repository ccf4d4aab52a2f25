"""Write the claims of files/acceptance.yml as the table of docs/first-account.md. scripts/docs runs this."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import made_files
import yaml

BEGIN, END = "<!-- table: begin, made by scripts/docs -->", "<!-- table: end -->"


def expectation(root: Path, claim: dict[str, Any]) -> str:
    """Return a text that says what a claim expects, such as "at most 20 s", as in an acceptance run's evidence."""
    specification = importlib.util.spec_from_file_location("evidence", root / "plugins/filter/evidence.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return str(module.expectation(claim))


def table(root: Path) -> str:
    """Return the Markdown table with one row for each claim."""
    claims = yaml.safe_load((root / "files/acceptance.yml").read_text(encoding="utf-8"))
    lines = ["| id | claim | expected | step | settled by |", "|---|---|---|---|---|"]
    lines += [
        f"| `{claim['id']}` | {claim['claim']} | {expectation(root, claim)} | {claim['step']} |"
        f" {'an emulator as well' if claim.get('anywhere') else 'AWS'} |"
        for claim in claims
    ]
    return "\n".join(lines)


def wanted(root: Path) -> dict[Path, str]:
    """Return a dictionary: the page's path → the page's text with the current table."""
    page = root / "docs/first-account.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    return {page: f"{before}{BEGIN}\n{table(root)}\n{END}{rest.partition(END)[2]}"}


if __name__ == "__main__":
    sys.exit(made_files.main(__doc__, wanted))
