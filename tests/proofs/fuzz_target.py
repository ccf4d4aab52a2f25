"""Gives libFuzzer's inputs to a gateway, the part of the engine that serves clients, through real sockets.

Usage: `python -m tests.proofs.fuzz_target FRAMES [libFuzzer's options] CORPUS`. When FRAMES frames were sent, it prints
counts as JSON. Its exit status is not 0 in four cases:
  - an exception
  - a failed engine
  - a connection that ends without a reason
  - a refused input that changes a book.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris
import uvloop

with atheris.instrument_imports(include=["trading_engine"]):
    from trading_engine.clients.connection import Connection
    from trading_engine.clients.gateway import READ_BYTES, Gateway
    from trading_engine.clients.login import Throttle
    from trading_engine.engine import Engine
    from trading_engine.machine.book import orders_of
    from trading_engine.published.garbage import Garbage
    from trading_engine.published.shm import StateWriter
    from trading_engine.published.stats import Stats
    from trading_engine.settings import config
    from trading_engine.settings.passwords import hash_password
    from trading_engine.wire import soupbintcp

_PASSWORD = "secret"
_HASH = hash_password(_PASSWORD)
# Most logins ask only for new messages. One login in eight asks for all messages of the session.
_LOGINS = [soupbintcp.login_request(("ANNA", "BERT")[kind % 2], _PASSWORD, "", kind // 7) for kind in range(8)]
_SIZES = {ord("O"): 48, ord("U"): 46, ord("X"): 18, ord("M"): 19, ord("N"): 14}
_LETTERS = b"OOOUXMN"
_FIRMS = (b"    ", b"    ", b"FIRM", b"FIRM", b"OTHR", b"ALIE")  # ALIE belongs to no known firm
_CHECK_EVERY = 200  # in one of this many inputs, compare the whole book after each frame
_TOKENS = 1000  # more than one input can use
_ORDERS = 3000  # after so many, start a new engine, because larger books test nothing more


class Target:
    """What libFuzzer tests. libFuzzer calls `run` for each input. One input becomes the connection of one client."""

    def __init__(self, frames: int, directory: Path) -> None:
        self._wanted = frames
        self._home = directory / "engine"
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(self._on_exception)
        self._broken: list[str] = []
        self.counts = dict.fromkeys(("inputs", "frames", "connections_ended", "rejected", "books_compared"), 0)
        self._begin()

    def _begin(self) -> None:
        home = self._home
        home.mkdir()
        (home / "engine.toml").write_text(
            '[journal]\ndirectory = "journal"\ndurability = "none"\n[itch]\ndirectory = "itch"\n'
            "[risk]\nmax_order_shares = 100000\nmax_open_orders = 0\n"
            '[firms]\ndefault = "FIRM"\n[firms.FIRM]\nmpids = ["FIRM", "OTHR"]\n'
            f'[accounts.ANNA]\npassword = "{_HASH}"\n[accounts.BERT]\npassword = "{_HASH}"\n'
            '[[symbol]]\nname = "A"\nreference_price = "100"\n'
            '[[symbol]]\nname = "B"\nreference_price = "100"\ntick = "0.02"\nlot = 100\n'
        )
        self._engine = Engine(config.read(home / "engine.toml"), self._loop)
        self._engine.lock()
        self._stats = Stats(StateWriter(home / "engine.shm", "fuzz", "none"))
        self._gateway = Gateway(self._engine, self._stats, Garbage(self._stats), self._loop)
        self._engine.start()
        self._gateway._login.checks.verifier.check(_HASH, _PASSWORD)  # fills the cache, so that logins need no hash

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        self._broken.append(str(context))

    def run(self, data: bytes) -> None:
        """Send one input to the gateway.

        Raises AssertionError when the gateway breaks a rule. After the wanted number of frames, print the counts and
        end the process.
        """
        chunks = said_by(data, self.counts["inputs"] * _TOKENS)
        checked = self.counts["inputs"] % _CHECK_EVERY == 0
        core = self._engine.core
        core.close_reason = ""
        ends = self._ends()
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self._gateway._login._throttle = Throttle()
        connection = Connection(self._loop, near, "192.0.2.1", 0, self._engine.config.slow_client_bytes)
        self._gateway._everybody.append(connection)
        for chunk in itertools.chain(*chunks) if checked else map(b"".join, chunks):
            for at in range(0, len(chunk), READ_BYTES):
                if not connection.closed:
                    far.send(chunk[at : at + READ_BYTES])
                    self._read(connection, checked)
                    with suppress(BlockingIOError):
                        far.recv(1 << 20)
        far.close()
        if connection.closed:
            counted = self._ends() > ends or core.close_reason == "logout"
            assert counted, "a connection was ended without a reason that is counted"
            self.counts["connections_ended"] += 1
        while not connection.closed:
            self._gateway.readable(connection)
            self._turn()
        assert not self._broken, self._broken
        assert not self._engine.failure, self._engine.failure
        self.counts["inputs"] += 1
        self.counts["frames"] += connection.messages_in + 1
        if core.accepted > _ORDERS or self.counts["frames"] >= self._wanted:
            self.counts["rejected"] += sum(core.rejects) + core.ignored
            self._engine.stop()
            self._stats.writer.close()
            shutil.rmtree(self._home)
            if self.counts["frames"] >= self._wanted:
                print(json.dumps(self.counts), flush=True)
                os._exit(0)
            self._begin()

    def _read(self, connection: Connection, checked: bool) -> None:
        before, changes = (_books(self._engine), self._changes()) if checked else ([], 0)
        self._gateway.readable(connection)
        self._turn()
        if checked and self._changes() == changes:
            assert _books(self._engine) == before, "refused input changed a book"
            self.counts["books_compared"] += 1

    def _changes(self) -> int:
        core = self._engine.core
        return core.accepted + core.replaced + core.canceled + core.executions + core.modifies

    def _turn(self) -> None:
        self._engine.tick()
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()

    def _ends(self) -> int:
        stats = self._stats
        return stats.dropped_malformed_input + stats.logins_rejected


def said_by(data: bytes, serial: int) -> list[list[bytes]]:
    """Turn an input of libFuzzer into what a client sends: one list of frames for each read of the gateway.

    Every byte string is a valid input, because its bytes select kinds of frames and values of fields. A damaged frame
    would end the connection, so libFuzzer's changes affect fields more often than frames. The tokens of orders are
    numbered from `serial` on.
    """
    first = data[0] if data else 0
    chunks: list[list[bytes]] = [[] if first > 240 else [_LOGINS[first % 8]]]
    at = 1
    while at < len(data):
        kind = data[at]
        at += 1
        if kind < 240:
            letter = _LETTERS[kind % len(_LETTERS)]
            size = _SIZES[letter]
            body = data[at : at + size].ljust(size, b" ")
            if kind < 220:
                body = _plausible(letter, body, serial)
                serial += 1
            at += 8 if kind < 220 else size
            chunks[-1].append(soupbintcp.unsequenced(bytes((letter,)) + body))
        elif kind < 246:
            chunks[-1].append(soupbintcp.CLIENT_HEARTBEAT_PACKET)
        elif kind < 254:
            chunks.append([])
        else:
            size = data[at] % 32 if at < len(data) else 0
            packet = data[at + 1 : at + 1 + size]
            chunks[-1].append(size.to_bytes(2, "big") + packet if kind == 254 else packet)
            at += 1 + size
    return chunks


def _plausible(letter: int, body: bytes, serial: int) -> bytes:
    """Return a message's body with usual values, so that orders match each other. `body` selects the values."""
    old, new = b"T%013d" % max(0, serial - 1 - body[0] % 8), b"T%013d" % serial
    shares = (100, 200, 300, 301)[body[2] % 4].to_bytes(4, "big")
    price = (1_000_000 + (body[3] % 8 - 4) * 100).to_bytes(4, "big")
    lasts = (0, 1, 99_998, 99_998, 99_999, 99_999)[body[4] % 6].to_bytes(4, "big")
    display, side = b"YANPL"[body[4] // 8 % 5 :][:1], b"BSTE"[body[5] % 4 :][:1]
    minimum = (0, 0, 0, 100)[body[5] // 4 % 4].to_bytes(4, "big")
    if letter == 79:  # O
        stock = b"AB"[body[6] % 2 :][:1].ljust(8)
        firm = _FIRMS[body[6] // 2 % len(_FIRMS)]
        return new + side + shares + stock + price + lasts + firm + display + b"PY" + minimum + b"NN"
    if letter == 85:  # U
        return old + new + shares + price + lasts + display + b"Y" + minimum
    if letter == 88:  # X
        return old + (b"\0\0\0\0" if body[2] % 2 else shares)
    return old + side + shares if letter == 77 else old


def _books(engine: Engine) -> list[tuple[int, int]]:
    """Return the reference number and the open shares of each resting order of the engine."""
    sides = [side for book in engine.core.books.values() for side in (book.bids, book.asks)]
    return [(order.reference, order.open_shares) for side in sides for order in orders_of(side)]


def main() -> None:
    frames = int(sys.argv.pop(1))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        target = Target(frames, Path(name))
        atheris.Setup(sys.argv, target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
