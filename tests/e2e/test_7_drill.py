"""A small disaster drill: a host with known orders is terminated, and a new host in another zone replaces it.

Each test continues from the state that the previous test left. After the drill, the tests use the new host.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.deployment import Deployment, Play

pytestmark = pytest.mark.usefixtures("in_written_order")

SHIPPED = "/etc/trading/backup.toml"
# Before the drill, the host ships its journal every four seconds, so that the drill does not wait a minute. The drill
# checks twelve.
PROMISED_S, ASKED_S = 4, 12
CONFIRMED: dict[str, object] = {"drill_confirm": "sandbox", "drill_rpo_seconds": ASKED_S, "slo_verify": "never"}


@pytest.fixture(scope="module")
def lost(deployed: Deployment) -> dict[str, Any]:
    """Let the host that will be lost send its journal to the bucket more often. Return the host's variables."""
    host = deployed.host()
    shorten = f"sed -i 's/^rpo_seconds = .*/rpo_seconds = {PROMISED_S}/' {SHIPPED}; systemctl restart trading-backup"
    shortened = deployed.ssh(host["ansible_host"], "sudo", "sh", "-ec", shorten)
    assert shortened.returncode == 0, shortened.stderr
    return host


@pytest.fixture(scope="module")
def drilled(deployed: Deployment, lost: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Play, Path]:
    """Run the drill. Return its result and the path of the record that it has written."""
    folder = tmp_path_factory.mktemp("drill")
    deployed.environment["XDG_STATE_HOME"] = str(folder)  # what was fetched of the lost host stays in the test's folder
    # This machine is the operator, and must reach the subnets of both zones.
    networks = {"trading_operator_cidr": deployed.addresses["trading_vpc_cidr"]}
    try:
        play = deployed.play("playbooks/drill.yml", **CONFIRMED, **networks, drill_record_file=str(folder / "record"))
    finally:
        del deployed.environment["XDG_STATE_HOME"]
    return play, folder / "record"


def test_a_drill_without_its_word_touches_nothing(deployed: Deployment, lost: dict[str, Any]) -> None:
    play = deployed.play("playbooks/drill.yml", **{**CONFIRMED, "drill_confirm": "production"})
    assert play.exit_code != 0
    assert "say -e drill_confirm=sandbox" in " ".join(play.output.split())
    assert deployed.host()["instance_id"] == lost["instance_id"]


def test_a_lost_host_is_built_again_in_another_zone_and_no_older_order_is_lost(
    deployed: Deployment, lost: dict[str, Any], drilled: tuple[Play, Path]
) -> None:
    play, kept = drilled
    assert play.exit_code == 0, play.output[-6000:]
    record = json.loads(kept.read_text(encoding="utf-8"))
    assert record["acknowledged"] > 0
    assert record["there"] + len(record["lost_orders"]) == record["acknowledged"]
    assert record["lost_older_than_promised"] == 0
    host = deployed.host()
    assert host["instance_id"] != lost["instance_id"]
    assert record["zone_before"] == "us-east-1a"
    assert host["ec2_placement"]["availability_zone"] == record["zone"] != "us-east-1a"


@pytest.mark.usefixtures("drilled")
def test_the_built_one_ships_its_own_journal_as_it_was_declared(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    assert deployed.ssh(address, "systemctl", "is-active", "trading-backup").stdout.strip() == "active"
    written = deployed.ssh(address, "sudo", "cat", SHIPPED).stdout
    assert re.search(r"^rpo_seconds = 60$", written, re.MULTILINE)
