"""A connection to telemetry on which a test can send any bytes. Every answer of telemetry must be HTTP."""

from __future__ import annotations

import contextlib
import socket
from http.client import HTTPResponse, RemoteDisconnected
from typing import Self

DEADLINE_S = 60.0  # long, because other tests may run at the same time
NEXT_REQUEST = b"GET /api HTTP/1.1\r\nHost: next\r\nAuthorization: Bearer %s\r\n\r\n"


class Raw:
    """A connection on which any bytes can be sent.

    Every wait has a deadline, after which it raises TimeoutError.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> tuple[int, bool]:
        """Send the request and read the answer. Return the status, and whether the connection stays open.

        When the answer is a stream, only its first line is read. Raises TimeoutError after a deadline. Raises
        HTTPException for an answer that is not HTTP.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the service refused an incomplete request
            self.socket.sendall(request)
        with HTTPResponse(self.socket, method=request.lstrip().split(b" ")[0].decode("latin-1")) as answer:
            answer.begin()
            if answer.getheader("content-type") == "text/event-stream" and answer.readline():
                return answer.status, False
            answer.read()
            return answer.status, not answer.will_close


GIVEN_UP = 0
"""Stands for the status when the service closed the connection without an answer, as for an incomplete request."""


def asked(port: int, token: str, request: bytes) -> tuple[int, int]:
    """Send the request, and then a request for /api on the same connection. Return the status of both answers.

    If the connection does not stay open after the first answer, the second status is 200. Raise TimeoutError for a
    request that hangs. Raise HTTPException for an answer that is not HTTP.
    """
    status = following = GIVEN_UP
    with Raw(port) as connection, contextlib.suppress(RemoteDisconnected, ConnectionResetError):
        status, goes_on = connection.ask(request)
        following = connection.ask(NEXT_REQUEST % token.encode())[0] if goes_on else 200
    return status, following
