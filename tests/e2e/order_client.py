"""A trader that remembers what the engine acknowledged."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter

from trading_engine.host.runs import run_prefix
from trading_engine.wire import ouch, soupbintcp

ACCOUNT, SYMBOL, ORDER_ENTRY_PORT = "BENCH", "TEST", 9001
RECEIVE_BYTES = 65536
LIVE = 0
ANSWER_LIMIT_S = 10
LOGIN_LIMIT_S = 30


class Link:
    """A logged-in order-entry connection. `next_number` is the number of its first sequenced message."""

    def __init__(self, address: str, password: str, sequence: int) -> None:
        """Raises OSError when the engine does not run, AssertionError when it refuses the login."""
        self.connection = socket.create_connection((address, ORDER_ENTRY_PORT), ANSWER_LIMIT_S)
        self._splitter = soupbintcp.Splitter()
        try:
            self.connection.sendall(soupbintcp.login_request(ACCOUNT, password, sequence=sequence))
            (kind, payload), *self._pending = self.packets()
            assert kind == soupbintcp.LOGIN_ACCEPTED, f"login refused: {payload!r}"
            self.next_number = soupbintcp.parse_login_accepted(payload).sequence
        except BaseException:
            self.connection.close()
            raise

    def packets(self) -> list[tuple[int, bytes]]:
        """Return at least one packet.

        Raises ConnectionError when the engine has ended, TimeoutError when it is silent.
        """
        packets: list[tuple[int, bytes]] = []
        while not packets:
            data = self.connection.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("the engine closed the connection")
            packets = self._splitter.feed(data)
        return packets

    def sequenced(self) -> list[bytes]:
        """Return the next sequenced messages; none if only heartbeats came."""
        packets, self._pending = self._pending or self.packets(), []
        return [payload for kind, payload in packets if kind == soupbintcp.SEQUENCED]


class OrderClient:
    """A client that enters resting orders without waiting in between, and keeps the tokens of the accepted ones."""

    def __init__(self, address: str, password: str) -> None:
        self.address, self.password = address, password
        self.prefix = run_prefix().decode("ascii")
        self.entered = 0
        self.first_number = 0
        self.accepted: list[str] = []
        self.acknowledged = threading.Event()

    def enter_until_cut_off(self, limit_s: float) -> None:
        """Enter orders until the connection breaks. Fails when it is still there after `limit_s`."""
        link = self._log_in(LIVE)
        self.first_number = link.next_number
        end_s = time.monotonic() + limit_s
        with contextlib.closing(link.connection), contextlib.suppress(ConnectionError):
            while time.monotonic() < end_s:
                link.connection.sendall(b"".join(self._next_order() for _ in range(20)))
                self.accepted += tokens(link.sequenced(), b"A")
                if self.accepted:
                    self.acknowledged.set()
            raise AssertionError(f"the engine still answers after {limit_s} s")

    def replayed(self) -> Counter[str]:
        """Return how often each token occurs in an Accepted when the engine repeats the session now."""
        return self._count(self._log_in(self.first_number), b"A")

    def cancel_all(self) -> Counter[str]:
        """Cancel every acknowledged order and count the Canceled messages by token, until each has one."""
        link = self._log_in(LIVE)
        cancels = (ouch.INBOUND.encode(ouch.CancelOrder(token)) for token in self.accepted)
        link.connection.sendall(b"".join(soupbintcp.unsequenced(message) for message in cancels))
        return self._count(link, b"C")

    def _log_in(self, sequence: int) -> Link:
        """Log in; try again until the engine runs."""
        end_s = time.monotonic() + LOGIN_LIMIT_S
        while True:
            try:
                return Link(self.address, self.password, sequence)
            except OSError as error:
                if time.monotonic() > end_s:
                    raise AssertionError(f"no order entry within {LOGIN_LIMIT_S} s") from error
                time.sleep(0.05)  # between two tries, not instead of an event

    def _count(self, link: Link, kind: bytes) -> Counter[str]:
        """Count the tokens in messages of this kind, until every acknowledged one was seen or the limit is over."""
        seen: Counter[str] = Counter()
        missing = set(self.accepted)
        end_s = time.monotonic() + ANSWER_LIMIT_S
        with contextlib.closing(link.connection):
            while missing and time.monotonic() < end_s:
                found = tokens(link.sequenced(), kind)
                seen.update(found)
                missing -= set(found)
        return seen

    def _next_order(self) -> bytes:
        token = f"{self.prefix}{self.entered:07d}"
        self.entered += 1
        order = ouch.EnterOrder(token, "B", 100, SYMBOL, 950_000, ouch.TIF_SYSTEM_HOURS)
        return soupbintcp.unsequenced(ouch.INBOUND.encode(order))


def tokens(messages: list[bytes], kind: bytes) -> list[str]:
    """Return the tokens of the messages of one type."""
    return [ouch.OUTBOUND.decode(message).token.strip() for message in messages if message[:1] == kind]
