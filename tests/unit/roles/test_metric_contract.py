"""Alarms and the dashboard use only metrics that exist.

These are the metrics in files/metrics.yml, and EC2's own metrics.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import cloudwatch

from .templates import GROUPS, ROOT, render

METRICS: dict[str, Any] = yaml.safe_load((ROOT / "files/metrics.yml").read_text(encoding="utf-8"))
CONTRACT: dict[str, Any] = METRICS["cloudwatch"]
SEARCH = re.compile(
    r"SEARCH\('\{LowLatencyTrading,(?P<dimensions>[^}]+)\} MetricName=\"(?P<name>\w+)\" "
    r"InstanceId=\"(?P<instance>[^\"]+)\"(?: pattern=\"(?P<pattern>[^\"]+)\")?', '(?P<statistic>\w+)', 60\)"
)
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_metrics_with_cloudwatch.html
EC2_METRICS = {
    **{name: {"Average", "Maximum"} for name in ("CPUUtilization", "StatusCheckFailed_System")},
    **{name: {"Sum"} for name in ("NetworkIn", "NetworkOut", "EBSReadBytes", "EBSWriteBytes")},
}
VOLUME_SEARCH = re.compile(r"SEARCH\('MetricName=\"(?P<name>\w+)\" VolumeId=\"(?P<volume>[^\"]+)\"', 'Average', 60\)")
# https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-cloudwatch-metrics.html
BALANCER_METRICS = {"HealthyHostCount": {"Maximum", "Minimum"}}
FREE_METRICS = 10
AGENT_METRICS = 21  # these cost money, as docs/aws.md says
SESSION = {"from_hour_utc": 14, "to_hour_utc": 21, "floor_per_s": 100}


def all_alarms() -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = render("alarms.yml.j2", aws_monitoring_session=SESSION)
    return rendered


def group_alarms() -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = render("group_alarms.yml.j2", aws_monitoring_groups=GROUPS)
    return rendered


@pytest.fixture(scope="module")
def alarms() -> list[dict[str, Any]]:
    return [alarm for alarm in all_alarms() if "AlarmRule" not in alarm]


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    rendered: dict[str, Any] = render("dashboard.yml.j2")
    return rendered


def published(namespace: str) -> dict[str, set[str]]:
    """Return the metrics of a namespace by name. The value is the set of statistics that the metric can have."""
    if namespace.startswith("AWS/"):
        return {"AWS/EC2": EC2_METRICS, "AWS/NetworkELB": BALANCER_METRICS}[namespace]
    assert namespace == CONTRACT["namespace"]
    return {metric["name"]: set(metric["statistics"]) for metric in CONTRACT["metrics"]}


def test_every_alarm_watches_a_published_metric_by_a_meaningful_statistic(alarms: list[dict[str, Any]]) -> None:
    assert len(alarms) == 2 * 15
    for alarm in alarms:
        if "Metrics" in alarm:
            stat = next(metric["MetricStat"] for metric in alarm["Metrics"] if "MetricStat" in metric)
            watched = (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], stat["Stat"])
        else:
            statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
            watched = (alarm["Namespace"], alarm["MetricName"], statistic)
        namespace, name, statistic = watched
        assert statistic in published(namespace)[name] | {"SampleCount"}, alarm["AlarmName"]


def test_each_host_has_alarms_of_its_own(alarms: list[dict[str, Any]]) -> None:
    names = [alarm["AlarmName"] for alarm in alarms]
    assert len(set(names)) == len(names)
    for number, instance in ((1, "i-1"), (2, "i-2")):
        mine = [alarm for alarm in alarms if alarm["AlarmName"].startswith(f"trading-demo/trading-demo-{number}/")]
        assert len(mine) == 15
        for alarm in mine:
            if "Dimensions" in alarm:
                assert alarm["Dimensions"] == [{"Name": "InstanceId", "Value": instance}]


def test_one_alarm_of_each_host_stands_for_all_of_its_others_and_one_for_its_silence(
    alarms: list[dict[str, Any]],
) -> None:
    composites = {alarm["AlarmName"]: alarm for alarm in all_alarms() if "AlarmRule" in alarm}
    hosts = {f"trading-demo/trading-demo-{number}/": f"i-{number}" for number in (1, 2)}
    assert set(composites) == {f"{host}{name}" for host in hosts for name in ("promise", "silent")}
    for host, instance_id in hosts.items():
        promise, silent, heard = composites[f"{host}promise"], composites[f"{host}silent"], f"{host}heard-{instance_id}"
        mine = {alarm["AlarmName"] for alarm in alarms if alarm["AlarmName"].startswith(host)}
        assert set(re.findall(r'ALARM\("([^"]+)"\)', promise["AlarmRule"])) == mine - {heard}
        assert promise["AlarmActions"] == promise["OKActions"] == ["arn:aws:sns:us-east-1:1:trading-demo-alarms"]
        assert silent["AlarmRule"] == f'INSUFFICIENT_DATA("{heard}")'
        assert silent["AlarmActions"] == promise["AlarmActions"]
        assert "OKActions" not in silent  # no notice about the first data


def test_each_group_has_one_alarm_that_is_on_while_no_target_is_healthy_or_registered() -> None:
    alarms = group_alarms()
    topic = ["arn:aws:sns:us-east-1:1:trading-demo-alarms"]
    names = [alarm["AlarmName"] for alarm in alarms]
    assert names == ["trading-demo/alpha/healthy-host", "trading-demo/beta/healthy-host"]
    for alarm, group in zip(alarms, GROUPS, strict=True):
        assert alarm["Statistic"] in published(alarm["Namespace"])[alarm["MetricName"]]
        assert alarm["Dimensions"] == [
            {"Name": "LoadBalancer", "Value": group["load_balancer"]},
            {"Name": "TargetGroup", "Value": group["target_group"]},
        ]
        assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
        # CloudWatch has the metric only while a target is registered.
        assert alarm["TreatMissingData"] == "breaching"
        assert alarm["AlarmActions"] == alarm["OKActions"] == topic


def test_without_a_backup_its_alarm_alone_is_left_out(alarms: list[dict[str, Any]]) -> None:
    names = {alarm["AlarmName"] for alarm in alarms}
    without = render("alarms.yml.j2", aws_monitoring_session=SESSION, aws_monitoring_backup="none")
    left = {alarm["AlarmName"] for alarm in without if "AlarmRule" not in alarm}
    assert names - left == {f"trading-demo/trading-demo-{number}/backup" for number in (1, 2)}


def test_percentile_alarms_say_what_few_samples_mean(alarms: list[dict[str, Any]]) -> None:
    percentiles = [alarm for alarm in alarms if "ExtendedStatistic" in alarm]
    assert {alarm["ExtendedStatistic"] for alarm in percentiles} == {"p95", "p99"}
    assert all(alarm["EvaluateLowSampleCountPercentile"] == "ignore" for alarm in percentiles)


def test_a_silent_engine_is_an_alarm(alarms: list[dict[str, Any]]) -> None:
    engine = next(alarm for alarm in alarms if alarm["AlarmName"].endswith("/engine-up"))
    assert engine["TreatMissingData"] == "breaching"


def test_the_dashboard_shows_every_metric_of_the_contract_for_each_host(dashboard: dict[str, Any]) -> None:
    shown = {
        (line[0], line[1], line[3], line[4]["stat"])
        for widget in dashboard["widgets"]
        if widget["type"] == "metric"
        for line in widget["properties"]["metrics"]
        if len(line) > 1
    }
    wanted = {
        (CONTRACT["namespace"], metric["name"], instance, statistic)
        for metric in CONTRACT["metrics"]
        for instance in ("i-1", "i-2")
        for statistic in metric["statistics"]
    }
    assert wanted <= shown
    for namespace, name, _instance, statistic in shown:
        assert statistic in published(namespace)[name]


def test_the_dashboard_searches_every_metric_that_the_agent_collects(dashboard: dict[str, Any]) -> None:
    searched = []
    for widget in dashboard["widgets"]:
        for line in widget["properties"].get("metrics", []):
            if len(line) == 1 and not VOLUME_SEARCH.fullmatch(line[0]["expression"]):
                found = SEARCH.fullmatch(line[0]["expression"])
                assert found, line
                searched.append(found.groupdict())
    assert searched
    wanted = [
        {
            "dimensions": ",".join(metric["dimensions"]),
            "name": metric["name"],
            "instance": instance,
            "pattern": metric.get("pattern"),
            "statistic": statistic,
        }
        for instance in ("i-1", "i-2")
        for metric in METRICS["agent"]["metrics"]
        for statistic in metric["statistics"]
    ]

    def by_text(one: dict[str, str]) -> str:
        return str(sorted(one.items(), key=str))

    assert sorted(searched, key=by_text) == sorted(wanted, key=by_text)


def test_the_dashboard_shows_network_and_disks_of_each_host_at_no_cost(
    dashboard: dict[str, Any],
) -> None:
    lines = [line for widget in dashboard["widgets"] for line in widget["properties"].get("metrics", [])]
    shown = {(line[1], line[3]) for line in lines if line[0] == "AWS/EC2"}
    assert {(name, f"i-{number}") for name in EC2_METRICS for number in (1, 2)} - shown == {
        ("StatusCheckFailed_System", "i-1"),
        ("StatusCheckFailed_System", "i-2"),
    }
    found = [VOLUME_SEARCH.fullmatch(line[0]["expression"]) for line in lines if len(line) == 1]
    latencies = {"VolumeAvgReadLatency", "VolumeAvgWriteLatency"}
    assert {(one["name"], one["volume"]) for one in found if one} == {
        (name, f"vol-{number}") for name in latencies for number in (1, 2)
    }


def test_the_dashboard_is_drawn_as_it_says(dashboard: dict[str, Any]) -> None:
    assert list(cloudwatch.dashboard_problems(dashboard, "us-east-1")) == []


def test_a_host_may_put_metrics_of_the_contract_and_no_others() -> None:
    policy = render("host-policy.json.j2", "aws_identity", aws_identity_account="1", aws_identity_partition="aws")
    (statement,) = (one for one in policy["Statement"] if "cloudwatch:PutMetricData" in one["Action"])
    assert statement["Effect"] == "Allow"
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": CONTRACT["namespace"]}}


def test_a_host_may_do_nothing_else_but_write_its_logs_and_put_its_backup() -> None:
    policy = render("host-policy.json.j2", "aws_identity", aws_identity_account="1", aws_identity_partition="aws")
    assert [one["Action"] for one in policy["Statement"]] == [
        "cloudwatch:PutMetricData",
        ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
        "s3:PutObject",
    ]


def test_what_a_host_publishes_fits_the_metrics_for_nothing_but_the_backups_and_the_agents_are_few() -> None:
    assert CONTRACT["dimensions"] == ["InstanceId"]
    assert len([metric for metric in CONTRACT["metrics"] if metric["name"] != "BackupAge"]) <= FREE_METRICS
    assert len(METRICS["agent"]["metrics"]) == AGENT_METRICS


def thresholds(**variables: Any) -> dict[str, float]:
    """Return the thresholds of a host's alarms, by the alarm's name."""
    rendered = render("alarms.yml.j2", **variables)
    return {alarm["AlarmName"].rpartition("/")[2]: alarm["Threshold"] for alarm in rendered if "Threshold" in alarm}


def test_alarm_thresholds_are_the_promise_and_follow_the_shared_targets() -> None:
    promised = {"latency-avg": 500, "latency-p95": 1000, "latency-p99": 2000, "cpu": 80, "memory": 90}
    assert promised.items() <= thresholds().items()
    assert {**promised, "latency-p99": 1500}.items() <= thresholds(trading_slo={"p99_us": 1500}).items()


def test_a_target_under_its_former_name_is_followed_for_one_release() -> None:
    assert thresholds(slo_p99_us=1500)["latency-p99"] == 1500


def test_each_alarm_links_to_its_runbook_and_each_runbook_belongs_to_an_alarm() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    linked = {
        alarm["AlarmDescription"].rpartition(" ")[2]
        for alarm in [*all_alarms(), *group_alarms()]
        if "/heard-" not in alarm["AlarmName"]
    }
    pages = {page.name for page in (ROOT / "docs/runbooks").glob("*.md")} - {"README.md"}
    assert linked == {f"{galaxy['documentation']}/runbooks/{page}" for page in pages}
    for page in pages:
        text = (ROOT / "docs/runbooks" / page).read_text(encoding="utf-8")
        titles = ("## Meaning", "## First command", "## End of the alarm")
        assert [title for title in titles if title not in text] == [], page
        assert f"({page})" in (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")


def test_the_estimate_counts_the_alarms_that_are_made() -> None:
    preflight = yaml.safe_load((ROOT / "roles/aws_preflight/vars/main.yml").read_text(encoding="utf-8"))
    made = [alarm for alarm in render("alarms.yml.j2") if "trading-demo-1/" in alarm["AlarmName"]]
    assert (
        len([alarm for alarm in made if "AlarmRule" not in alarm]) == preflight["__aws_preflight_alarms_per_host"] + 1
    )
    assert len([alarm for alarm in made if "AlarmRule" in alarm]) == 2
    assert len(group_alarms()) == len(GROUPS) * preflight["__aws_preflight_alarms_per_group"]
