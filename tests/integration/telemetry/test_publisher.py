"""Telemetry's publisher runs as a process and sends data to an emulated CloudWatch.

CloudWatch must then return the right 99th percentile of these data.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.telemetry.conftest import Publisher
from tests.unit.telemetry.test_publish import client, started, statistic

WAIT_S = 120.0
POLL_S = 0.5


@pytest.fixture
def endpoint() -> Iterator[str]:
    server, url = started(0)
    yield url
    server.stop()


@pytest.fixture
def process(tmp_path: Path, endpoint: str) -> Iterator["subprocess.Popen[str]"]:
    config = tmp_path / "telemetry.toml"
    config.write_text(
        f'[shared_memory]\npath = "{tmp_path}/engine.shm"\n'
        '[cloudwatch]\nperiod_s = 10\nregion = "us-east-1"\ninstance_id = "i-0123"\n'
    )
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-m", "trading_telemetry", "publish", str(config)]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def orders_until(engine: Publisher, cloudwatch: Any, name: str, stat: str) -> float:
    """Publish orders with latencies of 10 to 1,000 µs, until CloudWatch has a statistic of a metric.

    `stat` is the statistic, and `name` is the metric. Return the newest value of this statistic.
    """
    deadline_s = time.monotonic() + WAIT_S
    while not (values := statistic(cloudwatch, name, stat)):
        assert time.monotonic() < deadline_s, f"{name} {stat} was never published"
        for latency_us in range(10, 1010, 10):
            engine.orders(1, latency_us)
        engine.publish()
        time.sleep(POLL_S)
    return values[-1]


def test_get_metric_data_returns_the_p99_that_a_real_publisher_sent(
    tmp_path: Path, endpoint: str, process: "subprocess.Popen[str]"
) -> None:
    engine = Publisher(tmp_path / "engine.shm")
    cloudwatch = client(endpoint)
    assert orders_until(engine, cloudwatch, "OrderLatency", "p99") == pytest.approx(990, rel=0.02)
    assert statistic(cloudwatch, "OrderLatency", "p50")[-1] == pytest.approx(500, rel=0.02)
    assert statistic(cloudwatch, "EngineUp", "Maximum")[-1] == 1
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert "one call every 10 s" in process.stderr.read()
    assert process.wait() == 0
