"""What `site.yml` leaves behind, seen from outside: the inventory, the pages, the report, the second run."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.e2e.deployment import Deployment

TARGETS = ("avg", "p95", "p99", "throughput", "errors", "cpu", "memory")


def test_the_dynamic_inventory_lists_the_host_in_its_groups(deployed: Deployment) -> None:
    listing = deployed.inventory()
    (name,) = listing["trading"]["hosts"]
    assert name == "trading-sandbox-1"
    groups = {group for group, content in listing.items() if name in content.get("hosts", [])}
    assert len(groups) >= 3, f"expected groups by zone, type and architecture beside 'trading': {groups}"


@pytest.mark.parametrize("path", ["/", "/health", "/latest", "/metrics"])
def test_telemetry_answers_on_the_public_address(deployed: Deployment, path: str) -> None:
    address = deployed.host()["ansible_host"]
    with urllib.request.urlopen(f"http://{address}:8000{path}", timeout=5) as answer:
        assert answer.status == 200
        assert answer.read()


def test_the_report_has_a_verdict_for_every_target(deployed: Deployment) -> None:
    (report,) = deployed.reports.glob("*.json")
    rows = json.loads(report.read_text(encoding="utf-8"))["verdict"]
    assert set(TARGETS) <= {row["name"] for row in rows}
    assert {row["verdict"] for row in rows} <= {"met", "missed", "not measured"}


def test_a_second_run_changes_nothing(deployed: Deployment) -> None:
    play = deployed.play("site.yml", slo_verify="never")
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output


def test_the_installed_collection_does_the_same_without_an_inventory(deployed: Deployment) -> None:
    play = deployed.play_installed("site", slo_enforce="report")
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output


def test_check_mode_on_a_deployment_reports_no_change(deployed: Deployment) -> None:
    play = deployed.play("site.yml", "--check", slo_enforce="report")
    assert play.exit_code == 0, play.output[-6000:]
    assert play.count("changed") == 0, play.output
