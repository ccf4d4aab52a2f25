"""On a host with several engines, telemetry names each engine by its partition.

On a host without partitions, it shows no such name.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import jsonschema
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from trading_engine.settings.tables import ConfigError
from trading_telemetry.cloudwatch import Period, data_of
from trading_telemetry.config import load_config
from trading_telemetry.metrics import BY_NAME
from trading_telemetry.observer import Observer
from trading_telemetry.openapi import DESCRIPTION, describe
from trading_telemetry.prometheus import EngineCollector
from trading_telemetry.service import Service

from tests.unit.telemetry.conftest import Publisher

OF_THE_HOST = ("trading_host_", "trading_slo_target_", "trading_certificate_", "trading_backup_")

SHOWN_FIRST = [
    "trading_up",
    "trading_health",
    "trading_slo_target_seconds",
    "trading_slo_target_feed_seconds",
    "trading_slo_target_orders_per_second",
    "trading_slo_target_cpu_ratio",
    "trading_slo_target_memory_ratio",
    "trading_host_cpu_seconds_total",
    "trading_host_memory_bytes",
    "trading_host_memory_available_bytes",
    "trading_host_network_bytes_total",
    "trading_state_age_seconds",
    "trading_engine_info",
    "trading_start_time_seconds",
    "trading_journal_failed",
    "trading_engine_resident_bytes",
]
SHOWN_LAST = "trading_slo_over_target_total"


def table(name: str, path: Path | str) -> str:
    return f'[[partitions]]\nname = "{name}"\npath = "{path}"\n'


@pytest.fixture
def config_file(tmp_path: Path, slo_path: Path) -> Path:
    """Return the configuration file of a host with the partitions alpha and beta.

    The fixture `client` also uses this file.
    """
    path = tmp_path / "telemetry.toml"
    partitions = "".join(table(name, tmp_path / f"{name}.shm") for name in ("alpha", "beta"))
    path.write_text(f'{partitions}[http]\naddress = "127.0.0.1"\n[slo]\nfile = "{slo_path}"\n')
    return path


@pytest.fixture
def alpha(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path / "alpha.shm")
    yield publisher
    publisher.writer.close()


@pytest.fixture
def beta(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path / "beta.shm")
    yield publisher
    publisher.writer.close()


def test_each_partition_has_documents_of_its_own_and_the_first_is_shown_to_who_names_none(
    alpha: Publisher, beta: Publisher, client: httpx.Client
) -> None:
    alpha.orders(7, latency_us=100)
    beta.orders(11, latency_us=100)
    for each in (alpha, beta):
        each.publish()
    for asked, name, count in (
        ({}, "alpha", 7),
        ({"partition": "alpha"}, "alpha", 7),
        ({"partition": "beta"}, "beta", 11),
    ):
        latest = client.get("/latest", params=asked).json()
        assert (latest["partition"], latest["counters"]["enters_received"]) == (name, count)
        assert latest["partitions"] == {"alpha": "ok", "beta": "ok"}
        assert client.get("/history", params={**asked, "window": 10}).json()["time_s"]
    with ExitStack() as streams:
        for name in ("beta", "alpha"):
            stream = streams.enter_context(client.stream("GET", "/stream", params={"partition": name}))
            line = next(line for line in stream.iter_lines() if line.startswith("data: "))
            assert json.loads(line.removeprefix("data: "))["partition"] == name


def test_an_unknown_partition_is_404_and_says_which_there_are(alpha: Publisher, client: httpx.Client) -> None:
    for path in ("/latest", "/history", "/stream", "/health"):
        for name in ("gamma", "", "ALPHA"):
            answer = client.get(path, params={"partition": name})
            assert answer.status_code == 404
            assert answer.json() == {"error": "no such partition: this host has alpha, beta"}


def test_health_judges_each_partition_and_names_the_one_that_is_ill(alpha: Publisher, client: httpx.Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["age_s"]) == (503, "failing", None)
    ill = [check["reason"] for check in answer.json()["checks"] if check["status"] != "ok"]
    assert [reason.split(": ")[:2] for reason in ill] == [["beta", "engine down"]]
    names = [check["name"] for check in answer.json()["checks"]]
    assert (names.count("engine"), names.count("tuning")) == (2, 1)
    assert client.get("/latest").json()["partitions"] == {"alpha": "ok", "beta": "failing"}
    of_one = client.get("/health", params={"partition": "alpha"})
    assert (of_one.status_code, of_one.json()["status"]) == (200, "ok")
    assert of_one.json()["checks"][0]["reason"].startswith("published ")


def families(client: httpx.Client) -> list[Metric]:
    return list(text_string_to_metric_families(client.get("/metrics").text))


def test_what_an_engine_does_has_the_partition_as_a_label_and_what_the_host_does_has_none(
    alpha: Publisher, beta: Publisher, client: httpx.Client
) -> None:
    beta.orders(11, latency_us=100)
    beta.publish()
    found = families(client)
    assert len({family.name for family in found}) == len(found)  # Prometheus refuses a family that occurs twice
    for family in found:
        if family.name.startswith("trading_"):
            labels = {sample.labels.get("partition") for sample in family.samples}
            assert labels == ({None} if family.name.startswith(OF_THE_HOST) else {"alpha", "beta"}), family.name
    counts = {
        sample.labels["partition"]: sample.value
        for family in found
        for sample in family.samples
        if sample.name == "trading_receive_to_reply_seconds_count"
    }
    assert counts == {"alpha": 0, "beta": 11}


def test_a_partition_without_an_engine_is_down_and_invents_nothing(alpha: Publisher, client: httpx.Client) -> None:
    by_name = {family.name: family for family in families(client)}
    up = {sample.labels["partition"]: sample.value for sample in by_name["trading_up"].samples}
    assert up == {"alpha": 1, "beta": 0}
    assert {sample.labels["partition"] for sample in by_name["trading_sessions"].samples} == {"alpha"}


def test_the_description_names_the_partitions_and_describes_what_is_answered(
    alpha: Publisher, client: httpx.Client
) -> None:
    described = client.get("/api").json()
    assert "of alpha unless ?partition= names another" in described["info"]["description"]
    parameter = {"name": "partition", "in": "query", "schema": {"enum": ["alpha", "beta"]}}
    for path in ("/latest", "/history", "/stream", "/health"):
        assert parameter in described["paths"][path]["parameters"]
    schema = described["paths"]["/latest"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    for name in ("alpha", "beta"):
        jsonschema.validate(client.get("/latest", params={"partition": name}).json(), schema)


def test_what_the_partitions_share_is_read_once_for_all_of_them(
    alpha: Publisher, beta: Publisher, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for module in ("service", "prometheus"):
        for name in ("tuning", "read_backup"):
            monkeypatch.setattr(f"trading_telemetry.{module}.{name}", lambda name=name: read.append(name))
    config = load_config(config_file)
    watching = Service(config)
    collector = EngineCollector({each.name: Observer(each.path) for each in config.partitions}, None)
    for ask in (watching.sample, watching.health, watching.latest, lambda: list(collector.collect())):
        read.clear()
        ask()
        assert sorted(read) == ["read_backup", "tuning"]
    watching.close()


def test_a_second_in_which_the_host_cannot_be_read_is_not_lost_for_the_engines(
    alpha: Publisher, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    watching = Service(load_config(config_file))
    monkeypatch.setattr("trading_telemetry.service.sample_host", failing)
    alpha.orders(3, latency_us=100)
    alpha.publish()
    with pytest.raises(OSError, match="open files"):
        watching.sample()
    window = watching.partition("alpha").observer.window(60)
    assert window is not None
    assert window.count(("enters_received",)) == 3
    watching.close()


class TestWithoutPartitions:
    @pytest.fixture
    def config_file(self, tmp_path: Path, slo_path: Path) -> Path:
        path = tmp_path / "telemetry.toml"
        state = f'[shared_memory]\npath = "{tmp_path}/alpha.shm"\n'
        path.write_text(f'{state}[http]\naddress = "127.0.0.1"\n[slo]\nfile = "{slo_path}"\n')
        return path

    def test_nothing_speaks_of_them(self, alpha: Publisher, client: httpx.Client) -> None:
        for path in ("/", "/health", "/latest", "/history", "/metrics", "/api"):
            assert "partition" not in client.get(path).text, path
        assert client.get("/api").json() == DESCRIPTION == describe(())

    def test_everything_is_where_it_was_before_there_were_any(self, alpha: Publisher, client: httpx.Client) -> None:
        latest = "schema time_ns age_s status checks engine counters gauges latency_max_us symbols sessions events"
        assert list(client.get("/latest").json()) == [*latest.split(), "windows", "slo", "host", "second"]
        assert list(client.get("/health").json()) == ["status", "age_s", "checks"]
        heads = [line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE ")]
        shown = [name for name in heads if name in BY_NAME and name != "trading_host_allowance_exceeded_total"]
        between = [name for name in BY_NAME if name in shown and name not in (*SHOWN_FIRST, SHOWN_LAST)]
        assert shown == [*SHOWN_FIRST, *between, SHOWN_LAST]

    def test_who_asks_for_one_is_not_given_something_else(self, alpha: Publisher, client: httpx.Client) -> None:
        answer = client.get("/latest", params={"partition": "alpha"})
        assert answer.status_code == 404
        assert answer.json() == {"error": "no such partition: this host has none, so ask without"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table("a", "/a") + '[shared_memory]\npath = "/run/x"', "[shared_memory]: path and [[partitions]] exclude"),
        (table("a", "/a") + table("a", "/b"), "number 2: name 'a' is that of "),
        (table("a", "/a") + table("b", "/a"), "number 2: path '/a' is that of "),
        (table("a b", "/a"), "number 1: name must be 1 to 32 letters, digits, - and _, the first no sign, not 'a b'"),
        (table("x" * 33, "/a"), "number 1: name must be 1 to 32 letters"),
        ('[[partitions]]\nname = "a"', "number 1: path is missing"),
        (table("a", "/a") + "cpu = 1", "number 1: unknown key 'cpu'; known here: name, path"),
        (
            "".join(table(f"p{number}", f"/{number}") for number in range(17)),
            "[[partitions]]: 17 of them; one telemetry shows at most 16",
        ),
        ("partitions = 2", "partitions must be tables [[partitions]], not 2"),
        ("partitions = [2]", "number 1 must be a table"),
    ],
)
def test_partitions_that_cannot_be_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "telemetry.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("alphas", "betas", "sent_us"), [(1000, 999, 2500), (1000, 1000, 3000), (10, 999, 3000), (999, 1000, 3000)]
)
def test_cloudwatch_gets_the_worst_of_the_partitions_under_the_names_that_the_alarms_know(
    alpha: Publisher, beta: Publisher, tmp_path: Path, alphas: int, betas: int, sent_us: int
) -> None:
    """CloudWatch gets one value of each metric: the worst value of all partitions.

    Alarms ignore the p99 of fewer than 1,000 orders. The p99 of a partition with fewer orders is therefore sent only if
    all partitions have fewer.
    """
    engines = []
    for name, publisher, latency_us, count, left_s in (
        ("alpha", alpha, 2500.0, alphas, 50),
        ("beta", beta, 3000.0, betas, 900),
    ):
        observer, period = Observer(tmp_path / f"{name}.shm"), Period()
        observer.sample()
        publisher.orders(count, latency_us)
        publisher.count("rejects_X", 2)
        publisher.gauge("journal_seconds_left", left_s)
        publisher.gauge("journal_lag_bytes", left_s)
        publisher.publish()
        observation = observer.sample()
        window = observer.newest_window()
        assert window is not None
        period.add(window)
        engines.append((period, observation))
    data = data_of(engines, tmp_path, time.time(), "i-1", 60)
    sent = {datum["MetricName"]: datum for datum in data}
    assert len(sent) == len(data)
    assert all(datum["Dimensions"] == [{"Name": "InstanceId", "Value": "i-1"}] for datum in data)
    figures = {name: datum.get("Value") for name, datum in sent.items()}
    assert (figures["EngineUp"], figures["JournalSecondsLeft"], figures["JournalLag"], figures["Rejects"]) == (
        1,
        50,
        900,
        4,
    )
    assert figures["Throughput"] == pytest.approx(sum(period.orders / period.seconds for period, _ in engines))
    assert sent["OrderLatency"]["Counts"] == [alphas if sent_us == 2500 else betas]
    assert sent["OrderLatency"]["Values"] == pytest.approx([sent_us], rel=0.01)
    gone = Observer(tmp_path / "gamma.shm").look()
    down = data_of([*engines, (Period(), gone)], tmp_path, time.time(), "i-1", 60)
    again = {datum["MetricName"]: datum.get("Value") for datum in down}
    assert (again["EngineUp"], again["Rejects"]) == (0, 4)
