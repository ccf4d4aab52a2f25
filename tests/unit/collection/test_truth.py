"""Each claim in README.md and docs/ has a row in docs/truth.yml that names its proof.

scripts/claims.py checks this, and these tests check scripts/claims.py.
"""

from __future__ import annotations

import re
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
    assert {claim: where for claim, where in of_pages.items() if claim not in of_rows} == {}, "no row in docs/truth.yml"
    assert [claim for claim in of_rows if claim not in of_pages] == [], "in no page"


@pytest.mark.parametrize("page", claims.pages(ROOT), ids=lambda page: page.name)
def test_each_comment_is_well_formed_and_covers_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<!-- claim") == len(claims.COMMENT.findall(text))
    assert set(claims.ids_in(text)) == {claim for unit in claims.units(page.name, text) for claim in unit.ids}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["claim"])
def test_what_a_row_names_exists(row: dict[str, Any]) -> None:
    assert {"claim", "says"} <= set(row) <= {"claim", "says", *SAYS_WHAT_IT_IS_WORTH}
    assert set(row) & SAYS_WHAT_IT_IS_WORTH, "neither shown nor said to be not shown"
    shown = row.get("shown", [])
    assert len(shown) == len(set(shown))
    assert [wrong for each in shown if (wrong := claims.what_is_missing(ROOT, each))] == []
    assert all(claims.place(each) for each in shown)
    for command in row.get("measured", []):
        program, *words = command.split()
        assert (ROOT / program).is_file()
        assert program != "scripts/bench" or words[-1] in BENCHMARKS


def test_each_record_shows_something() -> None:
    shown = {each for row in ROWS for each in row.get("shown", ())}
    records = {str(path.relative_to(ROOT)) for path in (ROOT / "docs/evidence").iterdir()}
    assert records - shown == set()


def test_a_measured_figure_is_covered_by_an_id() -> None:
    bare = {f"{unit.page}:{unit.line}": unit.figures for unit in UNITS if unit.figures and not unit.ids}
    assert bare == {}, "write an id beside it and a row in docs/truth.yml"


PAGE = """# A heading of 3 s

One paragraph
of two lines. <!-- claim: end -->

| name | value |
|---|---|
| a | 1 ms <!-- claim: row --> |
| b | 2 ms |

<!-- claim: above, second -->
| name | value |
|---|---|
| c | 3 ms |

- one
  goes on <!-- claim: item -->
- two

<!-- claim: fence -->
```console
$ run

took 4 s
```

<!-- words: begin, made by a script -->
5 s
<!-- words: end -->
After it.
"""


def covering(word: str) -> list[str]:
    """Return the ids of the claims about the part of the page that contains this word."""
    (found,) = [unit.ids for unit in claims.units("page.md", PAGE) if re.search(rf"\b{word}\b", unit.text)]
    return found


def test_an_id_covers_the_paragraph_row_or_item_it_stands_in_and_the_block_below_it() -> None:
    assert covering("paragraph") == covering("lines") == ["end"]
    assert (covering("1 ms"), covering("2 ms")) == (["row"], [])
    assert covering("3 ms") == ["above", "second"]
    assert (covering("goes"), covering("two$")) == (["item"], [])
    assert covering("4 s") == ["fence"]
    assert covering("After") == []


def test_a_made_region_and_a_heading_need_no_id() -> None:
    found = {unit.line: unit.figures for unit in claims.units("page.md", PAGE) if unit.figures}
    assert found == {8: ["1 ms"], 9: ["2 ms"], 14: ["3 ms"], 21: ["4 s"]}


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("it takes 1.5 s and 7.5 µs", ["1.5 s", "7.5 µs"]),
        ("12 % of 40 MB, 3 GiB", ["12 %", "40 MB", "3 GiB"]),
        ("10,500 orders a second, 124 calls, 46\nlines", ["10,500 orders a second", "124 calls", "46\nlines"]),
        ("5 million messages a second", ["5 million messages a second"]),
        ("16 of 16 runs", ["16 of 16"]),
        ("0.9 to 1.4 µs", ["1.4 µs"]),
        ("a target of < 500 µs and > 10,000 orders/s, at most 250 ms, every 5 s", []),
        ("`sleep 5 s` is a command, RFC 5905 section 8, ITCH 5.0, c6g.medium, 2026-11-29", []),
    ],
)
def test_a_figure_is_a_number_with_a_unit_that_is_no_limit(text: str, figures: list[str]) -> None:
    assert claims.Unit("page.md", 1, text).figures == figures


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ("tests/unit/nowhere.py::test_it", "tests/unit/nowhere.py: no such file"),
        ("tests/unit/collection/test_truth.py::test_of_nothing", "holds no 'test_of_nothing'"),
        ("tests/unit/collection/test_truth.py", "name the test"),
        ("extensions/molecule/slo/verify.yml::Check that nothing is", "holds no 'Check that nothing is'"),
        ("docs/evidence/2000-01-01-nothing.json", "no such file"),
    ],
)
def test_what_is_not_there_is_said(shown: str, wrong: str) -> None:
    assert wrong in (claims.what_is_missing(ROOT, shown) or "")
