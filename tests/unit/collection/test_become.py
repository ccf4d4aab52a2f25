"""Each task runs as the Linux user that it names, even when the variable `ansible_become` says otherwise.

A user of the collection can set this variable, for example in group_vars. It has priority over the keyword `become`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml"))
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))


def nodes(tasks: list[dict[str, Any]], inside: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Yield every task and block of a list, with what each inherits from the blocks around it.

    These are `become`, the delegation and the variables.
    """
    for task in tasks:
        outer: dict[str, Any] = inside or {}
        kept: dict[str, Any] = {key: outer[key] for key in ("become", "delegate_to") if key in outer}
        node: dict[str, Any] = {**kept, **task, "vars": {**outer.get("vars", {}), **task.get("vars", {})}}
        yield node
        for key in ("block", "rescue", "always"):
            yield from nodes(task.get(key, []), node)


def problems(tasks: list[dict[str, Any]]) -> Iterator[str]:
    for node in nodes(tasks):
        if node.get("delegate_to") == "localhost" and "become" not in node:
            yield f"{node['name']}: does not say as whom it runs elsewhere"
        if node.get("become", True) is not True and node["vars"].get("ansible_become", "") != node["become"]:
            yield f"{node['name']}: ansible_become of group_vars would count more than its become"


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_delegated_task_runs_as_it_says(path: Path) -> None:
    assert list(problems(yaml.safe_load(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_a_play_on_the_controller_runs_as_the_operator(path: Path) -> None:
    plays = yaml.safe_load(path.read_text(encoding="utf-8"))
    others = [play["name"] for play in plays if play.get("hosts") == "localhost" and "become" not in play]
    asking = [play["name"] for play in plays if play.get("vars", {}).get("ansible_become", True) is not False]
    assert [name for name in others if name in asking] == []


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"delegate_to": "localhost"}, "does not say as whom"),
        ({"become": False}, "would count more"),
        ({"block": [{"name": "b", "become": False}], "vars": {"ansible_become": True}}, "would count more"),
        ({"become": "{{ x }}", "vars": {"ansible_become": "{{ y }}"}}, "would count more"),
    ],
)
def test_a_task_that_does_not_is_found(task: dict[str, Any], said: str) -> None:
    assert said in "".join(problems([{"name": "a", **task}]))
