"""Downloads and collects Python wheels on this machine, with the collection's own module wheel_set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lowlatency.trading" / "wheels"


def collect(**arguments: str) -> dict[str, Any]:
    """Run the module wheel_set and return its result. When it fails, raise AssertionError with its message."""
    words = [
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-e",
        json.dumps({"ansible_python_interpreter": sys.executable}),
    ]
    result = subprocess.run(
        ["ansible", *words, "--one-line", "-m", "lowlatency.trading.wheel_set", "-a", json.dumps(arguments)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "PYTHONPATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "=> " in result.stdout, result.stdout + result.stderr
    report: dict[str, Any] = json.loads(result.stdout.split("=> ", 1)[1])
    assert result.returncode == 0, report.get("msg")
    return report
