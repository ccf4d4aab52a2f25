"""`scripts/lint prose` reports long sentences, long lines and phrases that are not plain, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prose
import pytest
import yaml

WORDS: dict[str, Any] = {
    "columns": 40,
    "words": 6,
    "phrases": {"nobody hears of it": "say who tells whom"},
    "openings": {"Left out": "begin with the subject"},
}


@pytest.mark.parametrize(
    ("page", "line", "says"),
    [
        ("One.\n\nOne two three four\nfive six seven.\n", 3, 'a sentence of 7 words ("One two three four five six …")'),
        ("# One two three four five six seven\n", 1, "a sentence of 7 words"),
        ("- One two three four\n  five six seven\n", 1, "a sentence of 7 words"),
        ("| a | b |\n|---|---|\n| c | 1 2 3 4 5 6 7 |\n", 3, "a sentence of 7 words"),
        ("One two. One two three\nfour five `six` seven.\n", 1, "a sentence of 7 words"),
        ("One two e.g. Four five six seven.\n", 1, "a sentence of 7 words"),
        ("So nobody\nhears of it.\n", 1, '"nobody hears of it" is not plain: say who tells whom'),
        ("It works.\nLeft out is one.\n", 2, 'a sentence begins with "Left out": begin with the subject'),
        ("Short. But these lines are longer. Indeed.\n", 1, "42 columns: wrap the prose at 40"),
        ("---\nname: x\n---\n\nShort. But these lines are longer. Indeed.\n", 5, "42 columns"),
    ],
)
def test_a_fault_is_named_with_its_line(page: str, line: int, says: str) -> None:
    (found,) = prose.faults(page, WORDS)
    assert found[0] == line
    assert says in found[1]


@pytest.mark.parametrize(
    "page",
    [
        "One two three. Four five six seven.\n",
        "One `a b c` three four five six.\n",
        "`one two --and-a-long-option three-four-five`.\n",
        "[One two](a/path-that-is-long/and-longer/x.md)\n",
        "One two three — four five six.\n",
        "| one two three four | five<br>six seven eight |\n|---|---|\n",
        "```sh\none two three four five six seven eight nine\n```\n",
        "<!-- one two three four five six seven eight -->\n",
        "One two. <!-- claim: a-b -->\n",
        "---\nname: one two three four five six seven eight nine\n---\n",
        "# Left out\n",
        "| Left out |\n|---|\n",
        "`1`, `2`, `3`, `4`, `5`, `6`, `7`\n",
        "Everything Left out is one.\n",
    ],
)
def test_nothing_is_wrong_with(page: str) -> None:
    assert prose.faults(page, WORDS) == []


def test_a_page_with_a_fault_fails_lint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, words = tmp_path / "docs/deep/page.md", tmp_path / "prose.yml"
    page.parent.mkdir(parents=True)
    page.write_text("One two three four five six seven.\n", encoding="utf-8")
    monkeypatch.setattr(prose, "WORDS", words)
    words.write_text(yaml.safe_dump(WORDS), encoding="utf-8")
    assert prose.main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("docs/deep/page.md:1: a sentence of 7 words")
    page.write_text("One two three.\n", encoding="utf-8")
    assert prose.main(tmp_path) == 0
