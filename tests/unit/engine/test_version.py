"""The package `machine` has a version, which identifies the engine's behaviour.

The tests check which changes of the package's sources change the version.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from trading_engine.machine.version import ROOMS, code_of, digest

MODULE = '''"""A book."""

from struct import Struct

EMPTY = "# no comment"  # why


def best(self):
    """Return the best price."""
    return self.keys[-1]
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A book.", "Another word.\n\nAnd a second paragraph."),
        ("Return the best price.", "Return it."),
        ("  # why", "  # for another reason"),
        ("from struct import Struct", "from trading_engine.wire import (\n    layout,\n)"),
        ("\n\n\ndef", "\n\n\n\n# What comes next.\ndef"),
    ],
)
def test_words_are_no_part_of_the_machine(old: str, new: str) -> None:
    assert old in MODULE
    assert code_of(MODULE.replace(old, new)) == code_of(MODULE)


@pytest.mark.parametrize(("old", "new"), [("-1", "0"), ("# no comment", "# a comment"), ("return", "if True: return")])
def test_code_is(old: str, new: str) -> None:
    assert old in MODULE
    assert code_of(MODULE.replace(old, new)) != code_of(MODULE)


def test_no_import_of_the_machine_gives_another_name() -> None:
    """The version ignores imports. Therefore no import may rename what it imports."""
    rooms = Path(__file__).parents[3] / "files/engine/src/trading_engine"
    renamed = [
        f"{path.name}: {alias.name} as {alias.asname}"
        for room in ROOMS
        for path in (rooms / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname not in (None, alias.name)
    ]
    assert not renamed


def test_neither_are_the_files_names_but_what_stands_in_which_is() -> None:
    assert digest([MODULE, "x = 1\n"]) == digest(["x = 1\n", MODULE])
    assert digest([MODULE, "x = 1\n"]) != digest([MODULE + "x = 1\n", ""])
