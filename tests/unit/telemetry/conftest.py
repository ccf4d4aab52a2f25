"""Fixtures for telemetry: the engine's state in shared memory, telemetry's configuration, and a running service.

The engine's own code writes the state.
"""

import dataclasses
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from trading_engine.published.catalogue import COUNTERS, GAUGES
from trading_engine.published.shm import StateWriter
from trading_telemetry import service
from trading_telemetry.__main__ import listen, settings
from trading_telemetry.app import make_app
from trading_telemetry.config import load_config

SLO = """\
avg_us = 500
p95_us = 1000
p99_us = 2000
throughput_per_s = 10000
cpu_percent = 80
memory_percent = 90
"""


# Without it, each client reads the certificates of all authorities, though it never uses TLS.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Publisher:
    """Writes the engine's state to shared memory.

    Its methods take the names of counters and gauges. In the state itself, these numbers have no names, only positions.
    """

    def __init__(self, path: Path) -> None:
        self.writer = StateWriter(path, "1.2.3", "os")
        self.gauge("symbols", 2)
        self.gauge("compiled", 0)
        self.gauge("journal_budget_bytes", 1000)
        self.gauge("journal_seconds_left", -1)
        self.publish()

    def count(self, name: str, more: int) -> None:
        self.writer.counters[COUNTERS.index(name)] += more

    def gauge(self, name: str, value: int) -> None:
        self.writer.gauges[GAUGES.index(name)] = value

    def orders(self, count: int, latency_us: float) -> None:
        self.count("enters_received", count)
        self.count("orders_accepted", count)
        self.writer.histograms["receive_to_reply"].record(int(latency_us * 1000), count)

    def canary(self, count: int, latency_us: float) -> None:
        self.count("canary_round_trips", count)
        self.writer.histograms["canary"].record(int(latency_us * 1000), count)

    def publish(self) -> None:
        self.writer.publish([], [], [])


@pytest.fixture(autouse=True)
def no_time_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service find no chronyd, even if one runs on this machine."""
    monkeypatch.setattr(service, "read_clock", lambda: None)


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    return tmp_path / "engine.shm"


@pytest.fixture
def slo_path(tmp_path: Path) -> Path:
    path = tmp_path / "slo.toml"
    path.write_text(SLO)
    path.with_name("slo_feed.toml").write_text("p99_us = 1000\n")
    return path


@pytest.fixture
def engine(state_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(state_path)
    yield publisher
    publisher.writer.close()


@pytest.fixture
def config_file(tmp_path: Path, state_path: Path, slo_path: Path) -> Path:
    path = tmp_path / "telemetry.toml"
    path.write_text(
        f'[http]\naddress = "127.0.0.1"\n[shared_memory]\npath = "{state_path}"\n[slo]\nfile = "{slo_path}"\n'
    )
    return path


@pytest.fixture
def engine_that_died(state_path: Path) -> None:
    """Write the state of an engine whose process has ended, without the mark of a normal end."""
    script = "import sys; from pathlib import Path; from trading_engine.published.shm import StateWriter\n"
    script += "StateWriter(Path(sys.argv[1]), '1.2.3', 'os')"
    subprocess.run([sys.executable, "-c", script, str(state_path)], check=True)


@pytest.fixture
def client(config_file: Path) -> Iterator[httpx.Client]:
    """Yield an HTTP client of telemetry. A real server on a real socket serves telemetry's application."""
    config = dataclasses.replace(load_config(config_file), port=0)
    with listen(config) as listener:
        server = uvicorn.Server(settings(make_app(config), config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        port = listener.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=NO_AUTHORITIES) as client:
            yield client
        server.should_exit = True
        thread.join()
