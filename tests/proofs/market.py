"""Sends random messages to the engine and to a simple reference market. Both must give the same answers.

The messages include firms with MPIDs, ticks and lots, minimum quantities, hidden orders and malformed messages. Between
messages the configuration changes, and the engine restarts from snapshots. Three programs of other authors read the
engine's feed. meatpy builds a book, which is compared with the engine's book after each of the first messages. itchfeed
must read and write each message unchanged. tshark must decode the packets of the feed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from itch.parser import MessageParser  # type: ignore[import-not-found]
from meatpy.itch50 import ITCH50MarketProcessor  # type: ignore[import-not-found]
from meatpy.itch50.itch50_market_message import ITCH50MarketMessage  # type: ignore[import-not-found]
from trading_engine.machine.book import BookSide, orders_of
from trading_engine.wire import itch, soupbintcp

from tests.proofs.evidence import Evidence
from tests.unit.engine.capture import write_capture
from tests.unit.engine.duel import STOCKS, Duel, run

_STEP = 50_000
_READ_BY_OTHERS = 100_000
_PORT = 9002


def prove(messages: int) -> Path:
    """Send this many messages. Write the record and return its path.

    Raises AssertionError at the first message whose effects in the engine and in the reference market differ.
    """
    evidence = Evidence("market", messages)
    while (done := sum(result["messages"] for result in evidence.results)) < messages:
        wanted = min(_STEP, messages - done)
        others = Others() if done < _READ_BY_OTHERS else None
        duel = run(evidence.done + 1, wanted, others.compare if others else lambda duel: None)
        result = {"messages": wanted, "answers": dict(duel.answers), **(others.finish() if others else {})}
        evidence.add(result)
        print(f"{done + wanted} of {messages} messages", file=sys.stderr)
    answers: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for result in evidence.results:
        answers.update(result["answers"])
        read.update(result.get("read", {}))
    return evidence.finish({"messages": messages, "answers": dict(sorted(answers.items())), "read": dict(read)})


class Others:
    """Programs of other authors that read the feed: meatpy after each message, and itchfeed and tshark at the end."""

    def __init__(self) -> None:
        self._books = {stock: ITCH50MarketProcessor(stock, datetime(2026, 1, 5)) for stock in STOCKS}
        self._feed: list[bytes] = []
        self._compared = 0

    def compare(self, duel: Duel) -> None:
        """Give the feed's new messages to meatpy.

        Raises AssertionError when meatpy's books differ from the engine's books.
        """
        market = duel.market
        for message in itch.split_log(market.market_data if self._feed else market.opening + market.market_data):
            self._feed.append(message)
            read = ITCH50MarketMessage.from_bytes(message)
            for processor in self._books.values():
                processor.process_message(read)
        for stock, processor in self._books.items():
            book, lob = market.core.books[stock.encode().ljust(8)], processor.current_lob
            for side, levels in ((book.bids, "bid_levels"), (book.asks, "ask_levels")):
                found = [
                    (level.price, order.order_id, order.volume)
                    for level in (getattr(lob, levels) if lob else [])
                    for order in level.orders
                ]
                assert found == _displayed(side), (stock, found)
        self._compared += 1

    def finish(self) -> dict[str, Any]:
        """Return how much each program has read.

        Raises AssertionError when a program misreads the feed.
        """
        log = b"".join(len(message).to_bytes(2, "big") + message for message in self._feed)
        again = [bytes(message.to_bytes()) for message in MessageParser().parse_stream(log)]
        assert again == self._feed, "itchfeed"
        return {
            "read": {
                "meatpy_books_compared": self._compared,
                "itchfeed_messages": len(again),
                "tshark_packets": self._dissect(),
            }
        }

    def _dissect(self) -> int:
        packets = [soupbintcp.login_accepted("2026010500", 1), *map(soupbintcp.sequenced, self._feed)]
        fields = ("soupbintcp.packet_type", "soupbintcp.message", "_ws.malformed")
        with tempfile.TemporaryDirectory(prefix="market-") as name:
            capture = Path(name) / "feed.pcap"
            write_capture(capture, _PORT, [(False, packet) for packet in packets])
            command = ["tshark", "-n", "-r", str(capture), "-d", f"tcp.port=={_PORT},soupbintcp", "-T", "fields"]
            for field in fields:
                command += ["-e", field]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        seen = [line.split("\t") for line in result.stdout.splitlines()]
        assert [kind.strip("'") for kind, _, _ in seen] == ["A"] + ["S"] * len(self._feed), "tshark"
        assert not any(malformed for _, _, malformed in seen), "tshark"
        return len(seen)


def _displayed(side: BookSide) -> list[tuple[int, int, int]]:
    return [(order.price_e4, order.reference, order.open_shares) for order in orders_of(side) if not order.terms.hidden]
