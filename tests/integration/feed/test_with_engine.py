"""A feed reads a real engine's market data.

Every message that the engine has counted arrives and can be decoded. The book that a subscriber builds from the
messages is empty at the end.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trading_engine.wire import itch

from tests.integration.bench.test_against_engine import Engine, engine
from tests.integration.feed.test_feed import Subscriber, free_port, wait_for_port

__all__ = ["engine"]


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """Start a feed for the engine. Yield the feed's port and its process."""
    port = free_port()
    config = tmp_path / "engine.toml"
    config.write_text(config.read_text() + f"\n[market_data]\nport = {port}\n")
    process = subprocess.Popen([sys.executable, "-m", "trading_feed", "--config", str(config)], text=True)
    wait_for_port(port, process)
    yield port, process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    assert process.wait(10) == 0


def test_the_generator_sees_on_the_feed_what_the_market_is_to_see_of_its_orders(
    engine: Engine, feed: tuple[int, "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    kept, report = tmp_path / "run", tmp_path / "bench.json"
    options = ("--feed", str(feed[0]), "--rate", "400", "--duration", "1", "--warmup", "0.5")
    result = engine.bench(*options, "--keep", kept, "--json", report)
    assert result.returncode == 0, result.stderr
    summary = json.loads(report.read_text())
    assert summary["errors"] == {}
    assert summary["orders_shown"] == 300  # of four orders, two rest, one trades, and one is never shown
    assert summary["feed_us"]["max"] > 0
    assert "feed, from the reply" in result.stdout
    command = [sys.executable, "-m", "trading_bench.figures", "--run", str(kept), "--json", str(report)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert json.loads(report.read_text())["feed_us"] == summary["feed_us"]


def test_what_the_feed_does_not_show_is_an_error(
    engine: Engine, feed: tuple[int, "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    report = tmp_path / "bench.json"
    options = ("--feed", str(feed[0]), "--rate", "100", "--duration", "1", "--warmup", "1", "--json", str(report))
    command = [sys.executable, "-m", "trading_bench", "--host", "127.0.0.1", "--port", str(engine.port)]
    command += ["--account", "BENCH", "--password-file", str(engine.password_file), "--symbol", "TEST", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as bench:
        engine.settled_state(20)
        feed[1].send_signal(signal.SIGSTOP)
        assert bench.wait(60) == 0
    errors = json.loads(report.read_text())["errors"]
    assert list(errors) == ["surprise: orders that the feed did not show"]


def test_a_feed_that_is_not_there_is_told_in_one_line(engine: Engine) -> None:
    port = free_port()
    result = engine.bench("--feed", str(port), "--duration", "1")
    assert result.returncode == 1
    assert result.stderr.startswith(f"trading-bench: error: cannot connect to 127.0.0.1:{port}: Connection refused")
    assert result.stderr.count("\n") == 1


def test_what_the_engine_trades_is_what_subscribers_see(
    engine: Engine, feed: tuple[int, "subprocess.Popen[str]"]
) -> None:
    engine.bench("--rate", "403", "--duration", "1", "--warmup", "0")
    counters = engine.settled_state(403).counters
    subscriber = Subscriber(feed[0], account="BENCH")
    assert subscriber.accepted().sequence == 1
    messages = subscriber.messages(counters["feed_messages"])
    subscriber.socket.close()
    book: dict[int, int] = {}
    executed = 0
    for message in map(itch.FEED.decode, messages):
        if isinstance(message, itch.AddOrder):
            book[message.reference] = message.shares
        elif isinstance(message, itch.OrderExecuted):
            book[message.reference] -= message.shares
            executed += 1
        elif isinstance(message, itch.OrderDelete):
            del book[message.reference]
    assert executed == counters["executions"] == 101
    assert [shares for shares in book.values() if shares] == []
