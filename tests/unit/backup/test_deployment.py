"""What the role writes is what the program takes, and its unit stays behind everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from trading_backup.config import load_config

from tests.unit.aws.templates import ROOT, text

HOST = {"inventory_hostname": "trading-demo-1", "journal_backup_region": "eu-west-1", "trading_environment": "demo"}


@pytest.mark.parametrize("endpoint", ["", "http://169.254.169.254:4566"])
def test_the_program_takes_the_configuration(tmp_path: Path, endpoint: str) -> None:
    file = tmp_path / "backup.toml"
    file.write_text(text("etc/trading/backup.toml.j2", "journal_backup", **HOST, journal_backup_endpoint=endpoint))
    config = load_config(file)
    assert config.bucket == "trading-demo-{account}-{region}"
    assert (config.host, config.region, config.endpoint) == ("trading-demo-1", "eu-west-1", endpoint)
    assert config.rpo_seconds == 60
    assert config.journal == Path("/var/lib/trading/journal")
    assert not any("secrets" in pattern for pattern in config.files)


def test_the_program_looks_at_the_journal_that_the_engine_writes() -> None:
    settings = {"journal": {"directory": "/srv/journal"}}
    written = text("etc/trading/backup.toml.j2", "journal_backup", **HOST, trading_engine_settings=settings)
    assert 'journal = "/srv/journal"' in written.splitlines()


def test_the_unit_is_idle_and_writes_nothing_but_its_own_state() -> None:
    unit = (ROOT / "roles/journal_backup/templates/etc/systemd/system/trading-backup.service.j2").read_text()
    lines = unit.splitlines()
    for line in ("CPUWeight=idle", "IOSchedulingClass=idle", "User=trading-backup", "StateDirectory=trading-backup"):
        assert line in lines
    assert "ReadWritePaths" not in unit
