"""Uvicorn's HTTP protocol with the limits that it lacks: connections, size and duration of a request's head."""

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_CONNECTIONS = 256
HEAD_LIMIT_BYTES = 16 * 1024
HEAD_TIMEOUT_S = 10.0
HEAD_END = b"\r\n\r\n"
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 16\r\nconnection: close\r\n\r\nheader too large"
)

logger = logging.getLogger("trading-telemetry")


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Whoever exceeds a limit is disconnected; nobody else notices."""

    _head_bytes = 0
    _head_tail = b""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            logger.warning("connection refused: %d are open", MAX_CONNECTIONS)
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is not None:
            # A body may come in the same piece, and the head's end in two.
            piece = self._head_tail + data
            end = piece.find(HEAD_END)
            self._head_bytes += len(data) if end < 0 else end
            self._head_tail = piece[-len(HEAD_END) + 1 :]
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._head_complete()
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_complete()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_tail = b""
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._too_slow)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        self.transport.abort()
