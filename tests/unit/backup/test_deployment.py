"""The backup's program accepts the configuration that the role writes.

The systemd unit of the program has the lowest priority.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.modules import journal_fetch
from trading_backup.config import load_config

from tests.unit.roles.templates import ROOT, text

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


def test_the_host_notes_which_release_its_wheels_are_of(tmp_path: Path) -> None:
    file = tmp_path / "backup.toml"
    file.write_text(text("etc/trading/backup.toml.j2", "journal_backup", **HOST, journal_backup_endpoint=""))
    assert {journal_fetch.IN_FORCE, f"{journal_fetch.WHEELS}*.tar"} <= set(load_config(file).files)


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


def test_a_shipper_is_removed_where_that_is_said_and_not_where_nothing_is() -> None:
    role = ROOT / "roles/journal_backup"
    files = {}
    for task in yaml.safe_load((role / "tasks/main.yml").read_text()):
        files[task["when"]] = task["ansible.builtin.include_tasks"]["file"]
    assert files["journal_backup_target == 'none'"] == "no_shipper.yml"
    assert files["journal_backup_target == 'unchanged'"] == "released.yml"
    assert "default('unchanged')" in yaml.safe_load((role / "defaults/main.yml").read_text())["journal_backup_target"]


@pytest.mark.parametrize("playbook", ["deploy", "release_rollback"])
def test_another_release_has_the_shipper_restarted(playbook: str) -> None:
    (play,) = yaml.safe_load((ROOT / f"playbooks/{playbook}.yml").read_text())
    last = play["tasks"][-1]["ansible.builtin.include_role"]
    assert (last["name"], last["tasks_from"]) == ("lowlatency.trading.journal_backup", "released")
