"""Every filter is documented, under the name that playbooks use and with its real arguments."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "plugins/filter"


def all_filters() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for path in FOLDER.glob("*.py"):
        plugin = importlib.import_module(f"ansible_collections.lowlatency.trading.plugins.filter.{path.stem}")
        found.update(plugin.FilterModule().filters())
    return found


FILTERS = all_filters()


def test_each_page_is_of_a_filter_and_each_filter_has_a_page() -> None:
    assert {path.stem for path in FOLDER.glob("*.yml")} == set(FILTERS)


@pytest.mark.parametrize("name", FILTERS)
def test_a_filters_page_names_it_and_what_it_takes(name: str) -> None:
    page = yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))
    documented = page["DOCUMENTATION"]
    _input, *taken = [each for each in inspect.signature(FILTERS[name]).parameters if each != "context"]
    assert documented["name"] == name
    assert set(documented["options"]) == {"_input", *taken}
    assert documented.get("positional", "") == ", ".join(taken)
    assert f"lowlatency.trading.{name}" in page["EXAMPLES"]
    assert page["RETURN"]["_value"]["description"]
