"""A TLS proxy in front of the engine sends a header before a client's bytes.

The header tells the engine the client's address. The tests check valid headers and the effect of invalid ones. They
also check by which address the engine limits failed logins.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trading_engine.published.shm import StateReader
from trading_engine.settings.config import read
from trading_engine.settings.tables import ConfigError
from trading_engine.wire import proxied, soupbintcp
from trading_engine.wire.layout import WireError

from tests.unit.engine.process import DEADLINE_S, PASSWORD, EngineProcess, free_port
from tests.unit.engine.test_numbers import FAILED_LOGINS

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
PORTS = st.integers(0, 65_535)
REFUSED = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 9011 \r\n",
    b"PROXY TCP4 203.0.113.7  198.51.100.1 40000 9011\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 65536\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 -1 9011\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 \xb2 9011\r\n",
    b"PROXY TCP4 203.0.113.07 198.51.100.1 40000 9011\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 9011\r\n",
    b"PROXY TCP6 203.0.113.7 198.51.100.1 40000 9011\r\n",
    b"PROXY TCP6 fe80::7%ens5 fe80::1 40000 9011\r\n",
    b"PROXY TCP4 localhost 198.51.100.1 40000 9011\r\n",
    b"PROXY TCP4 203.0.113.7 198.51.100.1 40000 9011\n".ljust(proxied.LONGEST_BYTES),
    b"\r\n\r\n\0\r\nQUIT\n",
    b"proxy TCP4",
]


def header(client: object = "203.0.113.7", port: int = 40000) -> bytes:
    family, own = ("TCP6", "2001:db8::1") if ":" in str(client) else ("TCP4", "198.51.100.1")
    return f"PROXY {family} {client} {own} {port} 9011\r\n".encode()


@given(ADDRESSES, PORTS, st.binary(max_size=300), st.integers(0, 120))
def test_a_header_names_its_client_in_whatever_pieces_it_arrives(
    client: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rest: bytes, cut: int
) -> None:
    line = header(client, port)
    plain = (client.ipv4_mapped if client.version == 6 else None) or client
    assert proxied.split(line + rest) == (str(plain), rest)
    piece = line[: min(cut, len(line) - 1)]
    assert proxied.split(piece) is None


@settings(max_examples=1000)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"PROXY TCP4 " + tail)))
@example(b"PROXY TCP4 " + b"1" * 96)
def test_anything_else_is_refused_or_not_whole_yet_and_never_longer_than_a_header(data: bytes) -> None:
    try:
        named = proxied.split(data)
    except WireError:
        return
    if named is None:
        assert len(data) < proxied.LONGEST_BYTES
        assert data.startswith(b"PROXY TCP"[: len(data)])
    else:
        ipaddress.ip_address(named[0])


@pytest.mark.parametrize("line", REFUSED)
def test_a_line_that_is_no_header_is_refused(line: bytes) -> None:
    with pytest.raises(WireError):
        proxied.split(line)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(tmp_path, order_entry={"proxy_port": free_port()}) as running:
        yield running


def answer(engine: EngineProcess, *pieces: bytes, clear: bool = False) -> bytes:
    """Send these pieces of bytes on a new connection and return the engine's answer.

    The answer is empty when the engine only disconnects. With `clear`, connect to the port for clients. Without it,
    connect to the port for the proxy.
    """
    port = engine.port if clear else read(engine.config).order_entry.proxy_port
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                sock.sendall(piece)
            return sock.recv(33, socket.MSG_WAITALL)
        except ConnectionError:
            return b""


def test_the_throttle_counts_the_client_that_the_proxy_names(engine: EngineProcess) -> None:
    right, wrong = (soupbintcp.login_request("ANNA", password) for password in (PASSWORD, "wrong"))
    for _ in range(FAILED_LOGINS):
        assert answer(engine, header("203.0.113.7"), wrong)[2] == soupbintcp.LOGIN_REJECTED
    assert answer(engine, header("203.0.113.7"), right)[2] == soupbintcp.LOGIN_REJECTED
    assert answer(engine, header("::ffff:203.0.113.7"), right)[2] == soupbintcp.LOGIN_REJECTED
    assert answer(engine, header("203.0.113.8") + right)[2] == soupbintcp.LOGIN_ACCEPTED
    assert answer(engine, right, clear=True)[2] == soupbintcp.LOGIN_ACCEPTED
    reader = StateReader(engine.directory / "engine.shm")
    end_s = time.monotonic() + DEADLINE_S
    while not any("from 203.0.113.7 rejected" in event.text for event in reader.read().events):
        assert time.monotonic() < end_s
    reader.close()


def test_without_a_header_or_with_garbage_the_connection_ends_without_an_answer(engine: EngineProcess) -> None:
    right = soupbintcp.login_request("ANNA", PASSWORD)
    assert answer(engine, right) == b""
    assert answer(engine, b"PROXY TCP4 " + b"1" * 96) == b""
    assert answer(engine, b"PROXY TCP4 nobody nowhere 1 1\r\n" + right) == b""
    assert answer(engine, header(), header(), right) == b""
    assert answer(engine, header() + right, clear=True) == b""  # only a proxy may send a header
    assert answer(engine, *(bytes([byte]) for byte in header() + right))[2] == soupbintcp.LOGIN_ACCEPTED


def test_the_proxy_s_listener_is_reached_from_this_host_only(engine: EngineProcess) -> None:
    port = read(engine.config).order_entry.proxy_port
    listening = Path("/proc/net/tcp").read_text(encoding="ascii").split()
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening


@pytest.mark.parametrize(("value", "said"), [(-1, "proxy_port"), (65_536, "proxy_port"), (9001, "another port")])
def test_a_proxy_port_that_cannot_be_is_refused(tmp_path: Path, value: int, said: str) -> None:
    config = EngineProcess(tmp_path, order_entry={"port": 9001, "proxy_port": value}).config
    with pytest.raises(ConfigError, match=said):
        read(config)
