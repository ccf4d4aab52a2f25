"""The configuration file backup.toml of `trading-backup`. It is checked completely before anything is sent."""

from dataclasses import dataclass
from pathlib import Path

from trading_engine.settings.tables import ConfigError, Table, load


@dataclass(frozen=True)
class Config:
    """The files to send, and their destination.

    `journal` is the directory of the journal, `files` are glob patterns of other files to send. The backup keeps its
    progress in the file `state`, and writes its status for telemetry into the file `status`.
    """

    bucket: str
    """The bucket's name, which may contain {region} and {account}."""
    host: str
    rpo_seconds: int
    """The promised greatest age of journal data that is not yet in the bucket (recovery point objective)."""
    series_days: int
    """The age of a series of objects after which a new series begins."""
    region: str
    endpoint: str
    journal: Path
    files: tuple[str, ...]
    state: Path
    status: Path


def load_config(path: Path) -> Config:
    """Return the configuration in the file `path`. Raises ConfigError when it is wrong."""
    top = Table(str(path), load(path))
    table = top.table("backup", required=True)
    config = Config(
        bucket=table.text("bucket"),
        host=table.text("host"),
        rpo_seconds=table.integer("rpo_seconds", 60, 2, 86_400),
        series_days=table.integer("series_days", 1, 1, 3650),
        region=table.text("region"),
        endpoint=table.text("endpoint", ""),
        journal=table.path("journal", "/var/lib/trading/journal"),
        files=_patterns(table),
        state=table.path("state", "/var/lib/trading-backup/sent.json"),
        status=table.path("status", "/run/trading-backup/status.json"),
    )
    table.finish()
    top.finish()
    if not config.host or "/" in config.host:
        raise table.wrong("host", "a host's name, which is part of each object's", config.host)
    return config


def _patterns(table: Table) -> tuple[str, ...]:
    values = table.take("files", ["/etc/trading/*.toml"])
    if not isinstance(values, list) or not all(isinstance(value, str) and value.startswith("/") for value in values):
        raise table.wrong("files", "a list of absolute paths or patterns", values)
    return tuple(values)


__all__ = ["Config", "ConfigError", "load_config"]
