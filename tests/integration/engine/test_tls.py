"""The engine and the feed behind stunnel, a program that adds TLS to their connections.

stunnel is the distribution's program, with the configuration that the role writes.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, StrictUndefined
from trading_engine.wire import ouch, soupbintcp

from tests.tls import Pair, made
from tests.unit.engine.process import DEADLINE_S, PASSWORD, EngineProcess, free_port
from tests.unit.engine.test_numbers import FAILED_LOGINS

TEMPLATE = Path(__file__).parents[3] / "roles/trading_engine/templates/etc/trading/tls/stunnel.conf.j2"
RIGHT, WRONG = (soupbintcp.login_request("ANNA", password, sequence=0) for password in (PASSWORD, "wrong"))


@dataclass(frozen=True)
class Proxied:
    """An engine and its feed behind stunnel, and the certificate authority that clients trust."""

    ports: dict[str, int]
    authority: Pair
    folder: Path

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.certificate_pem)

    @contextmanager
    def connected(
        self, service: str = "orders", source: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> Iterator[ssl.SSLSocket]:
        raw = socket.create_connection(("127.0.0.1", self.ports[service]), DEADLINE_S, (source, 0))
        with (context or self.context()).wrap_socket(raw, server_hostname="127.0.0.1") as secure:
            yield secure

    def answer(self, data: bytes, **where: Any) -> int:
        """Connect through stunnel, send these bytes, and return the type of the first packet of the answer."""
        with self.connected(**where) as secure:
            secure.sendall(data)
            return secure.recv(3)[2]


def configuration(folder: Path, ports: dict[str, int], proxied: dict[str, int], client_ca: str) -> Path:
    """Write stunnel's configuration as the role does, and return its path.

    In this configuration, the directory `folder` replaces the host's paths.
    """
    template = Environment(undefined=StrictUndefined, autoescape=False).from_string(TEMPLATE.read_text())  # noqa: S701
    text = template.render(
        __trading_engine_tls_material={"client_ca": client_ca},
        __trading_engine_tls_ports=ports,
        __trading_engine_proxy_ports=proxied,
        trading_engine_address="127.0.0.1",
    )
    for place in ("/etc/trading/tls", "/run/credentials/trading-tls.service"):
        text = text.replace(place, str(folder))
    path = folder / "stunnel.conf"
    path.write_text(text)
    return path


@contextmanager
def behind_stunnel(folder: Path, client_ca: Pair | None = None) -> Iterator[Proxied]:
    authority = made("authority")
    pair = made("server", authority)
    (folder / "certificate.pem").write_text(pair.certificate_pem)
    (folder / "key.pem").touch(mode=0o600)
    (folder / "key.pem").write_text(pair.key_pem)
    if client_ca:
        (folder / "client_ca.pem").write_text(client_ca.certificate_pem)
    ports = {service: free_port() for service in ("orders", "feed")}
    proxied = {service: free_port() for service in ports}
    market_data = {"port": free_port(), "proxy_port": proxied["feed"]}
    engine = EngineProcess(folder, order_entry={"proxy_port": proxied["orders"]}, market_data=market_data)
    config = configuration(folder, ports, proxied, client_ca.certificate_pem if client_ca else "")
    with engine:
        feed = subprocess.Popen([sys.executable, "-m", "trading_feed", "--config", engine.config])
        stunnel = subprocess.Popen(["stunnel4", config], stderr=subprocess.DEVNULL)
        try:
            for port in [*ports.values(), *proxied.values()]:
                _wait_for(port)
            yield Proxied(ports, authority, folder)
        finally:
            for process in (stunnel, feed):
                process.terminate()
                process.wait(DEADLINE_S)


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
        except ConnectionError:
            assert time.monotonic() < end_s, f"nothing listens on port {port}"
        else:
            return


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with behind_stunnel(tmp_path_factory.mktemp("tls")) as made_of:
        yield made_of


def test_an_order_is_answered_in_tls(proxied: Proxied) -> None:
    with proxied.connected() as secure:
        assert secure.version() == "TLSv1.3"
        secure.sendall(RIGHT)
        order = ouch.EnterOrder("one", "B", 100, "TEST", 1_000_000)
        secure.sendall(soupbintcp.unsequenced(ouch.INBOUND.encode(order)))
        splitter = soupbintcp.Splitter()
        packets: list[tuple[int, bytes]] = []
        while not any(kind == soupbintcp.SEQUENCED for kind, _ in packets):
            data = secure.recv(4096)
            assert data, packets
            packets += splitter.feed(data)
    (answered,) = (payload for kind, payload in packets if kind == soupbintcp.SEQUENCED)
    assert answered[:1] == b"A"


def test_market_data_is_served_in_tls(proxied: Proxied) -> None:
    assert proxied.answer(RIGHT, service="feed") == soupbintcp.LOGIN_ACCEPTED
    assert proxied.answer(WRONG, service="feed") == soupbintcp.LOGIN_REJECTED


def test_one_stranger_throttles_itself_and_nobody_else(proxied: Proxied) -> None:
    for _ in range(FAILED_LOGINS):
        assert proxied.answer(WRONG, source="127.0.0.66") == soupbintcp.LOGIN_REJECTED
    assert proxied.answer(RIGHT, source="127.0.0.66") == soupbintcp.LOGIN_REJECTED
    assert proxied.answer(RIGHT, source="127.0.0.67") == soupbintcp.LOGIN_ACCEPTED


def test_an_older_version_of_tls_and_clear_text_are_refused(proxied: Proxied) -> None:
    older = proxied.context()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), proxied.connected(context=older):
        pass
    with socket.create_connection(("127.0.0.1", proxied.ports["orders"]), DEADLINE_S) as clear:
        clear.sendall(RIGHT)
        with contextlib.suppress(ConnectionError):
            said = clear.recv(4096)
            assert said[:1] in (b"", b"\x15"), "more than nothing, or TLS's alert"


def test_with_an_authority_of_clients_nobody_logs_in_without_a_certificate_of_it(tmp_path: Path) -> None:
    clients = made("clients")
    with behind_stunnel(tmp_path, clients) as proxied:
        known, foreign = proxied.context(), proxied.context()
        known.load_cert_chain(*made("client", clients).write(tmp_path, "client"))
        foreign.load_cert_chain(*made("client", proxied.authority).write(tmp_path, "foreign"))
        assert proxied.answer(RIGHT, context=known) == soupbintcp.LOGIN_ACCEPTED
        for context in (None, foreign):
            with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
                proxied.answer(RIGHT, context=context)
