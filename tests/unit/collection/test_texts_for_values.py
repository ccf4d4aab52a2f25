"""With `-e NAME=VALUE` on the command line, a variable's value is always a text.

The roles read the text "false" as false, and a single name as a list with this name.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.collection.plays import printed

ROOT = Path(__file__).parents[3]


@functools.cache
def switches() -> set[str]:
    """Return the names of the roles' inputs whose type is boolean."""
    found = set()
    for specification in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        points: dict[str, Any] = yaml.load(specification.read_text(encoding="utf-8"), yaml.CSafeLoader)[
            "argument_specs"
        ]
        options = [option for point in points.values() for option in point.get("options", {}).items()]
        found |= {name for name, option in options if option["type"] == "bool"}
    return found


def conditions(node: Any) -> list[str]:
    """Return every condition in a part of a YAML file."""
    if isinstance(node, list):
        return [text for one in node for text in conditions(one)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("when", "changed_when", "failed_when", "until") if key in node]
    texts = [text for one in own for text in (one if isinstance(one, list) else [one])]
    return [str(text) for text in texts] + conditions(list(node.values()))


@pytest.mark.parametrize("path", sorted((ROOT / "roles").glob("*/tasks/*.yml")), ids=lambda path: str(path.name))
def test_a_switch_is_turned_into_true_or_false_before_it_decides(path: Path) -> None:
    texts = conditions(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    words = [(word, text) for text in texts for word in re.findall(r"\b[a-z_]+\b(?!\s*\|\s*bool)", text)]
    assert [text for word, text in words if word in switches()] == []


def test_users_who_may_log_in_are_names_however_they_are_given(tmp_path: Path) -> None:
    words = ["-e", "close='admin,ops'", "-e", "apart='admin, ops'", "-e", json.dumps({"listed": ["admin", "ops"]})]
    cases = {
        name: ("{{ __hardening_users }}", {"hardening_ssh_users": f"{{{{ {name} }}}}"})
        for name in ("close", "apart", "listed")
    }
    found = printed(tmp_path, (ROOT / "roles/hardening",), cases, *words)
    assert [found[name][0] for name in cases] == [["admin", "ops"]] * 3
