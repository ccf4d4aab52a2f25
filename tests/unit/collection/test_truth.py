"""Each claim of README.md and docs/ has a row in docs/truth.yml that names what shows it; scripts/claims.py says what counts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import claims
import pytest

from tests.benchmarks.__main__ import BENCHMARKS

ROOT = Path(__file__).parents[3]
UNITS = claims.all_units(ROOT)
ROWS: list[dict[str, Any]] = claims.rows(ROOT)
SAYS_WHAT_IT_IS_WORTH = {"shown", "measured", "never", "unshown"}


def test_each_id_of_a_page_has_a_row_and_each_row_its_id_in_a_page() -> None:
    of_rows = Counter(row["claim"] for row in ROWS)
    assert [name for name, times in of_rows.items() if times > 1] == []
    of_pages = {claim: f"{unit.page}:{unit.line}" for unit in UNITS for claim in unit.ids}
    assert {where: claim for claim, where in of_pages.items() if claim not in of_rows} == {}, "no row in docs/truth.yml"
    assert [claim for claim in of_rows if claim not in of_pages] == [], "in no page"


def test_a_comment_that_looks_like_a_claim_is_one() -> None:
    text = {page: page.read_text(encoding="utf-8") for page in claims.pages(ROOT)}
    found = {page: (each.count("<!-- claim"), len(claims.COMMENT.findall(each))) for page, each in text.items()}
    assert {page.name: count for page, count in found.items() if count[0] != count[1]} == {}
    for page, each in text.items():
        read = sum(len(unit.ids) > 0 for unit in claims.units(page.name, each))
        assert read >= found[page][1] or not read, f"{page.name}: a comment covers nothing"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["claim"])
def test_what_a_row_names_exists(row: dict[str, Any]) -> None:
    assert set(row) <= {"claim", "says", *SAYS_WHAT_IT_IS_WORTH}
    assert row["says"]
    assert set(row) & SAYS_WHAT_IT_IS_WORTH, "neither shown nor said to be not shown"
    shown = row.get("shown", [])
    assert len(shown) == len(set(shown))
    assert [found for each in shown if (found := claims.what_is_missing(ROOT, each))] == []
    assert [claims.place(each) for each in shown]  or not shown
    for command in row.get("measured", []):
        program, *words = command.split()
        assert (ROOT / program).is_file()
        if program == "scripts/bench":
            assert words[-1] in BENCHMARKS


def test_a_measured_figure_is_covered_by_an_id() -> None:
    bare = {f"{unit.page}:{unit.line}": unit.figures for unit in UNITS if unit.figures and not unit.ids}
    assert bare == {}, "write an id beside it and a row in docs/truth.yml"
