"""A connection on which any bytes can be sent, and on which every answer has to be HTTP."""

from __future__ import annotations

import contextlib
import socket
from http.client import HTTPResponse, RemoteDisconnected
from typing import Self

DEADLINE_S = 60.0  # bounds a failure beside other lanes, and is no expectation of speed
NEXT_REQUEST = b"GET /api HTTP/1.1\r\nHost: next\r\nAuthorization: Bearer %s\r\n\r\n"


class Raw:
    """A raw connection. Every wait has a deadline: TimeoutError means that a request hangs."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> tuple[int, bool]:
        """Read the whole answer, of a stream its first line; return its status, and whether the connection stays open.

        Raises TimeoutError, or HTTPException for an answer that is not HTTP.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was whole
            self.socket.sendall(request)
        with HTTPResponse(self.socket, method=request.lstrip().split(b" ")[0].decode("latin-1")) as answer:
            answer.begin()
            if answer.getheader("content-type") == "text/event-stream" and answer.readline():
                return answer.status, False
            answer.read()
            return answer.status, not answer.will_close


GIVEN_UP = 0
"""The value in place of a status when the connection was closed without an answer: the request was incomplete."""


def asked(port: int, token: str, request: bytes) -> tuple[int, int]:
    """Send the request, then request /api on the same connection if it stays open; return both statuses.

    The second status is 200 if the connection does not stay open. Raises TimeoutError for a request that hangs, or
    HTTPException.
    """
    status = following = GIVEN_UP
    with Raw(port) as connection, contextlib.suppress(RemoteDisconnected, ConnectionResetError):
        status, goes_on = connection.ask(request)
        following = connection.ask(NEXT_REQUEST % token.encode())[0] if goes_on else 200
    return status, following
