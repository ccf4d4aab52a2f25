"""The configuration of telemetry: telemetry.toml, and the targets in slo.toml and slo_feed.toml.

All three files are checked before telemetry serves anything.
"""

import re
from dataclasses import dataclass, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from trading_engine.host.sockets import not_of_this_machine
from trading_engine.settings.tables import ConfigError, Table, load

from trading_telemetry.access import read_token
from trading_telemetry.certificate import check_pair

PERIODS_S = (10, 30, 60, 300)
CREDENTIALS = Path("/run/credentials")
MAX_PARTITIONS = 16
"""The largest number of partitions. The memory limits of the systemd units suffice for so many."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
EXAMPLE = """\
# Configuration of trading-telemetry. Every key is optional; these are the defaults.

[http]
address = "0.0.0.0"
port = 8000

[shared_memory]
# What the engine publishes: shared_memory.path in engine.toml.
path = "/run/trading/engine.shm"

# Where several engines run, each with its own symbols: one such table for each, at most 16, instead of this path.
#[[partitions]]
#name = "alpha"
#path = "/run/trading/engine-alpha.shm"

[slo]
# The promised figures: avg_us, p95_us, p99_us, throughput_per_s, cpu_percent, memory_percent.
# Without this file the targets are unknown, and /health says so. How far market data may be behind, p99_us, is in a
# file beside it: slo_feed.toml.
file = "/etc/trading/slo.toml"

[access]
# Without these three, whoever reaches the port may read; nobody can change anything.
# A file with one token of at least 16 characters: asked for everywhere but on /health. Browsers are given a form;
# an address that ends in #token=… logs in at once.
#token_file = "/etc/trading/secrets/telemetry.token"
# PEM files; both or none. With them the port speaks TLS only.
#certificate_file = "/etc/trading/telemetry.crt"
#key_file = "/etc/trading/secrets/telemetry.key"
# PEM files of other certificates, such as that of a TLS proxy on this host: /health warns 30 days before one ends.
watched_certificates = []
# Addresses or networks of proxies in front of the port. Whoever comes through one counts by the address that it names
# in X-Forwarded-For; from anybody else that header means nothing.
trusted_proxies = ["127.0.0.1", "::1"]

[cloudwatch]
# For `trading-telemetry publish` only. Region and instance are asked from EC2 when they are not written here.
period_s = 60
#region = "us-east-1"
#instance_id = "i-0123456789abcdef0"
disk_path = "/var/lib/trading"
"""


@dataclass(frozen=True)
class CloudWatchConfig:
    period_s: int
    region: str
    instance_id: str
    disk_path: Path


@dataclass(frozen=True)
class Partition:
    """An engine of the host, and the path of the state that it publishes.

    The name is "" if the host has only one engine, without a name.
    """

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a configuration says about serving: the address and port, and the rules for access.

    The classes Config and FleetConfig extend it.
    """

    address: str
    port: int
    token_path: Path | None
    certificate_path: Path | None
    key_path: Path | None
    trusted_proxies: tuple[str, ...]

    def read_token(self) -> str:
        """Return the token that clients must send, or "" if they need none.

        Raises ConfigError for a wrong token file.
        """
        return read_token(self.token_path) if self.token_path else ""

    def check_surroundings(self) -> None:
        """Check whether this machine has the address to serve, and the files that the configuration names.

        Raises ConfigError if not. Files in the directory CREDENTIALS are not checked: systemd creates them only while
        the unit runs.
        """
        if wrong := not_of_this_machine(self.address):
            raise ConfigError(f"[http] address: {wrong}")
        if self.token_path and CREDENTIALS not in self.token_path.parents:
            self.read_token()
        if self.certificate_path and self.key_path and CREDENTIALS not in self.key_path.parents:
            check_pair(self.certificate_path, self.key_path)


@dataclass(frozen=True, kw_only=True)
class Config(Served):
    partitions: tuple[Partition, ...]
    """The partitions, at least one. The first is shown to requests that name no partition."""
    slo_path: Path
    watched_certificates: tuple[Path, ...]
    cloudwatch: CloudWatchConfig


@dataclass(frozen=True)
class Targets:
    """The targets in slo.toml.

    Latencies are in µs, throughput in orders a second, and the use of CPU and memory in percent.
    """

    avg_us: float
    p95_us: float
    p99_us: float
    throughput_per_s: float
    cpu_percent: float
    memory_percent: float
    feed_p99_us: float | None = None
    """Market data may follow the reply by this time in 99 % of cases. None if there is no such target."""


