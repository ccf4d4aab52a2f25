"""Runs the program schemathesis. It makes requests from the schema at /api and sends them to telemetry.

First, this program adds more headers and parameters to the schema.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

from trading_telemetry.openapi import DESCRIPTION

HEADERS = (
    "Accept", "Accept-Encoding", "Authorization", "Cookie", "If-None-Match", "Range", "Upgrade", "X-Forwarded-For",
    "X-Forwarded-Proto",
)  # fmt: skip


def fuzz(port: int, directory: Path, *options: str) -> int:
    """Send requests to the service and return their number.

    Raises AssertionError, with what schemathesis has found, when an answer is wrong.
    """
    description = copy.deepcopy(DESCRIPTION)
    del description["paths"]["/stream"]  # its answer never ends
    more = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in HEADERS]
    more += [{"name": "anything", "in": where, "schema": {}} for where in ("query", "cookie")]
    for path in description["paths"].values():
        path["parameters"] = [*path.get("parameters", []), *more]
    (directory / "api.json").write_text(json.dumps(description))
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(directory / "api.json")]
    command += [f"--url=http://127.0.0.1:{port}", "--checks=all", "--request-timeout=20", "--no-color", *options]
    command += [
        "--warnings=off",
        "--suppress-health-check=all",
        "--report=json",
        f"--report-json-path={directory}/report.json",
    ]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    made: int = json.loads((directory / "report.json").read_text())["test_cases"]["generated"]
    return made
