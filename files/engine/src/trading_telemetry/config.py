"""telemetry.toml and slo.toml, checked whole before anything is served."""

from dataclasses import dataclass, fields
from pathlib import Path

from trading_engine.tables import ConfigError, Table, load

EXAMPLE = """\
# Configuration of trading-telemetry. Every key is optional; these are the defaults.

[http]
address = "0.0.0.0"
port = 8000

[shared_memory]
# What the engine publishes: shared_memory.path in engine.toml.
path = "/run/trading/engine.shm"

[slo]
# The promised figures: avg_us, p95_us, p99_us, throughput_per_s, cpu_percent, memory_percent.
# Without this file the targets are unknown, and /health says so.
file = "/etc/trading/slo.toml"
"""


@dataclass(frozen=True)
class Config:
    address: str
    port: int
    state_path: Path
    slo_path: Path


@dataclass(frozen=True)
class Targets:
    """The latency promise. Latency in µs, throughput in orders a second, shares of the host in percent."""

    avg_us: float
    p95_us: float
    p99_us: float
    throughput_per_s: float
    cpu_percent: float
    memory_percent: float


def load_config(path: Path) -> Config:
    """Return the checked configuration; raises ConfigError."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist; `trading-telemetry example-config` prints one")
    top = Table(str(path), load(path))
    http, memory, slo = (top.table(name) for name in ("http", "shared_memory", "slo"))
    config = Config(
        address=http.text("address", "0.0.0.0"),  # noqa: S104  who reaches it is for firewalls to say
        port=http.integer("port", 8000, 1, 65535),
        state_path=memory.path("path", "/run/trading/engine.shm"),
        slo_path=slo.path("file", "/etc/trading/slo.toml"),
    )
    for table in (http, memory, slo, top):
        table.finish()
    return config


def load_targets(path: Path) -> Targets | None:
    """Return None when there is no such file: the targets are unknown then. Raises ConfigError."""
    if not path.exists():
        return None
    table = Table(str(path), load(path))
    targets = Targets(**{field.name: _positive(table, field.name) for field in fields(Targets)})
    table.finish()
    return targets


def _positive(table: Table, key: str) -> float:
    value = table.take(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise table.wrong(key, "a number greater than 0", value)
    return value
