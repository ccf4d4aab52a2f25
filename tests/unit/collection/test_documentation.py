"""Generated files are up to date. The documentation names only files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("*/*.md")),
    *sorted((ROOT / "roles").glob("*/README.md")),
]


@pytest.mark.parametrize(
    "script",
    ["variable_tables.py", "metric_tables.py", "truth_tables.py", "acceptance_table.py", "hardening_table.py"],
)
def test_what_is_made_from_data_is_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, ROOT, "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


def test_what_contributing_sends_to_is_there() -> None:
    """Every path in CONTRIBUTING.md exists. It begins at the repository's root or in a role's directory."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    named = {
        name for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text) if Path(name).stem not in ("NAME", "SUBJECT")
    }
    assert len(named) > 50
    assert [name for name in sorted(named) if not [*ROOT.glob(name), *ROOT.glob(f"roles/*/{name}")]] == []


def test_each_change_of_contributings_table_has_its_steps() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[^]]+\]\(#([a-z-]+)\)", text, re.MULTILINE)
    headings = [heading.lower().replace(" ", "-") for heading in re.findall(r"^### (.+)$", text, re.MULTILINE)]
    assert rows == headings
    assert len(rows) == 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_playbooks_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"(?<!/)\b((?:scripts|playbooks)/[a-z_-]+(?:\.yml)?)\b", page.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]
