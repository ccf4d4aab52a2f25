"""Rules and dashboard speak of metrics that exist."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from tests.unit.telemetry.conftest import Publisher

FILES = Path(__file__).parents[3] / "files"


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every name that Prometheus has: the contract's, what histograms add, and what the rules record."""
    names = {"up"}
    for metric in yaml.safe_load((FILES / "metrics.yml").read_text())["prometheus"]:
        endings = ("_bucket", "_count", "_sum") if metric["type"] == "histogram" else ("",)
        names |= {metric["name"] + ending for ending in endings}
    for group in yaml.safe_load((FILES / "prometheus/rules.yml").read_text())["groups"]:
        names |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return names


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:trading[:_][\w:]+|up(?=\{))", expression))


def test_the_rules_use_only_metrics_that_exist(known: set[str]) -> None:
    for group in yaml.safe_load((FILES / "prometheus/rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            assert names_in(rule["expr"]), rule
            assert names_in(rule["expr"]) <= known, rule


def test_the_dashboard_uses_only_metrics_that_exist(known: set[str]) -> None:
    dashboard = json.loads((FILES / "grafana/trading-host.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in expressions:
        assert names_in(expression), expression
        assert names_in(expression) <= known, expression
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def promtool(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    for arguments in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
        result = promtool(*arguments[:2], str(FILES / "prometheus" / arguments[2]))
        assert result.returncode == 0, result.stdout + result.stderr


def test_promtool_finds_nothing_wrong_with_our_metrics(engine: Publisher, client: httpx.Client) -> None:
    engine.orders(10, 100)
    engine.publish()
    result = promtool("check", "metrics", text=client.get("/metrics").text)
    complaints = [line for line in result.stderr.splitlines() if line.startswith("trading_")]
    assert complaints == [], complaints
    assert "error while linting" not in result.stderr
