"""Runs telemetry's processes next to an engine.

Other processes read telemetry's page and metrics, as programs on other machines would.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks import processes

IDLE = ("chrt", "--idle", "0")
"""The scheduling of telemetry's units: they run only when no other process needs the CPU."""
PROMISE = """\
avg_us = 500
p95_us = 1000
p99_us = 2000
throughput_per_s = 10000
cpu_percent = 80
memory_percent = 90
"""
READER = """
import http.client, select, socket, sys, time
port, pages, scrapes_per_s = map(int, sys.argv[1:])
sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(pages)]
for page in sockets:
    page.sendall(b"GET /stream HTTP/1.1\\r\\nhost: bench\\r\\n\\r\\n")
scrapes = http.client.HTTPConnection("127.0.0.1", port)
due_s, scraped = time.monotonic(), 0
while True:
    ready, _, _ = select.select(sockets, [], [], max(due_s - time.monotonic(), 0))
    for page in ready:
        page.recv(65536)
    if time.monotonic() >= due_s:
        scrapes.request("GET", "/metrics")
        scrapes.getresponse().read()
        if scraped == 0:
            print("ready", flush=True)
        scraped += 1
        due_s += 1 / scrapes_per_s
"""
CLOUDWATCH = """
import http.server
class Taking(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("smithy-protocol", "rpc-v2-cbor")
        self.send_header("content-type", "application/cbor")
        self.send_header("content-length", "1")
        self.end_headers()
        self.wfile.write(b"\\xa0")
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Taking)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def _process(
    *command: str, cpu: int | None = None, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*IDLE, sys.executable, *command], stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=processes.DEADLINE_S)


def _first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


@contextmanager
def _configuration(engine: processes.Server, port: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        config = Path(name) / "telemetry.toml"
        (Path(name) / "slo.toml").write_text(PROMISE)
        config.write_text(
            f'[http]\naddress = "127.0.0.1"\nport = {port}\n[shared_memory]\npath = "{engine.directory}/engine.shm"\n'
            f'[slo]\nfile = "{name}/slo.toml"\n'
            '[cloudwatch]\nperiod_s = 10\nregion = "us-east-1"\ninstance_id = "i-0123456789abcdef0"\n'
        )
        yield str(config)


@contextmanager
def service(engine: processes.Server, cpu: int | None = None) -> Iterator[processes.Server]:
    """Run trading-telemetry until the context ends. Yield it once it answers. `cpu` is its CPU, or None for any CPU."""
    port = processes.free_port()
    with (
        _configuration(engine, port) as config,
        _process("-m", "trading_telemetry", "--config", config, cpu=cpu) as process,
    ):
        while True:
            try:
                get(port, "/api")
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        yield processes.Server(process, port)


@contextmanager
def publisher(engine: processes.Server) -> Iterator[None]:
    """Run telemetry's publisher until the context ends. It sends every ten seconds, and every request succeeds."""
    with _process("-c", CLOUDWATCH) as cloudwatch, _configuration(engine, processes.free_port()) as config:
        keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{_first_line(cloudwatch)}"}
        with _process("-m", "trading_telemetry", "publish", config, environment={**keys, **endpoint}):
            yield


@contextmanager
def load(engine: processes.Server, rate_per_s: int, duration_s: int) -> Iterator[None]:
    """Run a load generator in a separate process, at normal priority, until the context ends."""
    password = engine.directory / "password" if engine.directory else Path()
    password.write_text(processes.PASSWORD)
    options = f"--host=127.0.0.1 --port={engine.port} --account=B0 --password-file={password} --symbol=S0".split()
    command = [sys.executable, "-m", "trading_bench", *options, f"--rate={rate_per_s}", f"--duration={duration_s}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def readers(port: int, pages: int, scrapes_per_s: int) -> Iterator[None]:
    """Run a process that opens `pages` streams of telemetry's page and scrapes its metrics, until the context ends.

    It is a separate process, because threads in this process would disturb the load generator.
    """
    with _process("-c", READER, str(port), str(pages), str(scrapes_per_s)) as process:
        _first_line(process)
        yield


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"accept": "text/html,*/*", "accept-encoding": "gzip"})
    body = connection.getresponse().read()
    connection.close()
    return body
