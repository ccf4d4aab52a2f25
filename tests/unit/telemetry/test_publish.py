"""The data that telemetry's publisher sends to CloudWatch, and what happens while CloudWatch is unreachable.

An emulator replaces AWS.
"""

import datetime
import signal
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import cloudwatch_metrics
from moto.server import ThreadedMotoServer
from trading_telemetry import config as telemetry_config
from trading_telemetry import publish
from trading_telemetry.cloudwatch import NAMESPACE, VALUES_IN_ONE_DATUM, Datum, Period, data_of
from trading_telemetry.observer import Observer
from trading_telemetry.publish import UnsentPeriods

from tests.unit.telemetry.conftest import Publisher

NOON_S = datetime.datetime.now(datetime.UTC).replace(second=0, microsecond=0).timestamp() - 600


@pytest.fixture
def cloudwatch() -> Iterator[Any]:
    """Run an emulated CloudWatch and yield a boto3 client of it."""
    server, url = started(0)
    yield client(url)
    server.stop()


def started(port: int) -> tuple[ThreadedMotoServer, str]:
    """Start an emulator of AWS and delete the data of earlier tests. Return the server and its URL.

    The emulator keeps its data as long as this process runs.
    """
    cloudwatch_metrics.install(Hooks())
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    return server, url


def client(url: str) -> Any:
    options = Config(retries={"max_attempts": 1})
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("cloudwatch", region_name="us-east-1", endpoint_url=url, config=options, **keys)


def statistic(cloudwatch: Any, name: str, stat: str) -> list[float]:
    dimensions = [{"Name": "InstanceId", "Value": "i-0123"}]
    metric = {"Namespace": NAMESPACE, "MetricName": name, "Dimensions": dimensions}
    query = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}
    answer = cloudwatch.get_metric_data(
        MetricDataQueries=[query],
        StartTime=datetime.datetime.fromtimestamp(NOON_S - 60, datetime.UTC),
        EndTime=datetime.datetime.fromtimestamp(NOON_S + 3600, datetime.UTC),
    )
    values: list[float] = answer["MetricDataResults"][0]["Values"]
    return values


def observed(observer: Observer, period: Period, tmp_path: Path) -> list[Datum]:
    observation = observer.sample()
    window = observer.newest_window()
    if window is not None:
        period.add(window)
    return data_of([(period, observation)], tmp_path, NOON_S, "i-0123", 60)


@pytest.fixture
def data(engine: Publisher, state_path: Path, tmp_path: Path) -> list[Datum]:
    """Return the data about a period.

    In this period there were 1,000 orders of 1 to 1,000 µs, 5 rejects, and a garbage collection of 40 µs.
    """
    observer = Observer(state_path)
    observer.sample()
    for latency_us in range(1, 1001):
        engine.orders(1, latency_us)
    engine.count("rejects_X", 5)
    engine.gauge("gc_pause_max_ns", 40_000)
    engine.gauge("journal_lag_bytes", 77)
    engine.publish()
    return observed(observer, Period(), tmp_path)


def test_percentiles_can_be_worked_out_of_what_was_sent(data: list[Datum]) -> None:
    parts = [datum for datum in data if datum["MetricName"] == "OrderLatency"]
    assert len(parts) > 1
    assert all(len(part["Values"]) == len(part["Counts"]) <= VALUES_IN_ONE_DATUM for part in parts)
    values = sorted(
        value
        for part in parts
        for value, count in zip(part["Values"], part["Counts"], strict=True)
        for _ in range(int(count))
    )
    assert len(values) == 1000
    assert values[989] == pytest.approx(990, rel=0.01)
    assert values[499] == pytest.approx(500, rel=0.01)


def test_the_emulated_cloudwatch_gives_back_what_was_published(cloudwatch: Any, data: list[Datum]) -> None:
    cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)
    assert statistic(cloudwatch, "OrderLatency", "SampleCount") == [1000]
    assert statistic(cloudwatch, "OrderLatency", "Maximum") == pytest.approx([1000], rel=0.01)
    for percent in (50, 99, 99.9):
        assert statistic(cloudwatch, "OrderLatency", f"p{percent}") == pytest.approx([10 * percent], rel=0.01)
    assert statistic(cloudwatch, "Rejects", "Sum") == [5]
    assert statistic(cloudwatch, "EngineUp", "Minimum") == [1]
    assert statistic(cloudwatch, "GcPauseMax", "Maximum") == [40]
    assert statistic(cloudwatch, "JournalLag", "Maximum") == [77]
    assert 0 < statistic(cloudwatch, "DiskUsed", "Maximum")[0] < 100
    assert statistic(cloudwatch, "JournalSecondsLeft", "Minimum") == []


def test_without_an_engine_only_that_and_the_host_are_sent(state_path: Path, tmp_path: Path) -> None:
    data = observed(Observer(state_path), Period(), tmp_path)
    sent = {datum["MetricName"]: datum.get("Value") for datum in data}
    assert sent["EngineUp"] == 0
    assert not sent.keys() & {"OrderLatency", "Throughput", "Rejects"}
    assert "MemoryUsed" in sent


