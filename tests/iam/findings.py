"""Prints, as JSON, what the linter parliament finds in each policy document in files/iam.

The keys are the names of the documents. Run it as: python -m tests.iam.findings
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

from tests.iam import documents


def _find(document: str) -> list[str]:
    # parliament finds its data files with pkg_resources, which setuptools no longer contains.
    spec = importlib.util.find_spec("parliament")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    paths = types.ModuleType("pkg_resources")
    paths.resource_filename = lambda _, file: str(folder / file)  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", paths)
    import parliament  # type: ignore[import-untyped]

    return sorted(f"{one.issue}: {_words(one.detail)}" for one in parliament.analyze_policy_string(document).findings)


def _words(detail: object) -> str:
    parts = detail if isinstance(detail, list) else [detail]
    return ", ".join(sorted({str(part["action"] if isinstance(part, dict) else part) for part in parts}))


if __name__ == "__main__":
    found = {name: _find((documents.FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in documents.names()}
    print(json.dumps({name: titles for name, titles in found.items() if titles}, indent=2))
