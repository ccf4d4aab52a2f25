"""Two environments in one account do not know each other."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from .conftest import ROOT, Account
from .inventory_of_account import contents, instances


def _hosts(account: Account, environment: str, folder: Path) -> list[str]:
    """Return the hosts that the example inventory gives for ``environment``."""
    source = folder / environment
    shutil.copytree(ROOT / "inventory" / "production", source)
    file = source / "aws_ec2.yml"
    file.write_text(file.read_text().replace("tag:Environment: production", f"tag:Environment: {environment}"))
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(file), "--list"],
        env=account.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    hosts: list[str] = json.loads(listed.stdout)["trading"]["hosts"]
    return hosts


def test_two_environments_stand_side_by_side_and_one_goes_without_the_other(account: Account, tmp_path: Path) -> None:
    empty = contents(account)
    # The one name begins with the other: nothing may be found by prefix alone.
    for environment in ("pair", "pair-b"):
        run = account.play("provision.yml", trading_environment=environment)
        assert run.code == 0, run.output
        assert len(instances(account, environment)) == 1
        assert _hosts(account, environment, tmp_path) == [f"trading-{environment}-1"]
    both = contents(account)

    run = account.play("destroy.yml", trading_environment="pair", destroy_confirm="pair", destroy_data="true")
    assert run.code == 0, run.output
    assert len(instances(account, "pair")) == 0
    assert len(instances(account, "pair-b")) == 1

    again = account.play("provision.yml", trading_environment="pair-b")
    assert again.changed == 0, again.output
    assert contents(account) < both

    account.play("destroy.yml", trading_environment="pair-b", destroy_confirm="pair-b", destroy_data="true")
    assert contents(account) == empty
