"""A real Prometheus scrapes a real service by our example and rules; its percentile and ours agree within a bucket."""

import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from trading_telemetry.metrics import BUCKET_BOUNDS_US

from tests.integration.telemetry.test_page import free_port
from tests.unit.telemetry.conftest import Publisher

RULES = Path(__file__).parents[3] / "files/prometheus/rules.yml"
EXAMPLE = RULES.with_name("scrape.yml")
TOKEN = "correct-horse-battery"
BEARER = {"authorization": f"Bearer {TOKEN}"}
WAIT_S = 60.0
POLL_S = 0.25


def fetch(url: str) -> Any:
    return httpx.get(url, headers=BEARER, timeout=5).raise_for_status().json()


def wait_for(url: str) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        try:
            fetch(url)
            return
        except (httpx.HTTPError, ValueError):
            assert time.monotonic() < deadline_s, f"{url} never answered"
            time.sleep(POLL_S)


@pytest.fixture
def engine(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "engine.shm")


@pytest.fixture
def telemetry(engine: Publisher, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    config = tmp_path / "telemetry.toml"
    config.write_text(
        f'[http]\naddress = "127.0.0.1"\nport = {port}\n[shared_memory]\npath = "{tmp_path}/engine.shm"\n'
        f'[slo]\nfile = "{tmp_path}/none.toml"\n[access]\ntoken_file = "{tmp_path}/token"\n'
    )
    process = subprocess.Popen([sys.executable, "-m", "trading_telemetry", "--config", config])
    wait_for(f"http://127.0.0.1:{port}/api")
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture
def prometheus(telemetry: str, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    config = tmp_path / "prometheus.yml"
    example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    (job,) = example["scrape_configs"]
    job["scrape_interval"] = "1s"
    job["static_configs"][0]["targets"] = [telemetry]
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    intervals = {"global": {"evaluation_interval": "1s"}, "rule_files": [str(RULES)]}
    config.write_text(yaml.safe_dump({**example, **intervals}))
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen(command)
    wait_for(f"http://127.0.0.1:{port}/api/v1/status/runtimeinfo")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


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
