"""The engine's packages form levels. A package imports only from its own level and from lower levels.

The imports form no cycle. These tests call a level a floor. They call each package or module at the engine's top level
a room, and each room is on one floor. Only the modules in a list may contain code about AWS.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "files/engine/src"
# The floors, from the lowest to the highest. A room is a package or a module at the engine's top.
FLOORS = (
    ("wire",),
    ("host",),
    ("settings",),
    ("machine",),
    ("published",),
    ("storage",),
    ("cancellations", "engine"),
    ("clients",),
    ("process",),
    ("__main__",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OPEN_TO_OTHERS = {"wire", "host", "settings", "published"}
OTHERS = ("trading_backup", "trading_feed", "trading_bench", "trading_telemetry", "trading_spot")
AWS = re.compile(r"\bboto|\baws\b|\bec2\b|cloudwatch|169\.254\.|\bena\b", re.IGNORECASE)
KNOW_AWS = {
    "trading_backup": {"__main__.py", "bucket.py", "names.py"},  # the environment's bucket
    "trading_spot": {"__init__.py", "__main__.py"},  # the notice that a Spot instance is taken back
    "trading_telemetry": {
        "cloudwatch.py",
        "publish.py",
        "config.py",  # the publisher's settings
        "__main__.py",  # its command
        "nic.py",  # the ENA driver's allowance counters
        "metrics.py",
    },
}


def modules(package: str) -> dict[str, Path]:
    """Return the modules of a package, by names such as `trading_engine.machine.core`."""
    found = {}
    for path in sorted((SOURCES / package).rglob("*.py")):
        parts = path.relative_to(SOURCES).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


ALL = {name: path for package in ("trading_engine", *OTHERS) for name, path in modules(package).items()}


def imported(path: Path) -> set[str]:
    """Return the modules in files/engine that a file imports. Imports inside of functions are included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in ALL else node.module for name in names}
    return {name for name in found if name in ALL}


def room_of(module: str) -> str:
    """Return the name of the package or module at the engine's top level to which a module belongs.

    These tests call it a room. Return "" for the engine's package itself.
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


ENGINES = [name for name in modules("trading_engine") if room_of(name)]


@pytest.mark.parametrize("module", ENGINES)
def test_a_module_imports_only_from_its_own_floor_or_from_below(module: str) -> None:
    upwards = {
        name for name in imported(ALL[module]) if room_of(name) and FLOOR_OF[room_of(name)] > FLOOR_OF[room_of(module)]
    }
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {name: imported(path) - {name} for name, path in ALL.items()}
    while leaves := [name for name, targets in arrows.items() if not targets & arrows.keys()]:
        for leaf in leaves:
            del arrows[leaf]
    assert not arrows


@pytest.mark.parametrize("module", [name for package in OTHERS for name in modules(package)])
def test_the_other_programs_know_only_the_open_rooms(module: str) -> None:
    of_the_engine = {name for name in imported(ALL[module]) if name.startswith("trading_engine.")}
    assert {room_of(name) for name in of_the_engine} <= OPEN_TO_OTHERS


def test_no_program_knows_ansible() -> None:
    assert not [name for name, path in ALL.items() if "ansible" in path.read_text(encoding="utf-8").lower()]


@pytest.mark.parametrize("package", ["trading_engine", *OTHERS])
def test_only_what_is_listed_knows_aws(package: str) -> None:
    knowing = {path.name for path in modules(package).values() if AWS.search(path.read_text(encoding="utf-8"))}
    assert knowing == KNOW_AWS.get(package, set())


def test_whole_rooms_are_compiled_but_for_what_says_why_not() -> None:
    compiled = ("machine", "storage", "clients", "host", "published")
    left_out = {
        str(path.relative_to(SOURCES))
        for room in compiled
        for path in (SOURCES / "trading_engine" / room).glob("*.py")
        if path.read_text(encoding="utf-8").startswith('"""Not compiled: ')
    }
    assert left_out == {"trading_engine/machine/native.py"}


COMPILED_ROOMS = ("machine", "storage", "clients", "host", "published", "engine")
COMPILED = [
    *(name for name in ENGINES if room_of(name) in COMPILED_ROOMS),
    *(f"trading_feed.{name}" for name in ("live", "log", "subscriber", "tail")),
    *("trading_bench.flow", "trading_bench.generator", "trading_bench.witness"),
]


@pytest.mark.parametrize("module", COMPILED)
def test_a_compiled_function_has_one_name_for_each_kind_of_exception(module: str) -> None:
    """No function uses the same name for two kinds of exceptions in its `except` clauses.

    mypyc gives a variable the type of its first use. A second `except` with another type then raises a TypeError.
    """
    for function in ast.walk(ast.parse(ALL[module].read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            kinds: dict[str, set[str]] = {}
            for node in ast.walk(function):
                if isinstance(node, ast.ExceptHandler) and node.name and node.type:
                    kinds.setdefault(node.name, set()).add(ast.unparse(node.type))
            assert not {name: found for name, found in kinds.items() if len(found) > 1}, function.name
