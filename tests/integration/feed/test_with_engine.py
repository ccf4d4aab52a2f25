"""The feed behind a real engine: every message that the engine counted arrives, decodes, and leaves the book empty."""

import subprocess
import sys
from pathlib import Path

from trading_engine.wire import itch

from tests.integration.bench.test_against_engine import Engine, engine
from tests.integration.feed.test_feed import Subscriber, free_port, wait_for_port

__all__ = ["engine"]


def test_what_the_engine_trades_is_what_subscribers_see(engine: Engine, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "engine.toml"
    config.write_text(config.read_text() + f"\n[market_data]\nport = {port}\n")
    engine.bench("--rate", "403", "--duration", "1", "--warmup", "0")
    counters = engine.settled_state(403).counters
    process = subprocess.Popen([sys.executable, "-m", "trading_feed", "--config", str(config)], text=True)
    wait_for_port(port, process)
    subscriber = Subscriber(port, account="BENCH")
    assert subscriber.accepted().sequence == 1
    messages = subscriber.messages(counters["feed_messages"])
    subscriber.socket.close()
    process.terminate()
    assert process.wait(10) == 0
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
