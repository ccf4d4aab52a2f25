"""Stores the results of a proof's steps, so that an interrupted proof can continue. At the end it writes the record."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_ENGINE = ROOT / "files" / "engine" / "src" / "trading_engine"
_SOURCES = {".py", ".yml", ".j2"}
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lowlatency.trading" / "proofs"


class Evidence:
    """The results of those steps of a proof that have finished.

    Stored results are used again only if two things are unchanged: `goal`, and all source files in `directories`.
    """

    def __init__(self, name: str, goal: int, directories: Sequence[Path] = (_ENGINE,)) -> None:
        sources = hashlib.sha256()
        files = [path for directory in directories for path in directory.rglob("*") if path.suffix in _SOURCES]
        for path in sorted(files):
            sources.update(path.read_bytes())
        self.name = name
        self.goal = goal
        self.sources_sha256 = sources.hexdigest()
        self.results: list[Any] = []
        self._file = CACHE / f"{name}-{goal}-{self.sources_sha256[:16]}.json"
        if self._file.exists():
            self.results = json.loads(self._file.read_text())

    @property
    def done(self) -> int:
        return len(self.results)

    def add(self, result: Any) -> None:
        """Store the result of one more step on the disk."""
        self.results.append(result)
        CACHE.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self.results))
        part.rename(self._file)

    def finish(self, summary: dict[str, Any]) -> Path:
        """Write the record with its date, and delete the stored results. Return the record's path."""
        now = time.gmtime()
        record = {
            "proof": self.name,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
            "python": platform.python_version(),
            "machine": platform.machine(),
            "sources_sha256": self.sources_sha256,
            **summary,
        }
        path = ROOT / "docs" / "evidence" / f"{time.strftime('%Y-%m-%d', now)}-{self.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n")
        self._file.unlink(missing_ok=True)
        return path
