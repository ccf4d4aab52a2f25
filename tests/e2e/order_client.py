"""A client that enters orders and remembers which of them the engine has accepted."""

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
    """A connection to order entry after its login. `next_number` is the number of its first sequenced message."""

    def __init__(self, address: str, password: str, sequence: int) -> None:
        """Connect and log in.

        Raises OSError when the engine does not run. Raises AssertionError when the engine refuses the login.
        """
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
        """Wait for packets and return them. There is at least one.

        Raises ConnectionError when the engine closes the connection, and TimeoutError when the engine sends nothing.
        """
        packets: list[tuple[int, bytes]] = []
        while not packets:
            data = self.connection.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionError("the engine closed the connection")
            packets = self._splitter.feed(data)
        return packets

    def sequenced(self) -> list[bytes]:
        """Return the next sequenced messages. The list is empty when only heartbeats arrived."""
        packets, self._pending = self._pending or self.packets(), []
        return [payload for kind, payload in packets if kind == soupbintcp.SEQUENCED]


class OrderClient:
    """A client that enters resting orders without pauses, and stores the tokens of those that the engine accepts."""

    def __init__(self, address: str, password: str) -> None:
        self.address, self.password = address, password
        self.prefix = run_prefix().decode("ascii")
        self.entered = 0
        self.first_number = 0
        self.accepted: list[str] = []
        self.acknowledged = threading.Event()

    def enter_until_cut_off(self, limit_s: float) -> None:
        """Enter orders until the connection breaks.

        Raises AssertionError if the connection still works after `limit_s` seconds.
        """
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
        """Let the engine send the session's messages again.

        Return for each token how many Accepted messages have it.
        """
        return self._count(self._log_in(self.first_number), b"A")

    def cancel_all(self) -> Counter[str]:
        """Cancel every accepted order. Return for each token how many Canceled messages have it."""
        link = self._log_in(LIVE)
        cancels = (ouch.INBOUND.encode(ouch.CancelOrder(token)) for token in self.accepted)
        link.connection.sendall(b"".join(soupbintcp.unsequenced(message) for message in cancels))
        return self._count(link, b"C")

    def _log_in(self, sequence: int) -> Link:
        """Log in. While the engine does not run yet, retry until a time limit."""
        end_s = time.monotonic() + LOGIN_LIMIT_S
        while True:
            try:
                return Link(self.address, self.password, sequence)
            except OSError as error:
                if time.monotonic() > end_s:
                    raise AssertionError(f"no order entry within {LOGIN_LIMIT_S} s") from error
                time.sleep(0.05)  # between two tries, not instead of an event

    def _count(self, link: Link, kind: bytes) -> Counter[str]:
        """Count messages of this kind by token. Stop when each accepted order has one, or after a time limit."""
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
    """Return the tokens of those messages that are of this kind."""
    return [ouch.OUTBOUND.decode(message).token.strip() for message in messages if message[:1] == kind]
