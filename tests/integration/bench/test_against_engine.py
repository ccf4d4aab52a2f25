"""The load generator sends orders to a real engine process.

The load generator and the engine must count the same numbers of messages.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trading_engine.published.shm import State, StateError, StateReader
from trading_engine.settings import passwords

PASSWORD = "secret"
POLL_S = 0.01
DEADLINE_S = 20.0
HASH = passwords.hash_password(PASSWORD)


@dataclass
class Engine:
    port: int
    process: "subprocess.Popen[bytes]"
    state_path: Path
    password_file: Path

    def state(self) -> State:
        return StateReader(self.state_path).read()

    def settled_state(self, orders: int) -> State:
        """Wait until the engine has counted this many orders. Return the state that it has published.

        Raises AssertionError when the engine ends, or after a deadline.
        """
        end = time.monotonic() + DEADLINE_S
        while (received := (state := self.state()).counters["enters_received"]) < orders:
            assert self.process.poll() is None, "the engine has ended"
            assert time.monotonic() < end, f"{received} of {orders} orders received after {DEADLINE_S} s"
            time.sleep(POLL_S)
        return state

    def bench(self, *options: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "trading_bench", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--account", "BENCH", "--password-file", str(self.password_file), "--symbol", "TEST"]
        return subprocess.run(
            [*command, *map(str, options)], capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip


def wait_until_published(engine: Engine) -> None:
    """Wait until the engine publishes its state.

    Raises AssertionError when the engine ends, or after a deadline.
    """
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            engine.state()
            return
        except StateError:
            assert engine.process.poll() is None, "the engine has ended"
            assert time.monotonic() < end, f"nothing published after {DEADLINE_S} s"
            time.sleep(POLL_S)


@pytest.fixture
def engine(tmp_path: Path, unused_tcp_port: int) -> Iterator[Engine]:
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        [order_entry]
        port = {unused_tcp_port}
        [journal]
        directory = "journal"
        [itch]
        directory = "itch"
        [shared_memory]
        path = "engine.shm"
        [admin]
        socket = "admin.sock"
        [accounts.BENCH]
        password = "{HASH}"
        test = true
        tokens = "increasing"
        [[symbol]]
        name = "TEST"
        reference_price = "100.00"
        """
    )
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")
    process = subprocess.Popen([sys.executable, "-m", "trading_engine", "--config", config])
    engine = Engine(unused_tcp_port, process, tmp_path / "engine.shm", password_file)
    try:
        wait_until_published(engine)
        yield engine
    finally:
        process.terminate()
        process.wait(10)


def test_generator_and_engine_count_the_same_and_nothing_is_left_in_the_book(engine: Engine, tmp_path: Path) -> None:
    report, page = tmp_path / "bench.json", tmp_path / "bench.html"
    options = ("--rate", "803", "--duration", "1", "--warmup", "0.25", "--json", report, "--html", page)
    for run in (1, 2):
        result = engine.bench(*options)
        summary = json.loads(report.read_text())
        assert result.returncode == 0, result.stderr
        sent = summary["orders_sent"] + summary["orders_warmup"]
        assert (sent, summary["orders_answered"], summary["rejects_total"]) == (1003, 803, 0)
        assert summary["errors"] == {}
        counters = engine.settled_state(run * sent).counters
        assert counters["enters_received"] == counters["orders_accepted"] == run * sent
        assert counters["executions"] == run * 251
        assert engine.state().gauges["open_orders"] == 0
        assert f"{summary['orders_sent']} orders sent" in result.stdout
        assert "</html>" in page.read_text()


def test_kept_runs_give_the_same_figures_alone_and_all_orders_together(engine: Engine, tmp_path: Path) -> None:
    kept, report = [tmp_path / "1.run", tmp_path / "2.run"], tmp_path / "bench.json"
    for path in kept:
        options = ("--rate", "400", "--duration", "1", "--warmup", "0", "--witness", "--state", engine.state_path)
        assert engine.bench(*options, "--keep", path, "--json", report).returncode == 0
    last = json.loads(report.read_text())
    assert last["disturbance"]["witnesses"][0]["milliseconds"] > 0

    def figures(*runs: Path) -> dict[str, Any]:
        words = [word for run in runs for word in ("--run", str(run))]
        command = [sys.executable, "-m", "trading_bench.figures", *words, "--json", str(report)]
        assert subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode == 0
        found: dict[str, Any] = json.loads(report.read_text())
        assert "<svg" in found.pop("drawings")
        return found

    assert figures(kept[1]) == last
    both = figures(*kept)
    assert both["orders_answered"] == 800
    assert both["disturbance"]["slices"] == 20


def test_a_torn_recording_is_named(tmp_path: Path) -> None:
    torn = tmp_path / "torn.run"
    torn.write_bytes(b'{"rate_per_s": 1, "slots": 5')
    command = [sys.executable, "-m", "trading_bench.figures", "--run", str(torn)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"trading-figures: error: {torn} is no complete recording of trading-bench")


def test_rejects_are_reported_by_reason_and_are_answers(engine: Engine, tmp_path: Path) -> None:
    report = tmp_path / "bench.json"
    engine.bench("--rate", "400", "--duration", "1", "--warmup", "0", "--price", "500", "--json", report)
    summary = json.loads(report.read_text())
    assert summary["orders_answered"] == 400
    assert summary["rejects"] == {"X": 200}


def test_a_rejected_login_is_one_line_with_the_reason(engine: Engine) -> None:
    engine.password_file.write_text("wrong\n")
    result = engine.bench()
    assert result.returncode == 1
    assert "rejected the login of account 'BENCH': not authorised: check account and password" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_engine_that_dies_under_load_breaks_the_run_off_with_one_line(engine: Engine) -> None:
    def kill_under_load() -> None:
        try:
            engine.settled_state(100)
        finally:
            engine.process.kill()

    with ThreadPoolExecutor(1) as threads:
        killing = threads.submit(kill_under_load)
        result = engine.bench("--rate", "1000", "--duration", "30")
        killing.result()
    assert result.returncode == 1
    assert result.stderr.startswith("trading-bench: error: the engine ")
    assert result.stderr.count("\n") == 1
