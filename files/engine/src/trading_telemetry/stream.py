"""The server-sent events of /stream. Every client gets the newest document; older documents are never queued."""

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send

MAX_CLIENTS = 64
SEND_TIMEOUT_S = 10.0
HEARTBEAT_S = 5.0
HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Broadcast:
    """The newest document for /stream, its number, and the number of clients that follow it."""

    def __init__(self) -> None:
        self.clients = 0
        self._document = b""
        self.number = 0
        self._renewed = asyncio.Event()

    def publish(self, document: bytes) -> None:
        """Make `document` the newest document. It must not contain a line break.

        A client that has not yet fetched the previous document will not get that document any more.
        """
        self._document = document
        self.number += 1
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def after(self, number: int) -> tuple[int, bytes]:
        """Wait for a document whose number differs from `number`. Return the newest document with its number.

        Raises TimeoutError if there is no such document within HEARTBEAT_S seconds.
        """
        if self.number == number:
            # In Python 3.11, asyncio.wait_for() loses a cancellation that comes at the same time as the document.
            async with asyncio.timeout(HEARTBEAT_S):
                await self._renewed.wait()
        return self.number, self._document


class EventStream:
    """The ASGI application that answers /stream.

    A client that reads nothing for SEND_TIMEOUT_S seconds is disconnected.
    """

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body"})
            return
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        self._broadcast.clients += 1
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._broadcast.clients -= 1
            for task in (sending, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                    await task

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        number = self._broadcast.number
        while True:
            try:
                number, document = await self._broadcast.after(number)
                chunk = b"data: " + document + b"\n\n"
            except TimeoutError:
                chunk = b": still here\n\n"
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
