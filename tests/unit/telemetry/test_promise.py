"""Two latencies decide whether the host keeps its promise: of clients' orders, and of the canary's orders.

The canary is a client inside of the engine. The worse of the two latencies counts.
"""

from pathlib import Path

import pytest
from trading_telemetry.config import Targets, load_config
from trading_telemetry.history import History, Sample
from trading_telemetry.service import Service

from tests.unit.telemetry.conftest import Publisher


@pytest.fixture
def service(engine: Publisher, config_file: Path) -> Service:
    return Service(load_config(config_file))


def test_a_slow_canary_breaks_it_although_clients_and_service_time_are_fine(
    engine: Publisher, service: Service
) -> None:
    engine.orders(1000, latency_us=100)
    engine.canary(100, latency_us=3000)
    engine.writer.histograms["service"].record(20_000, 1000)
    engine.publish()
    service.sample()
    latest = service.latest()
    slo, minute = latest["slo"], latest["windows"]["60s"]
    assert slo["latency_by_source_us"]["receive_to_reply"]["p99"] == pytest.approx(100, rel=0.01)
    assert slo["latency_by_source_us"]["canary"]["p99"] == slo["latency_us"]["p99"] == pytest.approx(3000, rel=0.01)
    assert [text.split()[0] for text in slo["broken"]] == ["avg", "p95", "p99"]
    assert latest["status"] == "degraded"
    assert minute["latency_us"]["service"]["p99"] == pytest.approx(20, rel=0.01)
    assert minute["orders_received_per_s"] * minute["seconds"] == pytest.approx(1000)
    assert {source: len(points) for source, points in slo["curves_us"].items()} == {
        "receive_to_reply": 16,
        "canary": 16,
    }


def test_a_second_of_the_history_has_the_worse_of_both(engine: Publisher, service: Service) -> None:
    engine.orders(1000, latency_us=700)
    engine.canary(10, latency_us=300)
    engine.publish()
    service.sample()
    latest = service.latest()
    assert latest["second"]["p99_us"] == latest["slo"]["latency_us"]["p99"] == pytest.approx(700, rel=0.01)
    assert {name: kept["kept_ratio"] for name, kept in latest["slo"]["last_hour"].items()} == {
        "avg": 0, "p95": 1, "p99": 1,
    }  # fmt: skip


def test_without_a_measurement_there_is_nothing_to_say(service: Service) -> None:
    slo = service.latest()["slo"]
    assert (slo["latency_us"], slo["latency_by_source_us"], slo["curves_us"], slo["broken"]) == (None, {}, {}, [])


@pytest.mark.parametrize(("broken", "left"), [(0, 1.0), (1, 0.5), (2, 0.0), (9, 0.0)])
def test_the_budget_is_a_thousandth_of_the_measured_seconds(broken: int, left: float) -> None:
    targets = Targets(avg_us=50, p95_us=100, p99_us=200, throughput_per_s=1, cpu_percent=100, memory_percent=100)
    history = History(targets)
    history._samples.extend([Sample(0.0)] * 500)  # seconds without orders are not judged
    history._samples.extend([Sample(0.0, p99_us=199)] * (2000 - broken) + [Sample(0.0, p99_us=200)] * broken)
    said = history.compliance()["p99"]
    assert said["judged_s"] == 2000
    assert said["kept_ratio"] == pytest.approx(1 - broken / 2000)
    assert said["budget_left_ratio"] == pytest.approx(left)
