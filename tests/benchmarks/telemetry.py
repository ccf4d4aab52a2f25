"""Measures telemetry: its effect on the engine's p99, its answer times, its use of memory and CPU, and its page."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from trading_bench.connection import connect
from trading_bench.flow import Flow
from trading_bench.generator import Generator, Recording
from trading_bench.summary import Round, percentile, summarize
from trading_engine.host import timestamps
from trading_engine.published.shm import StateWriter
from trading_engine.published.stats import Stats, TopSymbols

from tests.benchmarks import observers, orderflow, processes
from tests.benchmarks.figures import Figure
from tests.integration.telemetry.browser import Browser

RATE_PER_S = 10_000
LOAD_S = 3
ROUNDS = 5
WATCHED_S = 5
PAINTS = 3
SYMBOLS = 100
REQUESTS = 100
BOOKKEEPINGS = 100_000
PUBLICATIONS = 200
PUBLICATIONS_PER_S = 10
READ_BYTES = 52
PICTURE = Path(__file__).parents[2] / "build/screenshots/live-page.png"
PAGE_FILES = (
    "/",
    *(
        f"/static/{name}"
        for name in ("page.js", "charts.js", "text.js", "page.css", "icon.svg", "uplot.js", "uplot.css")
    ),
)


def telemetry(variant: str) -> Iterator[Figure]:
    """Measure telemetry next to an engine at 10,000 orders a second. Then measure it next to an idle engine."""

    def figure(what: str, value: float, unit: str, aim: str, without: float | None = None) -> Figure:
        return Figure("telemetry", variant, what, value, unit, "without" if without else "", without, aim=aim)

    with processes.engine(variant, symbols=SYMBOLS, accounts=1) as engine, _own_cpu(engine) as cpu:
        alone, observed = _alternated(engine, lambda: _everybody(engine))
        yield figure("client p99, 10 scrapes/s, 20 pages, publisher", observed, "µs", "ratio ≤ 1.05", alone)
        alone, observed = _alternated(engine, lambda: _usual(engine, cpu))
        yield figure("client p99, one CPU, 1 scrape/s, 2 pages", observed, "µs", "ratio ≤ 1.3", alone)
    yield figure("the engine's own cost an order, one order a read", _bookkeeping_ns() / 1e3, "µs", "≤ 0.5")
    with (
        processes.engine(variant, symbols=SYMBOLS, accounts=1, canary="S0") as engine,
        observers.service(engine) as service,
    ):
        for path, aim in (("/latest", "≤ 3"), ("/metrics", "≤ 10")):
            yield figure(f"{path}, {SYMBOLS} symbols, p99", _p99_ns(service.port, path) / 1e6, "ms", aim)
        with observers.readers(service.port, pages=2, scrapes_per_s=1):
            begun_ns, begun_s = service.cpu_ns(), time.monotonic()
            time.sleep(WATCHED_S)
            cpu_percent = (service.cpu_ns() - begun_ns) / (time.monotonic() - begun_s) / 1e7
        yield figure("CPU, 1 scrape/s, 2 pages", cpu_percent, "%", "≤ 2")
        yield figure("memory", service.rss_bytes() / 1e6, "MB", "≤ 80")
        page_bytes = sum(len(observers.get(service.port, path)) for path in PAGE_FILES)
        yield figure("the page over the wire", page_bytes / 1e3, "kB", "≤ 80")
        yield figure("the canary's p99, nobody trades", _minute_p99_us(service.port, "canary"), "µs", "")
        if shutil.which("chromium"):
            with observers.load(engine, RATE_PER_S, 4 * WATCHED_S):
                bare_ms, first_paint_ms, page_percent = _page(service.port)
            for source in ("canary", "receive_to_reply", "service"):
                yield figure(f"{source} p99 under that load", _minute_p99_us(service.port, source), "µs", "")
            yield Figure(
                "telemetry", variant, "the page's first paint", first_paint_ms, "ms", "bare page", bare_ms, aim="≤ 300"
            )
            yield figure("the page's CPU while open", page_percent, "%", "≤ 5")
        else:
            print("no chromium here: first paint and CPU of the page are left out", file=sys.stderr)
        yield figure("until the page knows that the engine was killed", _noticed_s(engine, service.port), "s", "≤ 3")


def _alternated(
    engine: processes.Server, observing: Callable[[], AbstractContextManager[object]]
) -> tuple[float, float]:
    """Measure a client in turns without and with telemetry's processes.

    Return two medians of the p99 in µs: without these processes, and with them.
    """
    alone, observed = [], []
    for _ in range(ROUNDS):
        alone.append(_load(engine))
        with observing():
            observed.append(_load(engine))
    return statistics.median(alone), statistics.median(observed)


@contextmanager
def _everybody(engine: processes.Server) -> Iterator[None]:
    with ExitStack() as stack:
        service = stack.enter_context(observers.service(engine))
        stack.enter_context(observers.publisher(engine))
        stack.enter_context(observers.readers(service.port, pages=20, scrapes_per_s=10))
        yield


@contextmanager
def _usual(engine: processes.Server, cpu: int) -> Iterator[None]:
    with (
        observers.service(engine, cpu) as service,
        observers.readers(service.port, pages=2, scrapes_per_s=1),
    ):
        yield


@contextmanager
def _own_cpu(engine: processes.Server) -> Iterator[int]:
    """Pin the engine to the last CPU, and yield the CPU's number. Processes that start later get the other CPUs."""
    before = os.sched_getaffinity(0)
    cpu = max(before)
    engine.pin(cpu)
    os.sched_setaffinity(0, before - {cpu} or before)
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def _load(engine: processes.Server) -> float:
    """Send orders at a fixed rate for a few seconds.

    Return the p99 of their latencies in µs. A latency begins at the order's intended time.
    """
    connection, splitter = connect("127.0.0.1", engine.port, "B0", processes.PASSWORD)
    recording = Recording(RATE_PER_S, RATE_PER_S * (LOAD_S + 1), RATE_PER_S)
    generator = Generator(connection, splitter, Flow("S0", 1_000_000), recording)
    generator.run(lambda: False)
    left = generator.cancel_all()
    generator.log_out()
    p99_us: float = summarize([Round(recording, left)])["latency_corrected_us"]["p99"]
    return p99_us


