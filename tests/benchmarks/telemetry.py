"""What telemetry costs: the engine's tail with and without it, its own answers, memory, CPU, and the page's size."""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trading_bench.connection import connect
from trading_bench.flow import Flow
from trading_bench.generator import Generator, Recording
from trading_bench.summary import percentile, summarize

from tests.benchmarks import processes
from tests.benchmarks.figures import Figure

RATE_PER_S = 10_000
LOAD_S = 5
SCRAPES_PER_S = 10
PAGES = 20
REQUESTS = 100
IDLE = ("chrt", "--idle", "0")
"""As the units have it: telemetry runs when the engine has nothing to do. The readers stand for other machines."""
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
PAGE_FILES = (
    "/",
    *(f"/static/{name}" for name in ("page.js", "charts.js", "page.css", "icon.svg", "uplot.js", "uplot.css")),
)


def telemetry(variant: str) -> Iterator[Figure]:
    """Telemetry with 10 scrapes a second and 20 pages beside an engine at 10,000 orders a second."""
    with processes.engine(variant, symbols=100, accounts=1) as engine:
        alone = _load(engine)
        with _service(engine) as service, ExitStack() as readers:
            readers.enter_context(_reading(service.port, PAGES, SCRAPES_PER_S))
            observed = _load(engine)
        with _service(engine) as service, ExitStack() as readers:
            latest, metrics = _times_ns(service.port, "/latest"), _times_ns(service.port, "/metrics")
            readers.enter_context(_reading(service.port, 2, 1))
            begun_ns, begun_s = service.cpu_ns(), time.monotonic()
            time.sleep(LOAD_S)
            cpu_percent = (service.cpu_ns() - begun_ns) / (time.monotonic() - begun_s) / 1e7
            rss_bytes = service.rss_bytes()
            page_bytes = sum(len(_get(service.port, path)) for path in PAGE_FILES)

    def figure(what: str, value: float, unit: str, aim: str, without: float | None = None) -> Figure:
        return Figure("telemetry", variant, what, value, unit, "without" if without else "", without, aim=aim)

    yield figure(f"client p99, {SCRAPES_PER_S} scrapes/s, {PAGES} pages", observed, "µs", "ratio ≤ 1.05", alone)
    yield figure("/latest, 100 symbols, p99", percentile(latest, 99) / 1e6, "ms", "≤ 3")
    yield figure("/metrics, 100 symbols, p99", percentile(metrics, 99) / 1e6, "ms", "≤ 10")
    yield figure("memory", rss_bytes / 1e6, "MB", "≤ 80")
    yield figure("CPU, 1 scrape/s, 2 pages", cpu_percent, "%", "≤ 2")
    yield figure("the page over the wire", page_bytes / 1e3, "kB", "≤ 80")


def _load(engine: processes.Server) -> float:
    """p99 in µs of a short open loop, from the intended times."""
    connection, splitter = connect("127.0.0.1", engine.port, "B0", processes.PASSWORD)
    recording = Recording(RATE_PER_S, RATE_PER_S * (LOAD_S + 1), RATE_PER_S)
    generator = Generator(connection, splitter, Flow("S0", 1_000_000), recording)
    generator.run(lambda: False)
    left = generator.cancel_all()
    generator.log_out()
    p99_us: float = summarize(recording, left)["latency_corrected_us"]["p99"]
    return p99_us


@contextmanager
def _service(engine: processes.Server) -> Iterator[processes.Server]:
    port = processes.free_port()
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        config = Path(name) / "telemetry.toml"
        config.write_text(
            f'[http]\naddress = "127.0.0.1"\nport = {port}\n[shared_memory]\npath = "{engine._directory}/engine.shm"\n'
            f'[slo]\nfile = "{name}/none.toml"\n'
        )
        process = subprocess.Popen([*IDLE, sys.executable, "-m", "trading_telemetry", "--config", config])
        try:
            while True:
                try:
                    _get(port, "/api")
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            yield processes.Server(process, port)
        finally:
            process.terminate()
            process.communicate(timeout=processes.DEADLINE_S)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"accept": "text/html,*/*", "accept-encoding": "gzip"})
    body = connection.getresponse().read()
    connection.close()
    return body


def _times_ns(port: int, path: str) -> list[int]:
    """Sorted times of requests on one connection, slower than the rate limit."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times = []
    for _ in range(REQUESTS):
        begun_ns = time.perf_counter_ns()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append(time.perf_counter_ns() - begun_ns)
        time.sleep(0.02)
    connection.close()
    return sorted(times)


@contextmanager
def _reading(port: int, pages: int, scrapes_per_s: int) -> Iterator[None]:
    """Pages and scrapes from one process of its own: threads here would disturb the generator."""
    process = subprocess.Popen(
        [*IDLE, sys.executable, "-c", READER, str(port), str(pages), str(scrapes_per_s)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate(timeout=processes.DEADLINE_S)
