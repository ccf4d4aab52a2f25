"""The last lines that scripts/demo prints. They are made from the report that the role slo writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
STATUS = {
    "instances": [
        {"name": None, "state": "running", "private_address": "10.78.1.5"},
        {"name": "others", "state": "running", "private_address": "10.78.1.6"},
        {"name": "trading-sandbox-1", "state": "running", "private_address": "10.78.1.7"},
    ]
}
MET = {"name": "memory", "target": "< 90 %", "measured": "8 %", "verdict": "met", "note": ""}
VOID = {"name": "p99", "target": "< 2000 µs", "measured": "2500 µs", "verdict": "not measured", "note": "it was " * 20}


TOKEN = "c0rrect-horse-battery-staple_xyz"


def summary(folder: Path, *rows: dict[str, str], proxy: str = "", token: str = TOKEN) -> str:
    (folder / "reports").mkdir()
    report = {"host": "trading-sandbox-1", "verdict": rows}
    (folder / "reports/trading-sandbox-1.json").write_text(json.dumps(report))
    (folder / "token").write_text(f"Authorization: Bearer {token}\n" if token else "")
    environment = {**os.environ, "http_proxy": proxy, "HTTP_PROXY": "", "all_proxy": "", "ALL_PROXY": ""}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/demo_summary.py", folder / "reports", folder / "log", "token"],
        input=json.dumps(STATUS),
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env=environment,
    )
    return done.stdout


def test_a_host_that_keeps_everything_is_shown_with_its_addresses(tmp_path: Path) -> None:
    said = summary(tmp_path, MET)
    assert "  memory   < 90 %  8 %       met\n  Every promise is kept.\n" in said
    assert f"http://10.78.1.7:8000/#token={TOKEN}\n" in said
    assert "curl -H @token http://10.78.1.7:8000/latest\n" in said
    assert "scripts/demo ssh\n" in said
    assert "10.78.1.6" not in said
    assert said.endswith("Reports (HTML, JSON): reports/   Logs, a file a step: log/\n")


def test_what_was_not_measured_is_said_loudly_with_the_reason_and_no_line_is_too_long(tmp_path: Path) -> None:
    said = summary(tmp_path, MET, VOID, {**VOID, "name": "p95"})
    assert "  NOT MEASURED: p99, p95; it was it was" in said
    assert "Every promise" not in said
    assert max(map(len, said.splitlines())) <= 80


def service(name: str, verdict: str) -> dict[str, str]:
    return {"name": f"{name}.service", "target": "active", "measured": "active", "verdict": verdict, "note": ""}


def test_services_share_a_row_when_all_of_them_run(tmp_path: Path) -> None:
    said = summary(tmp_path, service("feed", "met"), service("telemetry", "met"), MET)
    assert "  2 services  active  active    met\n" in said
    assert "telemetry.service" not in said


def test_a_service_that_does_not_run_is_named_in_its_own_row(tmp_path: Path) -> None:
    said = summary(tmp_path, service("feed", "met"), service("telemetry", "missed"))
    assert "  feed.service       active  active    met\n" in said
    assert "  MISSED: telemetry.service\n" in said


def test_what_was_missed_is_named(tmp_path: Path) -> None:
    assert "  MISSED: p99\n" in summary(tmp_path, MET, {**VOID, "verdict": "missed", "note": ""})


def test_curl_is_led_past_a_proxy(tmp_path: Path) -> None:
    said = summary(tmp_path, MET, proxy="http://proxy:3128")
    assert "curl --noproxy '*' -H @token http://10.78.1.7:8000/latest" in said


def test_a_host_that_asks_for_no_token_has_plain_addresses(tmp_path: Path) -> None:
    said = summary(tmp_path, MET, token="")
    assert "http://10.78.1.7:8000/\n" in said
    assert "curl http://10.78.1.7:8000/latest\n" in said


def test_without_a_machine_nobody_can_log_in() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/demo_summary.py", "--host"],
        input='{"instances": []}',
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "error: no machine is running; scripts/demo makes one\n")