def _bookkeeping_ns() -> float:
    """Return how many ns of the engine's CPU time telemetry costs for each order.

    The engine counts in each read, and it regularly publishes all counters. An order's share of both is returned.
    """
    ancillary = [(0, 0, struct.pack("qq", *divmod(time.time_ns(), 1_000_000_000)))]
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        stats = Stats(StateWriter(Path(name) / "engine.shm", "bench", "os"))
        begun_ns = time.process_time_ns()
        for _ in range(BOOKKEEPINGS):
            stats.reads += 1
            stats.bytes_received += READ_BYTES
            stats.service.record(10_000, 1)
            stats.receive_to_reply.record(time.time_ns() - timestamps.received_ns(ancillary), 1)
        counted_ns = (time.process_time_ns() - begun_ns) / BOOKKEEPINGS
        core, top = orderflow.open_core(), TopSymbols()
        begun_ns = time.process_time_ns()
        for _ in range(PUBLICATIONS):
            stats.take_core(core)
            stats.take("stats", stats)
            stats.writer.publish(top.publish(core.by_locate), [], list(stats.events))
        published_ns = (time.process_time_ns() - begun_ns) / PUBLICATIONS
    return counted_ns + published_ns * PUBLICATIONS_PER_S / RATE_PER_S


def _p99_ns(port: int, path: str) -> float:
    """Send requests on one connection and return the p99 of their times in ns. The rate limit refuses none of them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times = []
    for _ in range(REQUESTS):
        begun_ns = time.perf_counter_ns()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append(time.perf_counter_ns() - begun_ns)
        time.sleep(0.02)
    connection.close()
    return percentile(sorted(times), 99)


def _minute_p99_us(port: int, source: str) -> float:
    latency: dict[str, float] = json.loads(observers.get(port, "/latest"))["windows"]["60s"]["latency_us"][source]
    return latency["p99"]


def _page(port: int) -> tuple[float, float, float]:
    """Measure telemetry's page and a bare page, which contains only the word "bare".

    Return three values. The first two are the ms until the bare page and until telemetry's page appears. The third is
    the CPU % that telemetry's page uses while it is open. The pages take turns in a running browser without cache. This
    also writes a screenshot of telemetry's page.
    """
    bare_ms, ours_ms = [], []
    with tempfile.TemporaryDirectory(prefix="chromium-") as name:
        browser = Browser(Path(name))
        try:
            browser.call("Network.setCacheDisabled", cacheDisabled=True)
            for _ in range(PAINTS):
                bare_ms.append(_first_paint_ms(browser, "data:text/html,bare"))
                ours_ms.append(_first_paint_ms(browser, f"http://127.0.0.1:{port}"))
            browser.call("Performance.enable")
            time.sleep(WATCHED_S)
            begun_s = _task_s(browser)
            time.sleep(WATCHED_S)
            page_percent = 100 * (_task_s(browser) - begun_s) / WATCHED_S
            PICTURE.parent.mkdir(parents=True, exist_ok=True)
            browser.screenshot(PICTURE, whole=False)
            return statistics.median(bare_ms), statistics.median(ours_ms), page_percent
        finally:
            browser.close()


def _first_paint_ms(browser: Browser, url: str) -> float:
    browser.open(url, 1280, 900)
    browser.wait_for("performance.getEntriesByName('first-contentful-paint').length > 0")
    return float(browser.value("performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def _task_s(browser: Browser) -> float:
    metrics = {metric["name"]: metric["value"] for metric in browser.call("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def _noticed_s(engine: processes.Server, port: int) -> float:
    """Kill the engine. Return the seconds until the stream that feeds telemetry's page reports this."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/stream")
    stream = connection.getresponse()
    engine.process.kill()
    killed_s = time.monotonic()
    for line in stream:
        if line.startswith(b"data: ") and json.loads(line[6:])["status"] == "failing":
            break
    connection.close()
    return time.monotonic() - killed_s
