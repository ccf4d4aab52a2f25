"""Write files that are made from data, or list outdated ones. All programs that scripts/docs runs use this."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def main(description: str | None, wanted_of: Callable[[Path], dict[Path, str]]) -> int:
    """Write each outdated file and return 0. With --check write nothing, and return 1 when a file is outdated.

    `wanted_of` is a function that takes the root of a checkout and returns a dictionary: path of a file → its wanted
    text.
    """
    parser = argparse.ArgumentParser(prog="scripts/docs", description=description)
    parser.add_argument("root", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is out of date")
    arguments = parser.parse_args()
    root: Path = arguments.root
    wanted = wanted_of(root)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments.check:
        for path in stale:
            print(f"{path.relative_to(root)} is out of date: run scripts/docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(root)}")
    return 0
