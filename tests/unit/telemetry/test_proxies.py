"""Proxies in front of telemetry tell it the addresses of clients.

Environment variables can also name proxies. The service ignores these.
"""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from trading_engine.settings.tables import ConfigError
from trading_telemetry import access, publish
from trading_telemetry.__main__ import settings
from trading_telemetry.app import make_app
from trading_telemetry.config import load_config

PROXY, STRANGER = "10.1.2.3", "10.9.9.9"


def asked(config_file: Path, through: str, *forwarded: str) -> list[int]:
    """Send a request for each client address in `forwarded`, and return the status of each answer.

    All requests come through a proxy with the address `through`.
    """
    config = load_config(config_file)
    prepared = settings(make_app(config), config)
    prepared.load()

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(prepared.loaded_app, client=(through, 40000))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            return [
                (await client.get("/nothing", headers={"x-forwarded-for": address})).status_code
                for address in forwarded
            ]

    return asyncio.run(ask())


@pytest.fixture
def behind_a_proxy(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(access, "BURST", 2.0)
    monkeypatch.setattr(access, "REQUESTS_PER_S", 0.0)  # even if the test takes long
    config_file.write_text(config_file.read_text() + '[access]\ntrusted_proxies = ["10.1.2.0/24"]\n')
    return config_file


def test_each_client_of_a_trusted_proxy_has_a_limit_of_its_own(behind_a_proxy: Path) -> None:
    assert asked(behind_a_proxy, PROXY, "a", "a", "a", "b") == [404, 404, 429, 404]


def test_what_a_stranger_says_of_its_address_means_nothing(behind_a_proxy: Path) -> None:
    assert asked(behind_a_proxy, STRANGER, "a", "b", "c") == [404, 404, 429]


def test_a_client_cannot_put_an_address_before_its_own(behind_a_proxy: Path) -> None:
    assert asked(behind_a_proxy, PROXY, "x, a", "y, a", "z, a") == [404, 404, 429]


@pytest.mark.parametrize("value", ['"10.0.0.0/24"', "[1.5]", '["proxy"]', '["10.0.0.1/24"]', "true"])
def test_what_is_no_network_is_refused(config_file: Path, value: str) -> None:
    config_file.write_text(config_file.read_text() + f"[access]\ntrusted_proxies = {value}\n")
    with pytest.raises(ConfigError, match="trusted_proxies must be a list of addresses or networks"):
        load_config(config_file)


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.answer(b"token")

    def do_GET(self) -> None:
        self.answer(b"us-east-1")

    def answer(self, text: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing, to keep the output of the tests short."""


@pytest.fixture
def metadata() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/latest"
        server.shutdown()
        thread.join()


def test_the_instance_is_asked_itself_and_not_a_proxy(metadata: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "METADATA_URL", metadata)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert publish._metadata("placement/region") == "us-east-1"
