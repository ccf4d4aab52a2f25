"""This project's rules for Prometheus and its dashboard use only metrics that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml

FILES = Path(__file__).parents[3] / "files"


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Return the names of all metrics that exist in Prometheus.

    They are the metrics of files/metrics.yml, the metrics that a histogram adds, and the metrics that the rules record.
    """
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
