"""Playbooks in an environment in which Auto Scaling groups launch the hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
GIVEN = {"trading_operator_cidr": "198.51.100.7/32", "trading_public_key_file": "/dev/null", "trading_fleet": "true"}


def test_no_host_is_launched_beside_the_groups(tmp_path: Path) -> None:
    """site.yml imports provision.yml, and provision.yml refuses to launch a host in a fleet.

    Other tests show that the secrets are checked before.
    """
    site = yaml.safe_load((ROOT / "playbooks/site.yml").read_text(encoding="utf-8"))
    assert "provision.yml" in [play.get("ansible.builtin.import_playbook") for play in site]
    program = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
    given = [word for name, value in GIVEN.items() for word in ("-e", f"{name}={value}")]
    done = subprocess.run(
        [*program, *given, str(ROOT / "playbooks/provision.yml")],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "AWS_ENDPOINT_URL": "http://[::1]:9"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "run playbooks/fleet.yml" in " ".join(done.stdout.split())


def test_a_plan_is_checked_as_a_fleet_is_before_its_first_resource() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/plan.yml").read_text(encoding="utf-8"))
    (check,) = plays[-1]["tasks"]
    assert check["ansible.builtin.import_role"] == {"name": "lowlatency.trading.aws_fleet", "tasks_from": "checked"}
    assert check["when"] == "trading_fleet | default(false) | bool"
