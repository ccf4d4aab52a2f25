"""A connection on which anything can be sent, and on which whatever comes back has to be HTTP."""

from __future__ import annotations

import contextlib
import socket
from http.client import HTTPResponse, RemoteDisconnected
from typing import Self

DEADLINE_S = 20.0
NEXT_REQUEST = b"GET /api HTTP/1.1\r\nHost: next\r\nAuthorization: Bearer %s\r\n\r\n"


class Raw:
    """Every wait has a deadline: TimeoutError is a request that hangs."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, request: bytes) -> tuple[int, bool]:
        """Read all of the answer, of a stream its first line; return its status, and whether more can be asked here.

        Raises TimeoutError, or HTTPException for what is no HTTP.
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
"""Instead of a status, when the connection was closed without an answer: the request was not whole."""


def asked(port: int, token: str, request: bytes) -> tuple[int, int]:
    """Send the request, then ask for /api on its connection where that stays open; return both statuses.

    The second is 200 where nothing more can be asked. Raises TimeoutError for a request that hangs, or HTTPException.
    """
    status = following = GIVEN_UP
    with Raw(port) as connection, contextlib.suppress(RemoteDisconnected, ConnectionResetError):
        status, goes_on = connection.ask(request)
        following = connection.ask(NEXT_REQUEST % token.encode())[0] if goes_on else 200
    return status, following
