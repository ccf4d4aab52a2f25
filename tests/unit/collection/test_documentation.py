"""What is generated is up to date, and what is pointed at exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "roles").glob("*/README.md"))]


@pytest.mark.parametrize("script", ["variable_tables.py", "metric_tables.py", "truth_tables.py", "acceptance_table.py"])
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_playbooks_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"(?<!/)\b((?:scripts|playbooks)/[a-z_-]+(?:\.yml)?)\b", page.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]
