"""All modules of this collection have the same structure.

A module that changes something has the functions `observe` and `plan`, and one of `apply` and `converge`. A module that
changes nothing has `observe`, or only `plan` for its input. The modules' documentation uses the imperative.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "plugins/modules"
# Modules that are action plugins are left out. They run on the controller, and their file here has only documentation.
MODULES = sorted(path for path in FOLDER.glob("*.py") if not (FOLDER.parent / "action" / path.name).exists())

CHANGES_NOTHING = "lowlatency.trading.common.info"
# A tuning module has the function `converge`. It applies the planned settings and reads back what the kernel has
# accepted.
APPLIES = {"apply", "converge"}
IMPERATIVE = re.compile(
    r"""
    add|ask|ban|begin|build|call|change|check|collect|compare|compile|count|create|cache|derive|divide|do|enable|estimate|
    fail|find|give|hand|have|install|keep|leave|list|look|make|manage|measure|name|never|put|read|reckon|record|refuse|
    remove|replace|report|restart|restore|return|run|say|serve|set|sleep|start|take|tell|verify|wait|watch|write
    """,
    re.VERBOSE,
)
ARTICLES = {"the", "a", "an", "every"}


def assigned(tree: ast.Module, name: str) -> str:
    """Return the text that a module assigns to the constant `name`. It is empty when there is no such constant."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=str(text))) if found == name:
                return text
    return ""


def names(tree: ast.Module) -> set[str]:
    """Return the names of all functions and methods that a module defines, and all names that it imports."""
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return found | {alias.asname or alias.name for node in imports for alias in node.names}


def first_word(text: str) -> str:
    return text.split()[0].strip(",.").lower()


def paragraphs(description: str | list[str]) -> list[str]:
    return [description] if isinstance(description, str) else description


def options_of(options: dict[str, Any], above: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each option and of each suboption. With each name, yield the paragraphs of its description."""
    for name, option in options.items():
        yield f"{above}{name}", paragraphs(option["description"])
        yield from options_of(option.get("suboptions", {}), f"{above}{name}.")


def problems(source: str) -> Iterator[str]:
    """Yield a text about each point in which a module differs from the common structure."""
    tree = ast.parse(source)
    page = yaml.safe_load(assigned(tree, "DOCUMENTATION")) or {}
    for key in ("author", "version_added", "short_description", "description"):
        if not page.get(key):
            yield f"the documentation has no {key}"
    for constant in ("EXAMPLES", "RETURN"):
        if not yaml.safe_load(assigned(tree, constant)):
            yield f"{constant} is empty"
    for text in [page.get("short_description", ""), *paragraphs(page.get("description", []))]:
        if text and not IMPERATIVE.fullmatch(first_word(text)):
            yield f"no imperative: {text}"
    for name, texts in options_of(page.get("options", {})):
        for text in texts:
            word = first_word(text)
            if word not in ARTICLES and not IMPERATIVE.fullmatch(word):
                yield f"{name} begins with neither a verb in the imperative nor an article: {text}"
    there = names(tree)
    if CHANGES_NOTHING in page.get("extends_documentation_fragment", []):
        if not there & {"observe", "plan"}:
            yield "does not observe, and plans nothing"
        if there & APPLIES:
            yield "says that it changes nothing, and applies"
    else:
        missing = {"observe", "plan"} - there
        if missing:
            yield f"has no {' and no '.join(sorted(missing))}"
        if not there & APPLIES:
            yield "applies nothing"
    if any(isinstance(node, ast.Attribute) and node.attr == "run_command" for node in ast.walk(tree)):
        yield "runs a command in the language of whoever runs it, instead of by outside.run"
    last = tree.body[-1]
    if not isinstance(last, ast.If) or ast.unparse(last) != "if __name__ == '__main__':\n    main()":
        yield "does not end with main()"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_has_the_shape_of_all(path: Path) -> None:
    assert list(problems(path.read_text(encoding="utf-8"))) == []


SOUND = (FOLDER / "fresh_unit.py").read_text(encoding="utf-8")
READING = (FOLDER / "diagnosis.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "old", "new", "said"),
    [
        (SOUND, "author:\n  - low", "writer:\n  - low", "no author"),
        (SOUND, "version_added: ", "added: ", "no version_added"),
        (SOUND, "short_description: Keep", "short_description: Keeps", "no imperative: Keeps"),
        (SOUND, "  - Enable and start", "  - It enables and starts", "no imperative: It enables"),
        (SOUND, "description: The unit,", "description: Whether the unit,", "name begins with neither"),
        (SOUND, "EXAMPLES = r", "EXAMPLE = r", "EXAMPLES is empty"),
        (SOUND, "RETURN = r", "RETURNS = r", "RETURN is empty"),
        (SOUND, "def observe(", "def look(", "has no observe"),
        (SOUND, "def plan(", "def decide(", "has no plan"),
        (SOUND, "def apply(", "def act(", "applies nothing"),
        (SOUND, "\n\nif __name__", "\n\nif __main__", "does not end with main()"),
        (SOUND, "outside.run(self.module, [", "self.module.run_command([", "instead of by outside.run"),
        (READING, "def observe(", "def look(", "does not observe"),
        (READING, "def observe(", "def apply(", "and applies"),
    ],
)
def test_another_shape_is_found(source: str, old: str, new: str, said: str) -> None:
    assert old in source
    assert said in "; ".join(problems(source.replace(old, new, 1)))
