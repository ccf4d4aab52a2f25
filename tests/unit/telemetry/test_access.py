"""Who can use telemetry: the token, TLS, the limited rate of requests, and the headers that restrict a browser."""

import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from trading_engine.settings.tables import ConfigError
from trading_telemetry import access
from trading_telemetry.access import BURST, MAX_ADDRESSES, REQUESTS_PER_S, Rates
from trading_telemetry.config import load_config

from tests.unit.telemetry.conftest import Publisher

TOKEN = "correct-horse-battery"


@pytest.fixture
def guarded(config_file: Path, tmp_path: Path) -> None:
    """Change the configuration so that the service of the fixture `client` requires a token."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    config_file.write_text(config_file.read_text() + f'[access]\ntoken_file = "{tmp_path}/token"\n')


@pytest.mark.usefixtures("guarded", "engine")
class TestToken:
    @pytest.mark.parametrize(
        "path", ["/", "/latest", "/metrics", "/history", "/api", "/api/sbom", "/stream", "/static/page.js"]
    )
    def test_nothing_but_health_is_told_without_it(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/health").status_code != 401

    @pytest.mark.parametrize("header", ["Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9"])
    def test_a_wrong_one_is_refused(self, client: httpx.Client, header: str) -> None:
        assert client.get("/latest", headers={b"authorization": header.encode("latin-1")}).status_code == 401

    def test_the_right_one_opens_everything(self, client: httpx.Client) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/latest", headers=headers).status_code == 200
        assert client.get("/metrics", headers=headers).status_code == 200

    def test_a_browser_is_given_a_form_and_then_a_cookie_that_scripts_cannot_read(self, client: httpx.Client) -> None:
        browser = {"accept": "text/html"}
        form = client.get("/", headers=browser)
        assert form.status_code == 401
        assert 'action="/login"' in form.text
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        answer = client.post("/login", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "SameSite=strict" in answer.headers["set-cookie"]
        assert client.get("/", headers=browser).status_code == 200
        assert client.get("/latest").status_code == 200

    @pytest.mark.parametrize(
        ("query", "location"),
        [
            ("?partition=beta", "/?partition=beta"),
            ("?to=//evil.example&partition=be%20ta%0d%0a", "/?partition=be+ta%0D%0A"),
            ("?to=//evil.example", "/"),
        ],
    )
    def test_a_login_leads_to_the_partition_that_was_asked_for_and_nowhere_else(
        self, client: httpx.Client, query: str, location: str
    ) -> None:
        answer = client.post(f"/login{query}", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, location)

    def test_a_browser_may_have_what_logs_in_by_the_address(self, client: httpx.Client) -> None:
        form = client.get("/latest", headers={"accept": "text/html"})
        assert 'src="/static/login.js"' in form.text
        script = client.get("/static/login.js")
        assert (script.status_code, TOKEN in script.text) == (200, False)

    def test_it_opens_what_the_release_consists_of(
        self, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        assert client.get("/api/sbom", headers=headers).status_code == 404
        (tmp_path / "sbom.cdx.json").write_text('{"bomFormat": "CycloneDX"}\n')
        answer = client.get("/api/sbom", headers=headers)
        assert answer.json() == {"bomFormat": "CycloneDX"}
        assert answer.headers["content-type"] == "application/vnd.cyclonedx+json"

    def test_a_huge_login_is_cut_short(self, client: httpx.Client) -> None:
        assert client.post("/login", content=b"token=" + b"x" * 100_000).status_code == 413


def test_versions_are_told_to_nobody_where_no_token_is_asked_for(engine: Publisher, client: httpx.Client) -> None:
    answer = client.get("/api/sbom")
    assert (answer.status_code, list(answer.json())) == (403, ["error"])


@pytest.mark.parametrize("text", ["", "short\n", f"{TOKEN}\nanother-long-enough-token\n"])
def test_a_token_file_that_is_no_secret_is_refused(config_file: Path, tmp_path: Path, guarded: None, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="one token of at least 16 characters"):
        load_config(config_file).read_token()


def test_certificate_and_key_belong_together(config_file: Path) -> None:
    config_file.write_text(config_file.read_text() + '[access]\nkey_file = "/etc/key.pem"\n')
    with pytest.raises(ConfigError, match="give both or none"):
        load_config(config_file)


@pytest.fixture
def certified(config_file: Path, tmp_path: Path) -> Path:
    """Change the configuration so that the service uses TLS. Return the path of its certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    config_file.write_text(
        config_file.read_text() + f'[access]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n'
    )
    return certificate


@pytest.mark.usefixtures("engine")
def test_with_a_certificate_only_tls_is_spoken(certified: Path, client: httpx.Client) -> None:
    url = f"https://127.0.0.1:{client.base_url.port}/api"
    with httpx.Client(verify=ssl.create_default_context(cafile=certified)) as secure:
        assert secure.get(url).json()["openapi"] == "3.1.0"
    with pytest.raises(httpx.TransportError):
        client.get("/health")


def test_every_answer_carries_the_security_headers(engine: Publisher, client: httpx.Client) -> None:
    for path in ("/", "/latest", "/nothing", "/static/page.css"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_an_address_may_burst_and_then_ask_at_the_rate() -> None:
    rates = Rates()
    assert [rates.allows("a", 0.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    assert rates.allows("b", 0.0)
    assert [rates.allows("a", 1.0) for _ in range(int(REQUESTS_PER_S) + 1)] == [True] * int(REQUESTS_PER_S) + [False]


def test_the_table_of_addresses_is_bounded() -> None:
    rates = Rates()
    for number in range(MAX_ADDRESSES + 500):
        rates.allows(str(number), 0.0)
    assert len(rates._buckets) == MAX_ADDRESSES


def test_an_address_that_a_proxy_passes_on_takes_no_more_room_than_one() -> None:
    rates = Rates()
    for number in range(100):
        rates.allows("9" * 16_000 + str(number), 0.0)
    assert sum(len(address) for address in rates._buckets) <= 64


def test_too_many_requests_are_429(engine: Publisher, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "BURST", 3.0)
    monkeypatch.setattr(access, "REQUESTS_PER_S", 0.0)
    answers = [client.get("/api") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
