"""The paths that telemetry serves over HTTP. The engine's own code has published the state that they show."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from trading_engine.published import shm

from tests.unit.telemetry.conftest import Publisher


def test_the_index_is_a_page_for_browsers_and_json_for_programs(engine: Publisher, client: httpx.Client) -> None:
    assert client.get("/").json()["links"]["health"] == "/health"
    page = client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.startswith("<!doctype html>")


def test_health_is_503_until_an_engine_publishes_and_heals_by_itself(client: httpx.Client, state_path: Path) -> None:
    down = client.get("/health")
    assert (down.status_code, down.json()["status"]) == (503, "failing")
    assert down.json()["age_s"] is None
    Publisher(state_path)
    up = client.get("/health")
    assert (up.status_code, up.json()["status"]) == (200, "ok")
    assert up.json()["age_s"] < 2


def test_latest_has_the_very_counts_that_were_published(engine: Publisher, client: httpx.Client) -> None:
    engine.orders(12345, latency_us=100)
    engine.count("rejects_X", 7)
    engine.gauge("sessions_open", 3)
    engine.publish()
    latest = client.get("/latest").json()
    assert latest["counters"]["enters_received"] == 12345
    assert latest["counters"]["rejects_X"] == 7
    assert latest["gauges"]["sessions_open"] == 3
    assert latest["engine"]["durability"] == "os"
    assert latest["engine"]["compiled"] is False
    assert set(latest["windows"]) == {"1s", "10s", "60s"}
    assert 0 < latest["host"]["memory_percent"] < 100


def test_it_is_told_whether_the_engine_is_compiled(engine: Publisher, client: httpx.Client) -> None:
    engine.gauge("compiled", 1)
    engine.publish()
    assert client.get("/latest").json()["engine"]["compiled"] is True
    assert 'trading_engine_info{compiled="true",durability="os",version="1.2.3"} 1.0' in client.get("/metrics").text


def test_an_engine_that_has_not_said_whether_it_is_compiled_is_not_called_pure(
    engine: Publisher, client: httpx.Client
) -> None:
    engine.gauge("compiled", shm.UNASSIGNED)
    engine.publish()
    assert client.get("/latest").json()["engine"]["compiled"] is None
    assert 'trading_engine_info{compiled="unknown",' in client.get("/metrics").text


def test_latest_without_an_engine_says_unknown_and_not_zero(client: httpx.Client) -> None:
    latest = client.get("/latest").json()
    assert latest["status"] == "failing"
    assert latest["engine"] is latest["age_s"] is latest["windows"]["1s"] is None
    assert "counters" not in latest


def test_no_version_is_told_to_strangers(engine: Publisher, client: httpx.Client) -> None:
    for path in ("/", "/health", "/latest"):
        answer = client.get(path)
        assert "1.2.3" not in answer.text
        assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/latest", 405), ("DELETE", "/", 405), ("GET", "/../etc/passwd", 404)],
)
def test_what_is_not_served_has_its_status_and_a_json_reason(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


def samples(client: httpx.Client) -> dict[tuple[str, str], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels(**values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def test_metrics_have_counts_targets_and_a_histogram_that_adds_up(engine: Publisher, client: httpx.Client) -> None:
    engine.orders(90, latency_us=100)
    engine.orders(10, latency_us=1900)
    engine.count("rejects_H", 4)
    engine.publish()
    found = samples(client)
    assert found["trading_up", labels()] == 1
    assert found["trading_messages_received_total", labels(type="enter")] == 100
    assert found["trading_rejects_total", labels(reason="H")] == 4
    assert found["trading_slo_target_seconds", labels(statistic="p99")] == 0.002
    name = "trading_receive_to_reply_seconds"
    assert found[f"{name}_bucket", labels(le="0.0005")] == 90
    assert found[f"{name}_bucket", labels(le="0.0015")] == 90
    assert found[f"{name}_bucket", labels(le="0.002")] == 100
    assert found[f"{name}_bucket", labels(le="+Inf")] == found[f"{name}_count", labels()] == 100
    assert found[f"{name}_sum", labels()] == pytest.approx(90 * 100e-6 + 10 * 1900e-6)


def test_metrics_without_an_engine_say_so_and_invent_nothing(client: httpx.Client) -> None:
    found = samples(client)
    assert found["trading_up", labels()] == 0
    assert found["trading_health", labels(status="failing")] == 1
    assert not [name for name, _ in found if name.startswith("trading_messages")]


def test_openmetrics_is_spoken_to_whoever_asks_for_it(engine: Publisher, client: httpx.Client) -> None:
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
