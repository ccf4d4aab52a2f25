"""Uvicorn's HTTP protocol, with limits that uvicorn does not have.

The limits are on the number of connections, the time for sending a request, and the size of a request's headers.
"""

import asyncio
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_CONNECTIONS = 256
HEAD_LIMIT_BYTES = 16 * 1024
REQUEST_TIMEOUT_S = 10.0
HEAD_END = b"\r\n\r\n"
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain\r\n"
    b"content-length: 16\r\nconnection: close\r\n\r\nheader too large"
)

logger = logging.getLogger("trading-telemetry")


class GuardedProtocol(HttpToolsProtocol):
    """One HTTP connection. A client that exceeds a limit is disconnected. Other connections are not affected."""

    _in_head = False
    _head_bytes = 0
    _head_tail = b""
    _request_timer: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            logger.warning("connection refused: %d are open", MAX_CONNECTIONS)
            transport.abort()
            return
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        if self._answering is not None and not self._answering.response_complete:
            # Uvicorn marks only the newest request as disconnected, but an older one may still be in progress.
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._request_timer is None and (self.cycle is None or self.cycle.response_complete):
            # Blank lines end uvicorn's keep-alive timeout although no request begins. So the request's timeout starts.
            self._expect_request()
        if self._in_head:
            # `data` may also hold the beginning of the body, or only a part of the four bytes that end the headers.
            piece = self._head_tail + data
            end = piece.find(HEAD_END)
            self._head_bytes += len(data) if end < 0 else end
            self._head_tail = piece[-len(HEAD_END) + 1 :]
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._in_time()
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._request_timer is None:
            self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_time()
        super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _expect_request(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._head_tail = b""
        self._request_timer = self.loop.call_later(REQUEST_TIMEOUT_S, self._too_slow)

    def _in_time(self) -> None:
        self._in_head = False
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _too_slow(self) -> None:
        self._request_timer = None
        self.transport.abort()
