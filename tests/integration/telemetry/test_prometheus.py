"""A real Prometheus reads telemetry's metrics with this project's example configuration and rules.

Prometheus and telemetry compute a percentile from the same histogram. The results differ by at most one bucket.
"""

import subprocess
import time
import urllib.parse
from typing import Any

import httpx
import pytest
import yaml
from trading_telemetry.metrics import BUCKET_BOUNDS_US

from tests.integration.telemetry.conftest import BEARER, POLL_S, RULES, WAIT_S, fetch
from tests.unit.telemetry.conftest import Publisher


@pytest.fixture
def example(telemetry: str) -> dict[str, Any]:
    """Return the example configuration for hosts whose addresses the user lists."""
    read: dict[str, Any] = yaml.safe_load(RULES.with_name("scrape.yml").read_text(encoding="utf-8"))
    (job,) = read["scrape_configs"]
    job["static_configs"][0]["targets"] = [telemetry]
    return read


def query(prometheus: str, expression: str) -> float | None:
    answer = fetch(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def test_its_percentile_is_ours_within_a_bucket(engine: Publisher, telemetry: str, prometheus: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    expression = "trading:latency_seconds:p99_5m"
    while (found_s := query(prometheus, expression)) is None or not found_s > 0:
        assert time.monotonic() < deadline_s, f"{expression} never had a value"
        for latency_us in range(10, 1010, 10):
            engine.orders(1, latency_us)
        engine.publish()
        time.sleep(POLL_S)
    ours_us = fetch(f"http://{telemetry}/latest")["windows"]["60s"]["latency_us"]["receive_to_reply"]["p99"]
    upper_us = next(bound_us for bound_us in BUCKET_BOUNDS_US if bound_us >= ours_us)
    lower_us = max(bound_us for bound_us in BUCKET_BOUNDS_US if bound_us < ours_us)
    assert lower_us <= found_s * 1e6 <= upper_us
    assert query(prometheus, 'up{job="trading"}') == 1


def promtool(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
        result = promtool(*arguments[:2], str(RULES.parent / arguments[2]))
        assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_our_metrics(engine: Publisher, telemetry: str) -> None:
    engine.orders(10, 100)
    engine.publish()
    result = promtool("check", "metrics", text=httpx.get(f"http://{telemetry}/metrics", headers=BEARER).text)
    complaints = [line for line in result.stderr.splitlines() if line.startswith("trading_")]
    assert complaints == [], complaints
    assert "error while linting" not in result.stderr