def test_a_restart_within_a_period_keeps_what_was_counted_before(
    engine: Publisher, state_path: Path, tmp_path: Path
) -> None:
    observer, period = Observer(state_path), Period()
    observer.sample()
    engine.orders(10, 100)
    engine.publish()
    observed(observer, period, tmp_path)
    restarted = Publisher(state_path)
    observed(observer, period, tmp_path)
    restarted.orders(5, 100)
    restarted.publish()
    observed(observer, period, tmp_path)
    assert period.orders == sum(period.counts) == 15


def put_with(cloudwatch: Any) -> UnsentPeriods:
    return UnsentPeriods(lambda data: cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data) and None)


def test_an_outage_loses_nothing_within_the_buffer(data: list[Datum]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    cloudwatch = client(f"http://127.0.0.1:{port}")
    unsent, now_s = put_with(cloudwatch), 0.0
    for minute in range(5):
        unsent.add([{**datum, "Timestamp": NOON_S + 60 * minute} for datum in data])
        unsent.send(now_s := now_s + 60)
    assert (len(unsent), unsent.dropped) == (5, 0)
    server, _ = started(port)
    unsent.send(now_s + 60)
    assert len(unsent) == 0
    assert statistic(cloudwatch, "Rejects", "Sum") == [5] * 5
    server.stop()


def refuse(_data: list[Datum]) -> None:
    raise ConnectionError("unreachable")


def test_beyond_the_buffer_the_oldest_goes_and_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    unsent = UnsentPeriods(refuse)
    for _ in range(publish.KEPT_PERIODS + 3):
        unsent.add([])
    assert (len(unsent), unsent.dropped) == (publish.KEPT_PERIODS, 3)
    assert "3 periods dropped" in caplog.text


def test_failures_are_tried_again_after_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []
    now_s = 0.0

    def failing(data: list[Datum]) -> None:
        tries.append(now_s)
        refuse(data)

    unsent = UnsentPeriods(failing)
    unsent.add([])
    while now_s < 400:
        unsent.send(now_s)
        now_s += 1
    assert [round(b - a) for a, b in pairwise(tries)][:8] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("code", ["InvalidParameterValue", "InvalidParameterValueException", "ValidationError"])
def test_what_is_never_accepted_goes_and_holds_nothing_behind_it(caplog: pytest.LogCaptureFixture, code: str) -> None:
    sent: list[list[Datum]] = []

    def put(data: list[Datum]) -> None:
        if not data:
            raise ClientError({"Error": {"Code": code, "Message": "Timestamp"}}, "PutMetricData")
        sent.append(data)

    unsent = UnsentPeriods(put)
    unsent.add([])
    unsent.add([{"MetricName": "EngineUp"}])
    unsent.send(0.0)
    assert sent == [[{"MetricName": "EngineUp"}]]
    assert (len(unsent), unsent.dropped) == (0, 1)
    assert "1 periods dropped" in caplog.text


def test_what_boto3_does_not_send_goes_as_well(cloudwatch: Any, data: list[Datum]) -> None:
    unsent = put_with(cloudwatch)
    unsent.add([{**data[0], "MetricName": ""}])
    unsent.add(data)
    unsent.send(0.0)
    assert (len(unsent), unsent.dropped) == (0, 1)
    assert statistic(cloudwatch, "Rejects", "Sum") == [5]


@pytest.mark.parametrize("code", ["Throttling", "RequestExpired", "AccessDenied", "InternalFailure"])
def test_what_may_be_accepted_later_waits(code: str) -> None:
    def put(_data: list[Datum]) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "PutMetricData")

    unsent = UnsentPeriods(put)
    unsent.add([])
    unsent.send(0.0)
    assert (len(unsent), unsent.dropped) == (1, 0)


HOUR_S = 3600.0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("step_s", [-3 * HOUR_S, 3 * HOUR_S])
def test_a_wall_clock_that_is_set_silences_nothing(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """After the wall clock was set, the publisher still sends every 10 s.

    In this test, five minutes pass. The test sets the clocks, so no wait takes real time.
    """
    clock = {"monotonic": 1000.0, "ahead": 1_800_000_000.0}
    sent: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            clock["monotonic"] += timeout or 0.0
            if 1100 < clock["monotonic"] <= 1100 + publish.LOOK_S:
                clock["ahead"] += step_s
            return clock["monotonic"] > 1300

    def put_metric_data(Namespace: str, MetricData: list[Datum]) -> None:  # noqa: N803  # boto3's names
        sent.append(MetricData[0]["Timestamp"])

    text = config_file.read_text()
    config_file.write_text(f'{text}[cloudwatch]\nperiod_s = 10\nregion = "us-east-1"\ninstance_id = "i-0123"\n')
    monkeypatch.setattr(publish, "_client", lambda _: (SimpleNamespace(put_metric_data=put_metric_data), "i-0123"))
    monkeypatch.setattr(
        publish,
        "time",
        SimpleNamespace(monotonic=lambda: clock["monotonic"], time=lambda: clock["monotonic"] + clock["ahead"]),
    )
    monkeypatch.setattr(publish, "threading", SimpleNamespace(Event=Stopping))
    monkeypatch.setattr(publish, "signal", SimpleNamespace(**{**vars(signal), "signal": lambda *_: None}))
    publish.publish(telemetry_config.load_config(config_file))
    assert len(sent) == pytest.approx(30, abs=2)
    assert all(time_s % 10 == 0 for time_s in sent)
    assert len(set(sent)) == len(sent)
