"""Telemetry reads the report that the role os_tuning has written on the host.

It also reads whether the host must still be rebooted.
"""

import json
import os
from pathlib import Path

import pytest
from trading_telemetry.host import Tuning, tuning

BOOTED_S = 1_000_000


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "stat").write_text(f"cpu 1 2 3\nbtime {BOOTED_S}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("required", "written_s", "awaits"),
    [(True, BOOTED_S + 1, True), (True, BOOTED_S - 1, False), (False, BOOTED_S + 1, False)],
)
def test_a_reboot_is_awaited_until_it_happened(proc: Path, required: bool, written_s: int, awaits: bool) -> None:
    report = proc / "os-tuning.json"
    report.write_text(json.dumps({"profile": "ultra", "reboot_required": required}))
    os.utime(report, (written_s, written_s))
    assert tuning(report, proc) == Tuning("ultra", awaits)


@pytest.mark.parametrize("content", [None, "", "[]", '{"profile": "safe"}'])
def test_a_host_without_a_readable_report_is_not_tuned(proc: Path, content: str | None) -> None:
    report = proc / "os-tuning.json"
    if content is not None:
        report.write_text(content)
    assert tuning(report, proc) is None
