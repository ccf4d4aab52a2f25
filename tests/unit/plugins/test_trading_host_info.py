"""The module trading_host_info reads the state of a host from files of the kernel and from an HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.modules import trading_host_info as host

RunModule = Callable[..., dict[str, Any]]


class Ill(BaseHTTPRequestHandler):
    """Answers a server's requests. The first two answers report a fault, and all later answers report none."""

    answers = 0

    def do_GET(self) -> None:
        type(self).answers += 1
        self.send_response(200 if self.answers > 2 else 503)
        self.end_headers()
        self.wfile.write(b"journal failed")

    def log_message(self, *_arguments: object) -> None:
        """Log nothing, to keep the output of the tests short."""


@pytest.fixture
def health_url() -> Iterator[str]:
    Ill.answers = 0
    with HTTPServer(("127.0.0.1", 0), Ill) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/health"
        server.shutdown()
        thread.join()


def test_memory_in_use_is_what_is_not_available() -> None:
    assert (
        host.memory_percent("MemTotal: 2000 kB\nMemFree: 100 kB\nMemAvailable: 1500 kB\nHugePages_Total: 0\n") == 25.0
    )


def test_waiting_for_a_disk_is_not_busy() -> None:
    assert host.machine_busy_s("cpu  100 0 50 9999 7777 0 25 25 0 0\ncpu0 1 1 1 1\n") == 200 / host.TICKS_PER_S


@pytest.mark.parametrize("name", [b"odd) name", b"\xfc", b"\x85\xa0"])
def test_a_process_name_may_hold_brackets_and_any_bytes(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "42").mkdir()
    fields = ["S", *["0"] * 10, "300", "100", *["0"] * 6, "777", "0"]
    (tmp_path / "42" / "stat").write_bytes(b"42 (" + name + f") {' '.join(fields)}\n".encode())
    (tmp_path / "self").mkdir()
    assert host.processes_busy_s(tmp_path) == {"42@777": 400 / host.TICKS_PER_S}


def test_bad_health_is_reported_with_its_text_at_once(health_url: str) -> None:
    assert host.patient_health(health_url, patience_s=0) == {"status": 503, "text": "journal failed"}


def test_patience_waits_until_all_is_well(health_url: str) -> None:
    assert host.patient_health(health_url, patience_s=30)["status"] == 200


def test_a_host_without_anything_is_described_not_failed(run_module: RunModule) -> None:
    report = run_module(
        "trading_host_info",
        units=[],
        health_url="http://127.0.0.1:9/health",
        status_command=["/nonexistent/trading-engine", "status"],
    )
    assert not report["changed"]
    assert report["health"]["status"] == 0
    assert (report["sessions_open"], report["compiled"]) == (-1, None)
    assert report["cpus"] >= 1


@pytest.mark.parametrize(
    ("told", "compiled"),
    [({"compiled": True}, True), ({"compiled": False}, False), ({"compiled": None}, None), ({}, None)],
)
def test_open_sessions_and_what_runs_come_from_the_engine(
    told: dict[str, bool | None], compiled: bool | None, run_module: RunModule
) -> None:
    report = run_module(
        "trading_host_info",
        units=[],
        health_url="http://127.0.0.1:9/health",
        status_command=["echo", json.dumps({"sessions_open": 3, **told})],
    )
    assert report["sessions_open"] == 3
    assert report["compiled"] is compiled
