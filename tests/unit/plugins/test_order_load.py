"""The module order_load runs the load generator. When this fails, it reports the load generator's message.

It never reports the password.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]


def load(run_module: RunModule, port: int, command: list[str] | None = None, **more: object) -> dict[str, Any]:
    return run_module(
        "order_load",
        command=command or [sys.executable, "-m", "trading_bench"],
        address="127.0.0.1",
        port=port,
        account="BENCH",
        password="not4others",
        symbol="TEST",
        rate_per_s=100,
        duration_s=1,
        **more,
    )


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_an_engine_that_is_not_there_is_named_and_the_password_is_not(
    run_module: RunModule, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "files/engine/src"))
    report = load(run_module, closed_port)
    assert report["failed"]
    assert f"cannot connect to 127.0.0.1:{closed_port}" in report["msg"]
    assert "not4others" not in json.dumps(report)


def test_a_generator_of_the_release_before_sends_its_load_without_the_feed(
    run_module: RunModule, tmp_path: Path
) -> None:
    before = tmp_path / "bench.py"
    before.write_text(
        "import argparse, pathlib, sys\n"
        "parser = argparse.ArgumentParser()\n"
        "for name in ('host', 'port', 'account', 'password-file', 'symbol', 'rate', 'duration', 'json'):\n"
        "    parser.add_argument(f'--{name}')\n"
        "options = parser.parse_args()\n"
        "assert sys.stdin.read().strip() == 'not4others'\n"
        "pathlib.Path(options.json).write_text('{\"orders_sent\": 100}')\n"
    )
    report = load(run_module, 9001, [sys.executable, str(before)], feed_port=9002)
    assert report["figures"] == {"orders_sent": 100}
    assert "cannot subscribe to market data" in json.dumps(report["warnings"])
    refused = load(run_module, 9001, [sys.executable, str(before)], keep="x")
    assert "install the one that belongs to it" in refused["msg"]
