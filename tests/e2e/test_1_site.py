"""What `site.yml` leaves behind, seen from outside: the inventory, the pages, the report, the second run."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.deployment import Deployment, Play

TARGETS = ("avg", "p95", "p99", "feed p99", "throughput", "errors", "cpu", "memory")


def test_the_dynamic_inventory_lists_the_host_in_its_groups(deployed: Deployment) -> None:
    listing = deployed.inventory()
    (name,) = listing["trading"]["hosts"]
    assert name == "trading-sandbox-1"
    groups = {group for group, content in listing.items() if name in content.get("hosts", [])}
    assert len(groups) >= 3, f"expected groups by zone, type and architecture beside 'trading': {groups}"


def status(url: str, token: str = "") -> int:
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=5).status_code


def test_telemetry_answers_on_the_public_address_whoever_has_the_host_s_token(deployed: Deployment) -> None:
    address = deployed.host()["ansible_host"]
    kept = deployed.ssh(address, "sudo", "cat", "/etc/trading/secrets/telemetry.token")
    token = kept.stdout.strip()
    assert len(token) >= 32, kept.stderr
    for path in ("/", "/latest", "/metrics"):
        assert status(f"http://{address}:8000{path}") == 401
        assert status(f"http://{address}:8000{path}", token) == 200
    assert status(f"http://{address}:8000/health") == 200


def test_the_report_has_a_verdict_for_every_target(
    deployed: Deployment, record_property: Callable[[str, object], None]
) -> None:
    (report,) = deployed.reports.glob("*.json")
    rows = json.loads(report.read_text(encoding="utf-8"))["verdict"]
    assert set(TARGETS) <= {row["name"] for row in rows}
    assert {row["verdict"] for row in rows} <= {"met", "missed", "not measured"}
    for verdict in ("met", "missed", "not measured"):
        if names := [row["name"] for row in rows if row["verdict"] == verdict]:
            record_property("note", f"{verdict}: {', '.join(names)}")


def test_the_host_is_as_the_scenario_default_verifies_it(deployed: Deployment) -> None:
    play = deployed.play("extensions/molecule/default/verify.yml")
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("ok") > 0


def test_a_file_that_somebody_opened_to_all_is_named(deployed: Deployment) -> None:
    address, password = deployed.host()["ansible_host"], "/etc/trading/secrets/BENCH.password"
    assert deployed.ssh(address, "sudo", "chmod", "0644", password).returncode == 0
    try:
        play = deployed.play("playbooks/verify.yml", slo_verify="never")
        assert play.exit_code != 0
        assert f"{password} has the mode 0644 instead of 0600" in " ".join(play.output.split())
    finally:
        assert deployed.ssh(address, "sudo", "chmod", "0600", password).returncode == 0


@pytest.fixture(scope="module")
def repeated(deployed: Deployment) -> dict[str, Play]:
    """A second run of the site and one in check mode, side by side: neither is to change anything, nor measures."""
    with ThreadPoolExecutor() as side_by_side:
        second = side_by_side.submit(deployed.play, "site.yml", slo_verify="never")
        check = side_by_side.submit(deployed.play, "site.yml", "--check", slo_enforce="report")
        return {"second": second.result(), "check": check.result()}


def test_a_second_run_changes_nothing(repeated: dict[str, Play]) -> None:
    play = repeated["second"]
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output


def test_check_mode_on_a_deployment_reports_no_change(repeated: dict[str, Play]) -> None:
    play = repeated["check"]
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output


def test_the_installed_collection_does_the_same_without_an_inventory(deployed: Deployment) -> None:
    play = deployed.play_installed("site", slo_enforce="report", slo_duration_s=2)
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output
