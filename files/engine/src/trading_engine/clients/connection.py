"""The socket of one client. Reads and writes never block, and the queue of unsent bytes is bounded."""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable

from trading_engine.clients.session import Session


class Connection:
    """The connection of a client. `send` writes as many bytes as the kernel accepts, and queues the remaining bytes.

    If the queue is longer than `limit_bytes`, `send` returns False, and the client must be disconnected.
    """

    def __init__(
        self, loop: AbstractEventLoop, sock: socket.socket, address: str, now_ns: int, limit_bytes: int
    ) -> None:
        self.receive = sock.recvmsg
        self._transmit = sock.send
        self._sock = sock
        self.descriptor = sock.fileno()
        self.address = address
        self.awaits_proxy = False  # True until the proxy has sent the client's address
        self.session = Session(now_ns)
        self.account_name = ""
        self.messages_in = 0
        self.messages_out = 0
        self.catching_up = False
        self.next_number = 0
        self.closed = False
        self.checking = False
        self.waiting = False  # True while the login waits for the check of its password to begin
        self.queued_bytes = 0
        self.on_drained: Callable[[Connection], None] | None = None
        self._loop = loop
        self._limit_bytes = limit_bytes
        self._queue: list[bytes] = []

    def send(self, data: bytes, now_ns: int) -> bool:
        """Send or queue the bytes. Return False if the queue is now too long and the client must be disconnected.

        Raises OSError when the connection has failed.
        """
        self.session.sent_ns = now_ns
        if self._queue:
            self._queue.append(data)
            self.queued_bytes += len(data)
            return self.queued_bytes <= self._limit_bytes
        try:
            sent = self._transmit(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            self._queue.append(data[sent:])
            self.queued_bytes = len(data) - sent
            self._loop.add_writer(self.descriptor, self._drain)
        return True

    def _drain(self) -> None:
        data = b"".join(self._queue)
        try:
            sent = self._transmit(data)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._queue.clear()
            self._loop.remove_writer(self.descriptor)
            return  # the next read reports the end of the connection
        self._queue.clear()
        self.queued_bytes = len(data) - sent
        if self.queued_bytes:
            self._queue.append(data[sent:])
            return
        self._loop.remove_writer(self.descriptor)
        if self.on_drained is not None:
            self.on_drained(self)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self.descriptor)
            self._loop.remove_writer(self.descriptor)
            self._sock.close()
