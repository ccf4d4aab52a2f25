"""A trader that remembers what the engine acknowledged."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter

from trading_bench.flow import run_prefix
from trading_engine.wire import ouch, soupbintcp

RECEIVE_BYTES = 65536


class OrderClient:
    """Enters one resting order after the other without waiting, and keeps the tokens of those that were accepted."""

    def __init__(self, address: str, password: str, account: str = "BENCH", symbol: str = "TEST") -> None:
        self.address, self.password, self.account, self.symbol = address, password, account, symbol
        self.prefix = run_prefix().decode("ascii")
        self.entered = 0
        self.accepted: list[str] = []
        self.acknowledged = threading.Event()

    def log_in(self, sequence: int, limit_s: float = 30) -> tuple[socket.socket, soupbintcp.Splitter]:
        """Connect and ask for the messages from `sequence` on, again and again until the engine is there."""
        end_s = time.monotonic() + limit_s
        while True:
            try:
                connection = socket.create_connection((self.address, 9001), 5)
                connection.sendall(soupbintcp.login_request(self.account, self.password, sequence=sequence))
                return connection, soupbintcp.Splitter()
            except OSError:
                assert time.monotonic() < end_s, f"no order entry at {self.address}:9001 within {limit_s} s"
                time.sleep(0.05)  # between two tries, not instead of an event

    def enter_until_cut_off(self, limit_s: float) -> None:
        """Enter orders until the connection breaks. Fails when it is still there after `limit_s`."""
        connection, splitter = self.log_in(sequence=0)
        end_s = time.monotonic() + limit_s
        with contextlib.suppress(ConnectionError, TimeoutError):
            while time.monotonic() < end_s:
                frames = b"".join(self._next_order() for _ in range(20))
                connection.sendall(frames)
                data = connection.recv(RECEIVE_BYTES)
                if not data:
                    return
                self._remember(splitter, data)
            raise AssertionError(f"the engine still answers after {limit_s} s")

    def replayed(self) -> Counter[str]:
        """How often each token stands in an Accepted of the whole sequence, as the engine gives it now."""
        connection, splitter = self.log_in(sequence=1)
        seen: Counter[str] = Counter()
        missing = set(self.accepted)
        connection.settimeout(10)
        with contextlib.suppress(TimeoutError):
            while missing:
                for kind, payload in splitter.feed(connection.recv(RECEIVE_BYTES)):
                    token = accepted_token(kind, payload)
                    if token is not None:
                        seen[token] += 1
                        missing.discard(token)
        connection.close()
        return seen

    def cancel_all(self) -> Counter[str]:
        """Cancel every acknowledged order and count the Canceled messages by token, until each has one."""
        connection, splitter = self.log_in(sequence=0)
        cancels = (ouch.INBOUND.encode(ouch.CancelOrder(token)) for token in self.accepted)
        connection.sendall(b"".join(soupbintcp.unsequenced(message) for message in cancels))
        canceled: Counter[str] = Counter()
        connection.settimeout(10)
        with contextlib.suppress(TimeoutError):
            while len(canceled) < len(self.accepted):
                for kind, payload in splitter.feed(connection.recv(RECEIVE_BYTES)):
                    if kind == soupbintcp.SEQUENCED and payload[:1] == b"C":
                        canceled[ouch.OUTBOUND.decode(payload).token.strip()] += 1
        connection.close()
        return canceled

    def _next_order(self) -> bytes:
        token = f"{self.prefix}{self.entered:07d}"
        self.entered += 1
        order = ouch.EnterOrder(token, "B", 100, self.symbol, 950_000, ouch.TIF_SYSTEM_HOURS)
        return soupbintcp.unsequenced(ouch.INBOUND.encode(order))

    def _remember(self, splitter: soupbintcp.Splitter, data: bytes) -> None:
        for kind, payload in splitter.feed(data):
            token = accepted_token(kind, payload)
            if token is not None:
                self.accepted.append(token)
                self.acknowledged.set()


def accepted_token(kind: int, payload: bytes) -> str | None:
    """Return the token when this is a sequenced Accepted."""
    if kind != soupbintcp.SEQUENCED or payload[:1] != b"A":
        return None
    message = ouch.OUTBOUND.decode(payload)
    token: str = message.token.strip()
    return token
