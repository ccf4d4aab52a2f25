"""The feed reads market data from the engine's ring buffer in shared memory.

Subscribers get exactly the content of the engine's log. This is also true when the engine or the feed starts late,
stalls or dies.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trading_engine.published.ring import SIZE
from trading_engine.published.shm import StateReader
from trading_engine.wire import itch, ouch, soupbintcp

from tests.integration.feed.test_feed import Subscriber, free_port, wait_for_port
from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, PASSWORD, Client, EngineProcess

FROM_RING = "market data comes from the engine's ring"


class FeedProcess:
    """A process of `trading-feed`. `said` collects the lines that the process logs."""

    def __init__(self, config: Path, port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trading_feed", "--config", str(config)],
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._reading = threading.Thread(target=self._read)
        self._reading.start()
        wait_for_port(port, self.process)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as log:
            self.said.extend(log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        self._reading.join()
        assert not [line for line in self.said if "Traceback" in line]
        return code


class Market:
    """An engine, a feed, a client that trades, and the messages that subscribers have received so far."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.engine = EngineProcess(directory, market_data={"port": self.port})
        self.feed: FeedProcess | None = None
        self.heard: list[bytes] = []
        self._orders = 0
        self._deletes = 0
        (directory / "itch").mkdir()

    def start_feed(self) -> FeedProcess:
        self.feed = FeedProcess(self.engine.config, self.port)
        return self.feed

    def subscribe(self) -> Subscriber:
        """Log in to the feed, and ask for the messages after those that were already received."""
        subscriber = Subscriber(self.port, len(self.heard) + 1, password=PASSWORD, account="BERT")
        subscriber.socket.settimeout(DEADLINE_S)
        subscriber.accepted()
        return subscriber

    def trade(self, orders: int, at_once: int = 1) -> None:
        """Enter this number of orders and cancel them. The client sends `at_once` orders at a time."""
        client = Client(self.engine.port, sequence=0)
        for start in range(0, orders, at_once):
            tokens = [f"{self._orders + number:014}" for number in range(start, start + at_once)]
            enters = [ouch.EnterOrder(token, "B", 100, "TEST", 1_000_000) for token in tokens]
            client.send(*enters, *(ouch.CancelOrder(token) for token in tokens))
            client.wait_for(2 * (start + at_once))
        self._orders += orders
        client.close()

    def hear(self, subscriber: Subscriber) -> None:
        """Read messages of the feed until the feed has reported that each order of `trade` was deleted."""
        while self._deletes < self._orders:
            if len(self.heard) % 1000 == 0:
                subscriber.socket.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)
            self.heard += subscriber.messages(1)
            self._deletes += self.heard[-1].startswith(b"D")

    def times_of_feed(self) -> int:
        reader = StateReader(self.directory / "engine.shm")
        count = reader.read().histograms["feed"].count
        reader.close()
        return count

    def settle(self) -> None:
        """Stop the engine, which completes its log. Check that the received messages are equal to the log."""
        assert self.engine.stop() == (0, "")
        data = b"".join(path.read_bytes() for path in sorted((self.directory / "itch").glob("*.itch")))
        assert self.heard == list(itch.split_log(data))


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    market = Market(tmp_path)
    yield market
    while Subscriber.open:
        Subscriber.open.pop().close()
    if market.feed is not None and market.feed.process.poll() is None:
        market.feed.process.send_signal(signal.SIGCONT)
        assert market.feed.stop() == 0
    if market.engine.process is not None:
        market.engine.stop(signal.SIGKILL)


def eventually(reached: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_subscriber_gets_each_turn_out_of_the_ring_and_its_delay_is_measured(market: Market) -> None:
    market.engine.start()
    feed = market.start_feed()
    subscriber = market.subscribe()
    market.trade(50)
    market.hear(subscriber)
    assert any(FROM_RING in line for line in feed.said)
    eventually(lambda: market.times_of_feed() > 0)
    market.settle()


def test_a_feed_that_was_there_first_takes_the_engine_that_comes(market: Market) -> None:
    feed = market.start_feed()
    market.engine.start()
    subscriber = market.subscribe()
    eventually(lambda: any(FROM_RING in line for line in feed.said))
    market.trade(50)
    market.hear(subscriber)
    market.settle()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_comes_back_is_followed_without_a_message_too_many_or_too_few(
    market: Market, number: signal.Signals
) -> None:
    market.engine.start()
    market.start_feed()
    subscriber = market.subscribe()
    market.trade(100)
    market.engine.stop(number)
    market.engine.start()
    measured = market.times_of_feed()
    eventually(lambda: follows_again(market, measured, subscriber))
    market.settle()


def follows_again(market: Market, measured: int, subscriber: Subscriber) -> bool:
    """Trade with the restarted engine.

    Return whether the feed has read the new messages from this engine's ring buffer.
    """
    market.trade(10)
    market.hear(subscriber)
    return market.times_of_feed() > measured


def test_a_feed_that_comes_back_gives_its_subscriber_the_rest(market: Market) -> None:
    market.engine.start()
    feed = market.start_feed()
    market.trade(100)
    market.hear(market.subscribe())
    market.trade(100)
    assert feed.stop(signal.SIGKILL) == -signal.SIGKILL
    market.trade(100)
    market.start_feed()
    subscriber = market.subscribe()
    market.trade(100)
    market.hear(subscriber)
    market.settle()


def test_a_feed_that_stalls_until_the_ring_has_overtaken_it_goes_on_from_the_file(market: Market) -> None:
    market.engine.start()
    feed = market.start_feed()
    subscriber = market.subscribe()
    market.trade(10)
    market.hear(subscriber)
    feed.process.send_signal(signal.SIGSTOP)
    said = 60 * (SIZE // 50 // 60)  # an order's two messages have more than 50 bytes, so they fill the ring
    market.trade(said, at_once=30)
    feed.process.send_signal(signal.SIGCONT)
    market.trade(10)
    market.hear(subscriber)
    market.settle()
