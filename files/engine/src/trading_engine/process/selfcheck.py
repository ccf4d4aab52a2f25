"""The command `trading-engine self-check`, which checks that this release works on this host before it is put into use.

All modules must be importable. A replay of the journal in the directory `shipped/` must give the outputs and the state
whose SHA-256 are in `expected.json`. `python -m tests.unit.engine.shipped` makes that directory.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

from trading_engine.machine.version import is_compiled
from trading_engine.process import tools

SHIPPED: Final = Path(__file__).parent / "shipped"
EXPECTED: Final = SHIPPED / "expected.json"
_PACKAGES: Final = ("trading_engine", "trading_feed", "trading_bench")


class SelfCheckError(Exception):
    """This release does not work on this host. The message says what is wrong."""


def check() -> dict[str, Any]:
    """Check this release, and return what was found: `tools.replay`'s results, and how much of the engine is compiled.

    Raises SelfCheckError if a check fails.
    """
    compiled = [name for package in _PACKAGES for name in _import_all(package)]
    found = tools.replay(SHIPPED, version=None)
    wanted = json.loads(EXPECTED.read_text(encoding="utf-8"))
    for what, digest in wanted["sha256"].items():
        if found["sha256"][what] != digest:
            raise SelfCheckError(f"the shipped journal's {what} has another SHA-256 here than at its making")
    return {"compiled": is_compiled(), "modules_compiled": len(compiled), **found}


def _import_all(package: str) -> list[str]:
    """Import every module of the package, and return the names of those that are compiled.

    Raises SelfCheckError when a module cannot be imported.
    """
    compiled = []
    directory = Path(str(_import(package).__file__)).parent
    for source in sorted(directory.rglob("*.py")):
        if source.stem in ("__init__", "__main__"):
            continue
        module = _import(".".join((package, *source.relative_to(directory).with_suffix("").parts)))
        built = list(source.parent.glob(f"{source.stem}.*.so"))
        # If the file name of the compiled module does not fit this Python, the import uses the source without a notice.
        if built and module.__file__ != str(built[0]):
            raise SelfCheckError(f"{built[0].name} is not for this Python: its source would run instead")
        if built:
            compiled.append(module.__name__)
    return compiled


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SelfCheckError(f"cannot import {name}: {error}") from error
