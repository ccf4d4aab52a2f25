"""The configuration file fleet.toml: the hosts that `trading-telemetry fleet` shows, and who may read that page."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trading_engine.settings.tables import ConfigError, Table, load

from trading_telemetry.access import read_token
from trading_telemetry.config import CREDENTIALS, Served, optional_path, refuse_twice, served, tables, take_name

EXAMPLE = """\
# Configuration of `trading-telemetry fleet`. At least one of [[hosts]]; every other key is optional, and these are the
# defaults.

[http]
address = "127.0.0.1"
port = 8010

[access]
# Who may read the page, as in telemetry.toml.
#token_file = "/etc/trading/fleet/page.token"
#certificate_file = "/etc/trading/fleet/page.crt"
#key_file = "/etc/trading/fleet/page.key"
trusted_proxies = ["127.0.0.1", "::1"]

# One for each host, which is asked for /latest five seconds after its last answer.
[[hosts]]
name = "trading-1"
url = "http://10.0.1.5:8000"
# A copy of the host's /etc/trading/secrets/telemetry.token; none where its telemetry asks for none.
#token_file = "/etc/trading/fleet/trading-1.token"
# Where url begins with https: a PEM file with the certificate that signed the host's, or with that itself. Without it
# those count that this system trusts.
#ca_file = "/etc/trading/fleet/trading-1.crt"
"""


@dataclass(frozen=True)
class Host:
    """How to reach the telemetry of a host.

    `url` has only scheme, name and port, for example "https://10.0.1.5:8000".
    """

    name: str
    url: str
    token_path: Path | None
    ca_path: Path | None

    def read_token(self) -> str:
        """Return the token to send to the host, or "" if the host needs none.

        Raises ConfigError for a wrong token file.
        """
        return read_token(self.token_path, f"[[hosts]] {self.name}") if self.token_path else ""

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context that verifies the host's certificate, or None if the URL is not https.

        Raises ConfigError when `ca_path` cannot be read or holds no certificate.
        """
        if not self.url.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_path)
            if self.ca_path:
                # ca_path may hold the host's own certificate. It is trusted even if another certificate signed it.
                context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            return context
        except OSError as error:  # ssl.SSLError is one
            said = error.strerror or error
            raise ConfigError(f"[[hosts]] {self.name} ca_file: cannot use {self.ca_path}: {said}") from error


@dataclass(frozen=True, kw_only=True)
class FleetConfig(Served):
    hosts: tuple[Host, ...]

    def check_surroundings(self) -> None:
        super().check_surroundings()
        for host in self.hosts:
            host.tls()
            if host.token_path and CREDENTIALS not in host.token_path.parents:
                host.read_token()


def load_fleet(path: Path) -> FleetConfig:
    """Return the configuration in the file `path`. Raises ConfigError when the file is missing or wrong."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; `trading-telemetry example-fleet` prints one")
    top = Table(str(path), load(path))
    http, access, hosts = top.table("http"), top.table("access"), tables(top, "hosts")
    config = FleetConfig(**served(http, access, "127.0.0.1", 8010), hosts=tuple(_host(table) for table in hosts))
    for table in (http, access, *hosts, top):
        table.finish()
    if not hosts:
        raise ConfigError(f"{path}: [[hosts]] is missing; give one for each host of the page")
    pairs = list(zip(hosts, config.hosts, strict=True))
    refuse_twice([(table, "name", host.name) for table, host in pairs])
    refuse_twice([(table, "url", host.url) for table, host in pairs])
    return config


def _host(table: Table) -> Host:
    host = Host(take_name(table), _url(table), optional_path(table, "token_file"), optional_path(table, "ca_file"))
    if host.ca_path and not host.url.startswith("https:"):
        raise ConfigError(f"{table.where}: ca_file is for a url that begins with https, not {host.url}")
    return host


def _url(table: Table) -> str:
    text = table.text("url")
    try:
        parts = urlsplit(text)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        right = right and text.rstrip("/") == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
    except ValueError:  # the port is no number, or out of range
        right = False
    if not right or not text.isascii() or not text.isprintable() or " " in text:
        raise table.wrong("url", "an address like https://10.0.1.5:8000, without a path", text)
    return text.rstrip("/")
