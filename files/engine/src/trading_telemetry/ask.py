"""One question to a host's telemetry, whose answer may be late, broken or endless without harming who asks."""

import asyncio
import json
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httptools

LIMIT_BYTES = 1 << 20
MEANINGS = {401: "it asks for another token", 429: "it is asked too often"}


class UnansweredError(Exception):
    """The message says why there is no answer that can be used."""


@dataclass(frozen=True)
class Source:
    """Where a host's telemetry answers, and what it asks for."""

    url: str
    token: str
    tls: ssl.SSLContext | None

    async def get(self, path: str) -> Any:
        """Return the JSON document of that path; raises UnansweredError. How long that may take is for the caller."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if self.tls else 80)
        authorization = f"authorization: Bearer {self.token}\r\n" if self.token else ""
        request = f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\n{authorization}connection: close\r\n\r\n"
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=self.tls)
            try:
                writer.write(request.encode("ascii"))
                answer = await _answer(reader)
            finally:
                writer.transport.abort()
        except OSError as error:  # of TLS as well
            raise UnansweredError(_said(error)) from error
        except UnicodeError as error:
            raise UnansweredError(f"{parts.hostname} is no name of a host") from error
        return answer.document()


class _Answer:
    """Called by the parser as the answer comes."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.whole = False
        self._body: list[bytes] = []

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.whole = True

    def document(self) -> Any:
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
