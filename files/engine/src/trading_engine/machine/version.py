"""The version of the matching core. An engine may replay a journal only if the same version of the core wrote it.

The version contains a digest of the core's source code, so nobody has to increase a number by hand. The sources are
installed beside the compiled modules too, so both variants of a release have the same version. Comments, docstrings of
modules, classes and functions, imports, and file names do not count.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from pathlib import Path
from typing import Final

from trading_engine import __version__
from trading_engine.machine import core

ROOMS: Final = ("machine", "wire")
"""The folders whose code is the machine: nothing in them imports anything else of the engine."""
_WITH_DOCSTRING: Final = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def is_compiled() -> bool:
    """Return whether this process runs the compiled core."""
    return not str(core.__file__).endswith(".py")


def code_of(source: str) -> str:
    """Return the source of a module without its comments, docstrings, imports and blank lines. Raises SyntaxError.

    These parts are cut out of the text, because a digest of the parsed tree would depend on the version of Python.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            _blank(lines, node)
        elif isinstance(node, _WITH_DOCSTRING) and node.body and ast.get_docstring(node, clean=False) is not None:
            _blank(lines, node.body[0])
    return "".join(f"{line.rstrip()}\n" for line in lines if line.strip())


def _blank(lines: list[str], statement: ast.stmt) -> None:
    """Replace the lines of a statement by empty lines. The formatter ruff puts each statement on lines of its own."""
    for row in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
        lines[row] = ""


def digest(sources: list[str]) -> str:
    """Return a SHA-256 over the code of these modules. It does not depend on their order or names."""
    each = sorted(hashlib.sha256(code_of(source).encode()).digest() for source in sources)
    return hashlib.sha256(b"".join(each)).hexdigest()


def _own_digest() -> str:
    engine = Path(__file__).parents[1]
    return digest([path.read_text(encoding="utf-8") for room in ROOMS for path in (engine / room).glob("*.py")])


MACHINE_VERSION: Final = f"{__version__}+{_own_digest()[:12]}"
"""The release and its machine, for example 0.1.0+91af02c7de34: journals and snapshots say who wrote them."""
