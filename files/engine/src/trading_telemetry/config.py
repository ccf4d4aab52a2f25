"""telemetry.toml and slo.toml: read, checked key by key, with errors that name file, key and remedy."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

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


class ConfigError(Exception):
    """The text says which file and key, what is wrong, and what would be right."""


@dataclass(frozen=True)
class Config:
    address: str = "0.0.0.0"  # noqa: S104  the security group and the host's firewall decide who reaches it
    port: int = 8000
    state_path: Path = Path("/run/trading/engine.shm")
    slo_path: Path = Path("/etc/trading/slo.toml")


@dataclass(frozen=True)
class Targets:
    """The latency promise. Latency in µs, throughput in orders a second, shares of the host in percent."""

    avg_us: float
    p95_us: float
    p99_us: float
    throughput_per_s: float
    cpu_percent: float
    memory_percent: float


_KEYS: Mapping[tuple[str, str], tuple[str, type]] = {
    ("http", "address"): ("address", str),
    ("http", "port"): ("port", int),
    ("shared_memory", "path"): ("state_path", Path),
    ("slo", "file"): ("slo_path", Path),
}
_KINDS = {str: "a text", int: "a whole number", Path: "a path in quotes"}


def load_config(path: Path) -> Config:
    """Raises ConfigError."""
    values: dict[str, Any] = {}
    for section, keys in _parse(path).items():
        sections = {known for known, _ in _KEYS}
        if section not in sections or not isinstance(keys, dict):
            raise ConfigError(f"{path}: unknown section [{section}]{_near(section, sections)}")
        for key, value in keys.items():
            if (section, key) not in _KEYS:
                known = {name for part, name in _KEYS if part == section}
                raise ConfigError(f"{path}: [{section}] unknown key {key}{_near(key, known)}")
            field, kind = _KEYS[section, key]
            values[field] = _checked(path, f"[{section}] {key}", value, kind)
    config = Config(**values)
    if not 1 <= config.port <= 65535:
        raise ConfigError(f"{path}: [http] port must be 1 to 65535, not {config.port}")
    return config


def load_targets(path: Path) -> Targets | None:
    """Return None when there is no such file: the targets are unknown then. Raises ConfigError."""
    if not path.exists():
        return None
    document = _parse(path)
    names = {field.name for field in fields(Targets)}
    for name in document:
        if name not in names:
            raise ConfigError(f"{path}: unknown key {name}{_near(name, names)}")
    if missing := names - set(document):
        raise ConfigError(f"{path}: missing {', '.join(sorted(missing))}")
    for name, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigError(f"{path}: {name} must be a number greater than 0, not {value!r}")
    return Targets(**document)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _checked(path: Path, where: str, value: Any, kind: type) -> Any:
    wire_type = str if kind is Path else kind
    if not isinstance(value, wire_type) or isinstance(value, bool) or value == "":
        raise ConfigError(f"{path}: {where} must be {_KINDS[kind]}, not {value!r}")
    return kind(value)


def _near(name: str, known: set[str]) -> str:
    matches = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {matches[0]}?" if matches else f"; known are {', '.join(sorted(known))}"
