"""An HTTP client for the telemetry of a host. The module `fleet` uses it to read /latest from each host.

A late, malformed or endless answer raises an exception. It neither blocks the caller nor fills the caller's memory.
"""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httptools

LIMIT_BYTES = 256 * 1024
"""The largest size of an answer. It is several times the size of the largest /latest that an engine can cause."""
MEANINGS = {401: "it asks for another token", 429: "it is asked too often"}


class UnansweredError(Exception):
    """The host gave no usable answer. The message says why."""


@dataclass(frozen=True)
class Source:
    """What is needed to connect to a host's telemetry: its URL, its token ("" for none), and its TLS context."""

    url: str
    token: str
    tls: ssl.SSLContext | None

    @asynccontextmanager
    async def asked(self) -> AsyncIterator["Connection"]:
        """Open a Connection to the host, yield it, and close it afterwards.

        The connection has no timeout of its own: the caller must set one.
        """
        connection = Connection(self)
        try:
            yield connection
        finally:
            connection.close()


class Connection:
    """An HTTP connection for successive requests. It connects again when the host has closed the connection."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> Any:
        """Return the JSON document at `path` on the host.

        Raises UnansweredError when there is no usable answer. The connection can be used again after that.
        """
        parts, token, tls = urlsplit(self._source.url), self._source.token, self._source.tls
        authorization = f"authorization: Bearer {token}\r\n" if token else ""
        request = f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\n{authorization}\r\n"
        keeps = False
        try:
            if self._streams is None:
                port = parts.port or (443 if tls else 80)
                self._streams = await asyncio.open_connection(parts.hostname, port, ssl=tls)
            reader, writer = self._streams
            writer.write(request.encode("ascii"))
            answer = await _answer(reader)
            keeps = answer.keeps_connection
        except OSError as error:  # ssl.SSLError is one
            raise UnansweredError(_said(error)) from error
        except UnicodeError as error:
            raise UnansweredError(f"{parts.hostname} is no name of a host") from error
        finally:
            if not keeps:
                self.close()
        return answer.document()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class _Answer:
    """The answer to a request. The HTTP parser calls the methods `on_…` while the answer arrives."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.whole = False
        self.keeps_connection = False
        self._body: list[bytes] = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.whole = True
        self.keeps_connection = self.parser.should_keep_alive()

    def document(self) -> Any:
        """Return the answer's body, decoded from JSON.

        Raises UnansweredError unless the status is 200 and the body is valid JSON.
        """
        if (status := self.parser.get_status_code()) != 200:
            raise UnansweredError(MEANINGS.get(status, f"it answers {status}"))
        try:
            return json.loads(b"".join(self._body), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise UnansweredError("its answer is no JSON") from error


async def _answer(reader: asyncio.StreamReader) -> _Answer:
    answer, left = _Answer(), LIMIT_BYTES
    while not answer.whole:
        data = await reader.read(1 << 16)
        left -= len(data)
        if not data:
            raise UnansweredError("it closed the connection before its answer was whole")
        if left < 0:
            raise UnansweredError(f"its answer is longer than {LIMIT_BYTES} bytes")
        try:
            answer.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise UnansweredError("what it answers is not HTTP") from error
    return answer


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {error.reason}"
    if isinstance(error, socket.gaierror) or not error.errno:
        return str(error.strerror or error)
    return os.strerror(error.errno).lower()
