"""A client on the trading host.

client.py survive       trade, kill the engine under way, and check that every acknowledged order is still known
client.py hold SECONDS  stay connected
client.py rest          leave one order in the book and print its token
client.py known TOKEN   check that this order is still there, by cancelling it
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from trading_engine.wire import ouch, soupbintcp

PORT = 9001
LIVE = 0  # the requested sequence number that means: only what comes from now on
KILL_AFTER_ORDERS = 2_000
ORDERS_A_WRITE = 10


class Client:
    """One logged-in session. `received` holds its sequenced messages, `next_sequence` the number of the first one."""

    def __init__(self, account: str, session: str, sequence: int) -> None:
        password = Path(f"/etc/trading/secrets/{account}.password").read_text(encoding="ascii").strip()
        self.received: list[bytes] = []
        self.session, self.next_sequence = "", 0
        self._splitter = soupbintcp.Splitter()
        self._socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        self._socket.sendall(soupbintcp.login_request(account, password, session, sequence))
        while not self.session:
            self.receive()

    def receive(self) -> None:
        """Read once; raises ConnectionError when the engine is gone."""
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the engine closed the connection")
        for kind, payload in self._splitter.feed(data):
            if kind == soupbintcp.LOGIN_REJECTED:
                sys.exit(f"login rejected: {payload!r}")
            if kind == soupbintcp.LOGIN_ACCEPTED:
                self.session, self.next_sequence = soupbintcp.parse_login_accepted(payload)
            if kind == soupbintcp.SEQUENCED:
                self.received.append(payload)

    def send(self, *messages: bytes) -> None:
        self._socket.sendall(b"".join(soupbintcp.unsequenced(message) for message in messages))

    def heartbeat(self) -> None:
        self._socket.sendall(soupbintcp.CLIENT_HEARTBEAT_PACKET)


def log_in(account: str, session: str = "", sequence: int = LIVE) -> Client:
    """Log in as soon as an engine answers, within a minute. A dying engine may still accept the connection."""
    give_up_s = time.monotonic() + 60
    while True:
        try:
            return Client(account, session, sequence)
        except ConnectionError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.05)


def order(number: int) -> bytes:
    """Return an order that rests: it buys far below any price."""
    token = f"{time.time_ns() // 1000 % 10**10:010d}{number % 10_000:04d}"
    message = ouch.EnterOrder(token=token, side="B", shares=100, stock="TEST", price_e4=10_000)
    return bytes(ouch.INBOUND.encode(message))


def survive() -> None:
    """Exit with a message unless every message acknowledged before the kill is repeated after it, byte for byte."""
    before = log_in("KILL")
    session, first = before.session, before.next_sequence
    sent = 0
    killed = False
    try:
        while True:
            before.send(*(order(sent + offset) for offset in range(ORDERS_A_WRITE)))
            sent += ORDERS_A_WRITE
            before.receive()
            if len(before.received) >= KILL_AFTER_ORDERS and not killed:
                subprocess.run(["systemctl", "kill", "--signal=KILL", "trading-engine.service"], check=True)
                killed = True
    except ConnectionError:
        if not killed:
            sys.exit("the engine broke the connection before it was killed")
    acknowledged = before.received

    after = log_in("KILL", session, first)
    while len(after.received) < len(acknowledged):
        after.receive()
    same = after.received[: len(acknowledged)] == acknowledged
    tokens = [ouch.OUTBOUND.decode(message).token for message in after.received]
    after.send(*(bytes(ouch.INBOUND.encode(ouch.CancelOrder(token))) for token in tokens))
    if not same:
        sys.exit("what the engine says after the restart differs from what it had acknowledged")
    print(f"{len(acknowledged)} acknowledged orders are still known")


def hold(seconds: float) -> None:
    """Stay connected like a customer; the first line of output confirms that the session is open."""
    client = log_in("REAL")
    print("connected", flush=True)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        client.heartbeat()
        time.sleep(0.5)


def rest() -> None:
    client = log_in("KILL")
    client.send(order(0))
    while not client.received:
        client.receive()
    print(ouch.OUTBOUND.decode(client.received[0]).token)


def known(token: str) -> None:
    client = log_in("KILL")
    client.send(bytes(ouch.INBOUND.encode(ouch.CancelOrder(token))))
    while not client.received:  # an unknown token has no answer: the connection's time limit ends the wait
        client.receive()
    canceled = ouch.OUTBOUND.decode(client.received[0])
    if not isinstance(canceled, ouch.Canceled) or canceled.decrement_shares != 100:
        sys.exit(f"the engine answered {canceled} to the cancel of {token}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["survive"]:
            survive()
        case ["hold", seconds]:
            hold(float(seconds))
        case ["rest"]:
            rest()
        case ["known", token]:
            known(token)
        case _:
            sys.exit(__doc__)
