"""Telemetry gives Prometheus and CloudWatch exactly the metrics in files/metrics.yml.

files/metrics.yml is generated from telemetry's catalogue of metrics.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from trading_engine.published.catalogue import COUNTERS, GAUGES, HISTOGRAMS
from trading_telemetry import cloudwatch, metrics
from trading_telemetry.config import load_targets
from trading_telemetry.observer import Observer
from trading_telemetry.prometheus import EngineCollector

from tests.unit.telemetry.conftest import Publisher

CONTRACT = Path(__file__).parents[3] / "files/metrics.yml"


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CONTRACT.read_text())
    return document


def test_the_exporter_has_exactly_the_contracts_metrics(
    contract: dict[str, Any], engine: Publisher, state_path: Path, slo_path: Path
) -> None:
    exported = {}
    for family in EngineCollector({"": Observer(state_path)}, load_targets(slo_path)).collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        exported[name] = (family.type, labels, family.documentation)
    assert len({m["name"] for m in contract["prometheus"]}) == len(contract["prometheus"])
    written = {m["name"]: (m["type"], m["labels"], m["meaning"]) for m in contract["prometheus"]}
    clock = {f"trading_host_clock_{name}" for name in ("synchronised", "offset_seconds", "error_bound_seconds")}
    backup = {f"trading_backup_{name}" for name in ("backlog_bytes", "oldest_unsent_seconds", "lost_segments_total")}
    of_the_host = clock | backup | {"trading_host_allowance_exceeded_total", "trading_certificate_end_time_seconds"}
    absent = of_the_host - exported.keys()
    assert exported == {name: meaning for name, meaning in written.items() if name not in absent}


def test_the_publisher_has_exactly_the_contracts_metrics(contract: dict[str, Any]) -> None:
    published = contract["cloudwatch"]
    assert {metric["name"]: metric["unit"] for metric in published["metrics"]} == cloudwatch.UNITS
    assert published["namespace"] == cloudwatch.NAMESPACE
    assert published["dimensions"] == ["InstanceId"]


def test_units_are_in_the_names(contract: dict[str, Any]) -> None:
    for metric in contract["prometheus"]:
        base = metric["name"].removesuffix("_total")
        unit = next((unit for unit in ("seconds", "bytes", "ratio") if base.endswith(f"_{unit}")), None)
        assert metric["unit"] == unit if unit else metric["unit"] in {"count", "flag"}, metric["name"]


def test_what_the_engine_publishes_and_nobody_exports_is_known() -> None:
    exported = {number.name for metric in metrics.ALL for number in metric.numbers}
    not_exported = {"trading_day", "engine_time_ns", "stalls", "canary_round_trips", "compiled"}
    assert {*COUNTERS, *GAUGES, *HISTOGRAMS} - exported == not_exported


def test_the_usual_targets_have_a_bucket_on_either_side() -> None:
    for edge_us in (500, 1000, 2000):
        position = metrics.BUCKET_BOUNDS_US.index(edge_us)
        assert metrics.BUCKET_BOUNDS_US[position - 1] >= 0.7 * edge_us
        assert metrics.BUCKET_BOUNDS_US[position + 1] <= 1.3 * edge_us
