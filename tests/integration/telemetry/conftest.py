"""Fixtures that start a telemetry service, and a Prometheus server that reads its metrics.

Prometheus uses this project's example configurations.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.telemetry.test_page import free_port
from tests.unit.telemetry.conftest import Publisher

RULES = Path(__file__).parents[3] / "files/prometheus/rules.yml"
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
    """Run trading-telemetry as a process. Yield its address and port as one text."""
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
def prometheus(example: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """Run Prometheus and yield its URL.

    It uses this project's rules, and the configuration from the fixture `example`. Each test file has its own fixture
    `example`, which puts the test's addresses into one of this project's examples.
    """
    port, config = free_port(), tmp_path / "prometheus.yml"
    (job,) = example["scrape_configs"]
    job["scrape_interval"] = "1s"
    job["authorization"]["credentials_file"] = str(tmp_path / "token")
    config.write_text(yaml.safe_dump({**example, "global": {"evaluation_interval": "1s"}, "rule_files": [str(RULES)]}))
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen(command)
    wait_for(f"http://127.0.0.1:{port}/api/v1/status/runtimeinfo")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)
