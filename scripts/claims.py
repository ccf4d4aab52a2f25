"""Functions that find claims in README.md and docs/: where their ids are, and which measured figures they cover.

The functions also read the rows of docs/truth.yml. The tests of these pages and truth_tables.py use them.

An id is written in a comment, `<!-- claim: one-id, another-id -->`. It covers:

- the paragraph, list item or table row in which the comment stands;
- the whole following block, when the comment is alone on the line above it. A block ends at an empty line, and a code
  block at the end of its fence.

A measured figure is a number with a unit, or a count such as "3 of 10" (FIGURE). These do not count:

- text in a code span: a setting, a command, a name;
- text in a heading, or after a comparison sign or a word of LIMITING: a target, a limit, an interval;
- pages that are made from data (MADE): their figures are defaults and descriptions of inputs.

Every other figure needs an id, even a setting, because a reader cannot distinguish it from a measured figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MADE = ("variables.md", "metrics.md", "truth.md")
COMMENT = re.compile(r"<!-- claim: ([a-z0-9-]+(?:, [a-z0-9-]+)*) -->")
MADE_BEGIN, MADE_END = re.compile(r"<!-- .*: begin, made by"), re.compile(r"<!-- .*: end -->")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")
CODE_SPAN = re.compile(r"`[^`]*`")
UNIT = (
    r"(?:[µmn]?s|min|h|%|\xd7|[kM]B|[KMG]iB|bytes|USD|lines|tasks|calls|times|cycles"
    r"|seconds?|minutes?|hours?|(?:orders|messages|echoes)(?:/s| a second)?|a second|/s)(?![\w/-])"
)
LIMITING = r"at most|at least|up to|within|under|above|below|beyond|more than|less than|every|after|each"
LIMIT = rf"(?:[<>≤≥]|\b(?:{LIMITING}))\s*"
NUMBER = r"\d[\d,.]*(?: million)?"
FIGURE = re.compile(rf"(?P<limit>{LIMIT})?(?<![\w.,-])(?P<figure>{NUMBER}\s?{UNIT}|\d+ of \d+)")

# The kind of place in which the tests below a directory run. The first matching directory counts.
PLACES = (
    ("tests/unit/", "unit"),
    ("tests/integration/aws/", "emulator"),
    ("tests/integration/sandbox/test_api.py", "emulator"),
    ("tests/integration/sandbox/test_own_kernel.py", "own kernel"),
    ("extensions/molecule/os_tuning_kernel/", "own kernel"),
    ("tests/integration/sandbox/", "machine"),
    ("tests/integration/tuning/", "machine"),
    ("tests/e2e/", "machine"),
    ("extensions/molecule/", "machine"),
    ("docs/images/", "machine"),
    ("tests/integration/", "process"),
)
PLACE_OF_PROOF = {
    "account": "machine",
    "bootstrap": "machine",
    "demo": "machine",
    "demo-local": "process",
    "deploy": "process",
    "determinism": "process",
    "diagnosis": "machine",
    "durability": "process",
    "failed": "own kernel",
    "false-verdicts": "machine",
    "fleet": "machine",
    "fuzz": "process",
    "graviton": "aarch64 by emulation",
    "groups": "machine",
    "http": "process",
    "interrupted": "machine",
    "market": "process",
    "null": "machine",
    "operations": "machine",
    "readiness": "machine",
    "reload": "process",
    "security": "machine",
    "witness": "process",
}


@dataclass
class Unit:
    """A paragraph, list item, table row or code block of a page.

    It has the line on which it begins, and the claim ids that cover it.
    """

    page: str
    line: int
    text: str
    ids: list[str] = field(default_factory=list)

    @property
    def figures(self) -> list[str]:
        """Return the figures in this unit that look like measured ones."""
        if self.text.startswith("#"):
            return []
        text = self.text if self.text.lstrip().startswith("```") else CODE_SPAN.sub("`", self.text)
        return [found["figure"] for found in FIGURE.finditer(text) if not found["limit"]]


def units(page: str, text: str) -> Iterator[Unit]:
    """Yield the units of a page (see the class Unit), without the parts that scripts/docs generates."""
    above: list[str] = []  # ids of a claim comment that is alone on its line
    now: Unit | None = None
    fenced = made = False
    for number, line in enumerate(text.splitlines(), 1):
        if made or MADE_BEGIN.match(line):
            made = not MADE_END.match(line)
        elif fenced and now:
            now.text += f"\n{line}"
            fenced = not line.lstrip().startswith("```")
        elif not line.strip():
            if now:
                yield now
            now, above = None, []
        elif line.startswith("<!-- claim:") and COMMENT.fullmatch(line):
            if now:
                yield now
            now = None
            above = above + ids_in(line)
        else:
            fenced = line.lstrip().startswith("```")
            begins = fenced or line.startswith(("|", "#")) or ITEM.match(line)
            if now and begins:
                yield now
                now = None
            if now:
                now.text += f"\n{line}"
                now.ids += ids_in(line)
            else:
                now = Unit(page, number, line, above + ids_in(line))
    if now:
        yield now


def ids_in(line: str) -> list[str]:
    """Return the ids in the claim comments of a line."""
    return [each for found in COMMENT.findall(line) for each in found.split(", ")]


def pages(root: Path) -> list[Path]:
    """Return the paths of the pages whose claims need ids."""
    docs = sorted((root / "docs").glob("*.md")) + sorted((root / "docs/decisions").glob("*.md"))
    return [root / "README.md", *(page for page in docs if page.name not in MADE)]


def all_units(root: Path) -> list[Unit]:
    """Return the units of all pages (see the class Unit). Those of README.md are first."""
    return [
        unit for page in pages(root) for unit in units(str(page.relative_to(root)), page.read_text(encoding="utf-8"))
    ]


def rows(root: Path) -> list[dict[str, Any]]:
    """Return the rows of docs/truth.yml, each a dictionary."""
    found: list[dict[str, Any]] = yaml.safe_load((root / "docs/truth.yml").read_text(encoding="utf-8"))
    return found


def place(shown: str) -> str:
    """Return the kind of place in which a test or a record shows its claim, such as "machine".

    Raises ValueError for a record of an unknown proof.
    """
    if shown.startswith("docs/evidence/"):
        name = re.sub(r"^\d{4}-\d\d-\d\d-|\.json$", "", Path(shown).name)
        proof = name if name in PLACE_OF_PROOF else name.split("-")[0]  # a day's second record has one more word
        if proof not in PLACE_OF_PROOF:
            raise ValueError(f"{shown}: say in scripts/claims.py, PLACE_OF_PROOF, where the proof {proof!r} runs")
        return PLACE_OF_PROOF[proof]
    return next(where for path, where in PLACES if shown.startswith(path))


def what_is_missing(root: Path, shown: str) -> str | None:
    """Return why a reference to a test or a record does not work, or None if it works.

    A reference is FILE, or FILE::NAME with the name of a test or a task.
    """
    path, _, name = shown.partition("::")
    if not (root / path).is_file():
        return f"{path}: no such file"
    if not name:
        return f"{path}: name the test, as {path}::NAME" if path.endswith(".py") else None
    mark = rf"^\s*(?:async )?def {re.escape(name)}\(" if path.endswith(".py") else rf"^\s*- name: {re.escape(name)}$"
    found = re.search(mark, (root / path).read_text(encoding="utf-8"), re.MULTILINE)
    return None if found else f"{path}: holds no {name!r}"