def load_config(path: Path) -> Config:
    """Return the configuration in the file `path`. Raises ConfigError when it is missing or wrong."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; `trading-telemetry example-config` prints one")
    top = Table(str(path), load(path))
    http, memory, slo, access, cloudwatch = (
        top.table(name) for name in ("http", "shared_memory", "slo", "access", "cloudwatch")
    )
    config = Config(
        **served(http, access, "0.0.0.0", 8000),  # noqa: S104  who reaches it is for firewalls to say
        partitions=_partitions(top, memory),
        slo_path=slo.path("file", "/etc/trading/slo.toml"),
        watched_certificates=_paths(access, "watched_certificates"),
        cloudwatch=CloudWatchConfig(
            period_s=cloudwatch.integer("period_s", 60, 1, 3600),
            region=cloudwatch.text("region", ""),
            instance_id=cloudwatch.text("instance_id", ""),
            disk_path=cloudwatch.path("disk_path", "/var/lib/trading"),
        ),
    )
    for table in (http, memory, slo, access, cloudwatch, top):
        table.finish()
    if config.cloudwatch.period_s not in PERIODS_S:
        raise cloudwatch.wrong("period_s", f"one of {', '.join(map(str, PERIODS_S))}", config.cloudwatch.period_s)
    return config


def served(http: Table, access: Table, address: str, port: int) -> dict[str, Any]:
    """Return the fields of the class Served from the tables [http] and [access]. `address` and `port` are the defaults.

    Raises ConfigError when a value is wrong.
    """
    found = {
        "address": http.address("address", address),
        "port": http.integer("port", port, 1, 65535),
        "token_path": optional_path(access, "token_file"),
        "certificate_path": optional_path(access, "certificate_file"),
        "key_path": optional_path(access, "key_file"),
        "trusted_proxies": _networks(access, "trusted_proxies", ("127.0.0.1", "::1")),
    }
    if (found["certificate_path"] is None) != (found["key_path"] is None):
        raise ConfigError(f"{access.where}: certificate_file and key_file belong together; give both or none")
    return found


def tables(top: Table, key: str) -> list[Table]:
    """Return the tables that the TOML file lists as [[key]].

    Raises ConfigError if the value of the key is no such list.
    """
    values = top.take(key, [])
    if not isinstance(values, list):
        raise top.wrong(key, f"tables [[{key}]]", values)
    return [Table(f"{top.where} [[{key}]] number {number}", each) for number, each in enumerate(values, 1)]


def take_name(table: Table) -> str:
    """Return the value `name` of the table.

    Raises ConfigError unless labels, URLs and systemd units can contain the name unchanged.
    """
    found = table.text("name")
    if not NAME.fullmatch(found):
        raise table.wrong("name", "1 to 32 letters, digits, - and _, the first no sign", found)
    return found


def refuse_twice(given: list[tuple[Table, str, str]]) -> None:
    """Raise ConfigError when two entries have the same value. Entries are given as (table, key, value)."""
    seen: dict[str, Table] = {}
    for table, key, value in given:
        if value in seen:
            raise ConfigError(f"{table.where}: {key} {value!r} is that of {seen[value].where} as well")
        seen[value] = table


def _partitions(top: Table, memory: Table) -> tuple[Partition, ...]:
    found = tables(top, "partitions")
    if not found:
        return (Partition("", memory.path("path", "/run/trading/engine.shm")),)
    if "path" in memory.remaining():
        raise ConfigError(
            f"{memory.where}: path and [[partitions]] exclude each other; a host with partitions has a path in each"
        )
    if len(found) > MAX_PARTITIONS:
        many = f"{len(found)} of them; one telemetry shows at most {MAX_PARTITIONS}"
        raise ConfigError(f"{top.where} [[partitions]]: {many}")
    partitions = [Partition(take_name(table), table.path("path")) for table in found]
    for table in found:
        table.finish()
    refuse_twice([(table, "name", each.name) for table, each in zip(found, partitions, strict=True)])
    refuse_twice([(table, "path", str(each.path)) for table, each in zip(found, partitions, strict=True)])
    return tuple(partitions)


def optional_path(table: Table, key: str) -> Path | None:
    text = table.text(key, "")
    return Path(text) if text else None


def _paths(table: Table, key: str) -> tuple[Path, ...]:
    values = table.take(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise table.wrong(key, "a list of files", values)
    return tuple(Path(value) for value in values)


def _networks(table: Table, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    values = table.take(key, list(default))
    try:
        if not isinstance(values, list):
            raise TypeError
        return tuple(str(ip_network(str(value))) for value in values)
    except (TypeError, ValueError):
        raise table.wrong(key, "a list of addresses or networks such as 10.0.0.0/24", values) from None


def load_targets(path: Path) -> Targets | None:
    """Return the targets in the file `path`, or None if the file does not exist.

    The target of market data is in another file of the same directory: slo_feed.toml next to slo.toml. Raises
    ConfigError when a file is wrong.
    """
    if not path.exists():
        return None
    table = Table(str(path), load(path))
    own = {field.name: _positive(table, field.name) for field in fields(Targets) if field.name != "feed_p99_us"}
    table.finish()
    return Targets(**own, feed_p99_us=_feed_p99_us(path.with_name(f"{path.stem}_feed{path.suffix}")))


def _feed_p99_us(path: Path) -> float | None:
    """Return the target of market data in µs, or None if the file slo_feed.toml does not exist.

    The target has a file of its own, because a rollback brings an older release. That release would refuse a new key in
    slo.toml.
    """
    if not path.exists():
        return None
    table = Table(str(path), load(path))
    p99_us = _positive(table, "p99_us")
    table.finish()
    return p99_us


def _positive(table: Table, key: str) -> float:
    value = table.take(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise table.wrong(key, "a number greater than 0", value)
    return value
