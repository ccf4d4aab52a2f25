"""Clients that misbehave are refused or disconnected, and other clients notice nothing."""

import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable

import httpx
import jsonschema
import pytest
from trading_telemetry import protocol, stream
from trading_telemetry.app import LINKS
from trading_telemetry.history import COLUMNS
from trading_telemetry.host import HostSample, sample_host
from trading_telemetry.openapi import DESCRIPTION

from tests.unit.telemetry.conftest import Publisher

Connect = Callable[[], socket.socket]


@pytest.fixture
def connect(client: httpx.Client, request: pytest.FixtureRequest) -> Connect:
    """Return a function that opens a connection to the service, on which a test can send any bytes.

    At the end of the test, all connections are closed.
    """

    def make() -> socket.socket:
        made = socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10)
        request.addfinalizer(made.close)
        return made

    return make


def received(connection: socket.socket) -> bytes:
    """Read until the service closes the connection. Return all bytes that were read."""
    parts = []
    try:
        while data := connection.recv(65536):
            parts.append(data)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_huge_headers_are_431(engine: Publisher, connect: Connect, client: httpx.Client) -> None:
    one = connect()
    one.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nx-fill: " + b"x" * 20_000)
    assert received(one).startswith(b"HTTP/1.1 431 ")
    assert client.get("/api").status_code == 200


def test_a_body_is_no_header_though_it_comes_in_the_same_piece(engine: Publisher, connect: Connect) -> None:
    one = connect()
    head = b"POST /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 60000\r\n\r\n"
    one.sendall(head + b"x" * 60_000)
    assert received(one).startswith(b"HTTP/1.1 404 ")


def test_what_is_not_http_is_400(engine: Publisher, connect: Connect) -> None:
    one = connect()
    one.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    assert received(one).startswith(b"HTTP/1.1 400 ")


def test_a_request_that_never_ends_is_given_up(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, connect: Connect, client: httpx.Client
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)
    slow, silent = connect(), connect()
    slow.sendall(b"GET /health HTTP/1.1\r\nhost:")
    assert received(slow) == received(silent) == b""
    assert client.get("/api").status_code == 200


def test_a_body_that_never_ends_is_given_up(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)
    one = connect()
    one.sendall(b"POST /nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n")
    with contextlib.suppress(ConnectionError):  # the service may disconnect between the two
        while one.recv(65536):
            one.sendall(b"x")  # slowly, until the service disconnects


def test_a_connection_with_nothing_but_blank_lines_is_given_up(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.2)
    one = connect()
    one.sendall(b"GET /api HTTP/1.1\r\nhost: x\r\n\r\n")
    assert one.recv(20).startswith(b"HTTP/1.1 200 ")
    one.sendall(b"\r\n")
    received(one)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading_telemetry.__main__.UNREAD_TIMEOUT_MS", 300)


@pytest.mark.usefixtures("impatient", "engine")
def test_who_takes_nothing_of_what_was_asked_for_is_given_up(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """When a client reads none of its answers, the service closes the connection after a limit.

    Without this limit, the kernel would keep the connection for ever.
    """
    client.get("/health")
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", client.base_url.port or 0))
        one.sendall(b"GET /static/uplot.js HTTP/1.1\r\nhost: x\r\n\r\n" * 200)
        end_s = time.monotonic() + 30
        while len(os.listdir("/proc/self/fd")) < before + 2:  # the client's and the service's
            assert time.monotonic() < end_s
        while len(os.listdir("/proc/self/fd")) > before + 1:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    client.get("/health")
    assert "Exception" not in caplog.text


def test_a_connection_that_asks_again_is_not_given_up(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, client: httpx.Client
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_TIMEOUT_S", 0.5)
    with client.stream("GET", "/stream") as answer:
        lines = answer.iter_lines()
        events = [next(line for line in lines if line.startswith("data: ")) for _ in range(2)]
    assert events[0] != events[1]


def test_one_thousand_connections_leave_room_for_nobody_but_harm_nothing(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, client: httpx.Client
) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 50)
    open_connections = [socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10) for _ in range(1000)]
    for connection in open_connections:
        connection.close()
    engine.publish()
    for _ in range(100):
        try:
            if client.get("/api").status_code == 200:
                return
        except httpx.TransportError:
            continue
    pytest.fail("the service does not answer any more")


def test_every_stream_gets_the_newest_document_and_the_limit_is_503(
    engine: Publisher, monkeypatch: pytest.MonkeyPatch, client: httpx.Client
) -> None:
    monkeypatch.setattr("trading_telemetry.app.MAX_CLIENTS", 1)
    with client.stream("GET", "/stream") as first:
        assert first.headers["content-type"] == "text/event-stream"
        lines = first.iter_lines()
        line = next(line for line in lines if line.startswith("data: "))
        assert json.loads(line.removeprefix("data: "))["schema"] == 1
        refused = client.get("/stream")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


@pytest.mark.usefixtures("engine")
def test_a_second_that_cannot_be_sampled_is_one_second(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def failing() -> HostSample:
        if failed.is_set():
            return sample_host()
        failed.set()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("trading_telemetry.service.sample_host", failing)
    assert failed.wait(10)
    with client.stream("GET", "/stream") as answer:
        assert next(answer.iter_lines()).startswith("data: ")


def test_streams_that_leave_without_a_word_leave_nothing_behind(
    engine: Publisher, client: httpx.Client, connect: Connect
) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    client.get("/health")
    before = descriptors()
    for _ in range(stream.MAX_CLIENTS * 2):
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0), 10) as leaving:
            leaving.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
            assert leaving.recv(20).startswith(b"HTTP/1.1 ")
    with client.stream("GET", "/stream") as answer:
        assert answer.status_code == 200
    assert descriptors() <= before + 8


@pytest.mark.usefixtures("engine")
def test_a_wrong_window_is_422_and_says_what_would_be_right(client: httpx.Client) -> None:
    for window in ("0", "3601", "-1", "1e3", "", "9" * 5000, "²"):
        answer = client.get("/history", params={"window": window})
        assert (window, answer.status_code) == (window, 422)
        assert "from 1 to 3600" in answer.json()["error"]


def test_history_has_every_column_at_the_same_length(engine: Publisher, client: httpx.Client) -> None:
    history = client.get("/history", params={"window": 10}).json()
    assert list(history) == list(COLUMNS)
    assert len({len(values) for values in history.values()}) == 1


def test_latest_is_what_the_api_description_says(engine: Publisher, client: httpx.Client) -> None:
    schema = client.get("/api").json()["paths"]["/latest"]["get"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(client.get("/latest").json(), schema["schema"])


def test_every_link_is_described() -> None:
    assert set(LINKS.values()) <= set(DESCRIPTION["paths"])
