"""The generator's subscription to market data. It measures how long after the engine's reply the feed's message comes.

For each order it compares when the reply arrived and when the feed's message about the order arrived. Both times are
those at which the kernel of this host received the bytes. So they do not depend on when the generator reads them.
"""

import socket
import time
from contextlib import suppress

from trading_engine.host import timestamps
from trading_engine.wire import soupbintcp

from trading_bench.connection import BenchError, connect
from trading_bench.flow import RESTING, SLOTS_PER_CYCLE

RECEIVE_BYTES = 65536
_ADDED = b"AF"
_EXECUTED = ord("E")
_SILENT_NS = soupbintcp.HEARTBEAT_INTERVAL_NS


def stamped(sock: socket.socket) -> None:
    """Make the socket return the times at which the kernel received bytes, if the kernel supports that."""
    with suppress(OSError):
        timestamps.enable(sock)


def receive(sock: socket.socket) -> tuple[bytes, int]:
    """Return the bytes that a socket received, and when the kernel received the newest of them.

    The time is in nanoseconds since 1970. Raises OSError when the connection has failed.
    """
    data, ancillary, _, _ = sock.recvmsg(RECEIVE_BYTES, timestamps.ANCILLARY_BYTES)
    return data, timestamps.received_ns(ancillary) if ancillary else time.time_ns()


class Subscriber:
    """The generator's subscriber to market data.

    During the load it only stores the feed's messages. Afterwards it decodes them.
    """

    def __init__(self, host: str, port: int, account: str, password: str) -> None:
        """Log in to the feed. Raises BenchError when that fails."""
        self.socket, self._splitter = connect(host, port, account, password, "a feed of market data", "trading-feed")
        stamped(self.socket)
        self._where = f"{host}:{port}"
        self._pieces: list[tuple[bytes, int]] = []
        self._slot_of: dict[int, int] = {}
        self._replied_ns: dict[int, int] = {}
        self._engine_ns: dict[int, int] = {}
        self._shown_ns: dict[int, int] = {}
        self._expected = 0
        self._rested = 0
        self._sent_ns = time.monotonic_ns()

    def answered(self, slot: int, accepted: bytes, received_ns: int) -> None:
        """Record the engine's reply `accepted` to the order of a slot, and when the kernel received the reply."""
        self._slot_of[int.from_bytes(accepted[49:57], "big")] = slot
        self._replied_ns[slot] = received_ns
        self._engine_ns[slot] = int.from_bytes(accepted[1:9], "big")
        if slot % SLOTS_PER_CYCLE in RESTING:
            self._expected += 1

    def read(self) -> None:
        """Read and store messages that have arrived. Raises BenchError when the feed has closed the connection."""
        try:
            data, received_ns = receive(self.socket)
        except BlockingIOError:
            return
        except OSError as error:
            raise BenchError(f"the feed at {self._where} broke the connection: {error.strerror}") from error
        if not data:
            raise BenchError(f"the feed at {self._where} closed the connection; its log says why")
        self._pieces.append((data, received_ns))
        now_ns = time.monotonic_ns()
        if now_ns - self._sent_ns >= _SILENT_NS:
            self._sent_ns = now_ns
            with suppress(OSError):
                self.socket.send(soupbintcp.CLIENT_HEARTBEAT_PACKET)

    def missing(self) -> int:
        """Decode the stored messages. Return how many orders rest in the book and are in no stored message yet."""
        for data, received_ns in self._pieces:
            for kind, message in self._splitter.feed(data):
                if kind == soupbintcp.SEQUENCED:
                    self._message(message, received_ns)
        self._pieces.clear()
        return self._expected - self._rested

    def times(self, slot: int) -> tuple[int, int]:
        """Return two times for the order of a slot, in nanoseconds since 1970.

        The first is when the kernel received the engine's reply to the order. The second is when it received the feed's
        message about the order. A time is 0 if there was no such message.
        """
        return self._replied_ns.get(slot, 0), self._shown_ns.get(slot, 0)

    def close(self) -> None:
        self.socket.close()

    def _message(self, message: bytes, received_ns: int) -> None:
        kind = message[0]
        if kind in _ADDED:
            slot = self._slot_of.get(int.from_bytes(message[11:19], "big"))
            if slot is not None:
                self._shown_ns[slot] = received_ns
                self._rested += 1
        elif kind == _EXECUTED:
            # The order that was executed against the resting order is the next one of the cycle, if the message has
            # the time of that order's reply. The engine gives the same time to all messages that one read caused.
            taken = self._slot_of.get(int.from_bytes(message[11:19], "big"))
            if taken is not None and self._engine_ns.get(taken + 1) == int.from_bytes(message[5:11], "big"):
                self._shown_ns[taken + 1] = received_ns
