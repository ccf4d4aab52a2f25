"""Modules of the collection, with the API of the embedded EC2.

A module that changes something runs three times: in check mode, then normally, and then once more, which must change
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.unit.plugins.conftest import run_module  # noqa: F401  the fixture

from .conftest import ROOT, Account

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run(account: Account, monkeypatch: pytest.MonkeyPatch, run_module: RunModule) -> RunModule:  # noqa: F811
    """Return a function that runs a module with the AWS account of the tests."""
    for name, value in account.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return run_module


def apply_thrice(run: RunModule, name: str, /, **arguments: Any) -> dict[str, Any]:
    """Run a module in check mode, then normally, then once more. Return the report of the normal run.

    The first two runs must report the same change. The third must report no change.
    """
    checked = run(name, check=True, region="us-east-1", **arguments)
    real = run(name, region="us-east-1", **arguments)
    again = run(name, region="us-east-1", **arguments)
    assert "failed" not in real, real
    assert (checked["changed"], real["changed"], again["changed"]) == (True, True, False)
    assert checked["diff"] == real["diff"]
    return real


def dashboard(title: str) -> dict[str, Any]:
    """Return the content of a dashboard that shows one text."""
    place = {"x": 0, "y": 0, "width": 24, "height": 2}
    return {"widgets": [{"type": "text", **place, "properties": {"markdown": title}}]}


def test_a_dashboard_is_made_changed_and_deleted(account: Account, run: RunModule) -> None:
    cloudwatch = account.client("cloudwatch")
    for title in ("# One", "# Two"):
        apply_thrice(run, "cloudwatch_dashboard", name="by-module", body=dashboard(title))
        stored = json.loads(cloudwatch.get_dashboard(DashboardName="by-module")["DashboardBody"])
        assert stored == dashboard(title)
    apply_thrice(run, "cloudwatch_dashboard", name="by-module", state="absent")
    assert cloudwatch.list_dashboards(DashboardNamePrefix="by-module")["DashboardEntries"] == []


def test_a_dashboard_that_would_be_drawn_elsewhere_is_not_stored(account: Account, run: RunModule) -> None:
    body = {"widgets": dashboard("a")["widgets"] * 2}
    report = run("cloudwatch_dashboard", region="us-east-1", name="by-module", body=body)
    assert report["failed"] is True
    assert "widget 1 (text): covers widget 0 (text)" in report["msg"]
    assert account.client("cloudwatch").list_dashboards(DashboardNamePrefix="by-module")["DashboardEntries"] == []


def alarm(name: str, threshold: float) -> dict[str, Any]:
    """Return an alarm in the form of the arguments of PutMetricAlarm."""
    return {
        "AlarmName": f"by-module/{name}",
        "Namespace": "AWS/EC2",
        "MetricName": "CPUUtilization",
        "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
        "Statistic": "Average",
        "Period": 300,
        "EvaluationPeriods": 2,
        "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold",
    }


def thresholds(account: Account) -> dict[str, float]:
    """Return the threshold of each alarm that the tests of this file have made, by the alarm's name."""
    found = account.client("cloudwatch").describe_alarms(AlarmNamePrefix="by-module")["MetricAlarms"]
    return {one["AlarmName"]: one["Threshold"] for one in found}


def test_alarms_are_made_changed_and_deleted_as_a_set(account: Account, run: RunModule) -> None:
    name, prefix = "cloudwatch_alarms", "by-module/"
    account.client("cloudwatch").put_metric_alarm(**{**alarm("a", 1), "AlarmName": "by-module-b/a"})

    made = apply_thrice(run, name, prefix=prefix, alarms=[alarm("a", 80), alarm("b", 80)], tags={"Project": "x"})
    assert made["put"] == ["by-module/a", "by-module/b"]
    changed = apply_thrice(run, name, prefix=prefix, alarms=[alarm("a", 80), alarm("b", 90)])
    assert (changed["put"], changed["deleted"]) == (["by-module/b"], [])
    fewer = apply_thrice(run, name, prefix=prefix, alarms=[alarm("a", 80)])
    assert (fewer["put"], fewer["deleted"]) == ([], ["by-module/b"])
    apply_thrice(run, name, prefix=prefix, alarms=[])
    assert thresholds(account) == {"by-module-b/a": 1}

    account.client("cloudwatch").delete_alarms(AlarmNames=["by-module-b/a"])


def test_a_composite_alarm_follows_the_alarms_that_it_names(account: Account, run: RunModule) -> None:
    def composite(*names: str) -> dict[str, Any]:
        rule = " OR ".join(f'ALARM("by-module/{name}")' for name in names)
        return {"AlarmName": "by-module/all", "AlarmRule": rule}

    name, prefix = "cloudwatch_alarms", "by-module/"
    apply_thrice(run, name, prefix=prefix, alarms=[composite("a", "b"), alarm("a", 80), alarm("b", 80)])
    fewer = apply_thrice(run, name, prefix=prefix, alarms=[composite("a"), alarm("a", 80)])
    assert (fewer["put"], fewer["deleted"]) == (["by-module/all"], ["by-module/b"])
    none = apply_thrice(run, name, prefix=prefix, alarms=[])
    assert none["deleted"] == ["by-module/all", "by-module/a"]


def test_a_breach_reaches_the_subscriber_of_the_topic(account: Account, run: RunModule) -> None:
    sns, sqs, cloudwatch = account.client("sns"), account.client("sqs"), account.client("cloudwatch")
    queue = sqs.create_queue(QueueName="by-module")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = sns.create_topic(Name="by-module")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)
    composite = {"AlarmName": "by-module/all", "AlarmRule": 'ALARM("by-module/a")', "AlarmActions": [topic]}
    run("cloudwatch_alarms", region="us-east-1", prefix="by-module/", alarms=[alarm("a", 80), composite])

    cloudwatch.set_alarm_state(AlarmName="by-module/all", StateValue="ALARM", StateReason="breach")
    (message,) = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    told = json.loads(json.loads(message["Body"])["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == ("by-module/all", "ALARM")

    run("cloudwatch_alarms", region="us-east-1", prefix="by-module/", alarms=[])
    sns.delete_topic(TopicArn=topic)
    sqs.delete_queue(QueueUrl=queue)


def test_an_alarm_outside_of_the_prefix_is_refused(account: Account, run: RunModule) -> None:
    report = run("cloudwatch_alarms", region="us-east-1", prefix="other/", alarms=[alarm("a", 80)])
    assert report["failed"] is True
    assert "by-module/a does not begin with the prefix other/" in report["msg"]
    assert thresholds(account) == {}


def test_the_default_type_is_what_its_documentation_says(run: RunModule) -> None:
    report = run("instance_type_info", region="us-east-1", instance_type="c6g.medium")
    assert (report["architecture"], report["vcpus"], report["memory_mib"]) == ("arm64", 1, 2048)
    assert report["availability_zones"] == sorted(report["availability_zones"])
    assert report["availability_zones"][0] == "us-east-1a"


def test_quotas_are_read_where_the_account_tells_them(account: Account, run: RunModule) -> None:
    needed = {"vcpus": 1, "vpcs": 1}
    report = run("service_quota_info", region="us-east-1", needed=needed, instance_type="c6g.medium")
    vcpus, vpcs = report["quotas"]
    assert (vcpus["limit"], vcpus["left"]) == (None, None)  # the embedded EC2 has none for instances
    assert (vpcs["limit"], vpcs["used"]) == (5, len(account.client("ec2").describe_vpcs()["Vpcs"]))
    assert vpcs["left"] == vpcs["limit"] - vpcs["used"]


def test_prices_come_from_the_table_without_a_price_list(run: RunModule) -> None:
    table = yaml.safe_load((ROOT / "files/prices.yml").read_text(encoding="utf-8"))
    report = run("price_info", region="us-east-1", instance_type="c6g.medium", prices=table)
    on_demand, spot, reserved = report["offers"]
    assert (on_demand["usd_per_hour"], on_demand["source"]) == (0.034, f"files/prices.yml, {table['as_of']}")
    assert reserved["usd_per_hour"] == 0.0214
    assert spot["source"].startswith("EC2 API, us-east-1")


def test_a_vpc_keeps_its_network(account: Account, run: RunModule) -> None:
    ec2 = account.client("ec2")
    tags = [{"Key": "Project", "Value": "lowlatency-trading"}, {"Key": "Environment", "Value": "kept"}]
    made = ec2.create_vpc(CidrBlock="10.90.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}])["Vpc"]

    def look(cidr: str) -> dict[str, Any]:
        return run("deployment_info", region="us-east-1", environment="kept", vpc_cidr=cidr)

    assert look("10.90.0.0/16")["changed"] is False
    refused = look("10.91.0.0/16")
    assert refused["msg"].startswith(f"trading_vpc_cidr: {made['VpcId']} was made with 10.90.0.0/16")
    ec2.delete_vpc(VpcId=made["VpcId"])
    assert look("10.91.0.0/16")["changed"] is False


def test_a_missing_host_key_is_waited_for_no_longer_than_told(account: Account, run: RunModule) -> None:
    ec2 = account.client("ec2")
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    (made,) = ec2.run_instances(ImageId=image, InstanceType="c6g.medium", MinCount=1, MaxCount=1)["Instances"]
    report = run("ec2_host_key_info", region="us-east-1", instance_ids=[made["InstanceId"]], wait_seconds=0)
    assert report["host_keys"] == {}
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_a_host_key_of_an_unknown_instance_is_an_error(run: RunModule) -> None:
    report = run("ec2_host_key_info", region="us-east-1", instance_ids=["i-0123456789abcdef0"], wait_seconds=0)
    assert report["failed"] is True
    assert "Cannot read the console output in region us-east-1" in report["msg"]


def test_a_flow_log_is_made_replaced_and_deleted(account: Account, run: RunModule) -> None:
    ec2 = account.client("ec2")
    account.client("logs").create_log_group(logGroupName="/by-module/flow")
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    for role in ("one", "two"):
        arn = f"arn:aws:iam::123456789012:role/{role}"
        made = apply_thrice(run, "vpc_flow_log", log_group="/by-module/flow", vpc_id=vpc_id, role_arn=arn)
        (stored,) = ec2.describe_flow_logs()["FlowLogs"]
        assert (stored["FlowLogId"], stored["DeliverLogsPermissionArn"]) == (made["flow_log_id"], arn)
    apply_thrice(run, "vpc_flow_log", log_group="/by-module/flow", state="absent")
    assert ec2.describe_flow_logs()["FlowLogs"] == []
    account.client("logs").delete_log_group(logGroupName="/by-module/flow")


def test_a_flow_log_of_no_vpc_is_an_error_that_says_so(run: RunModule) -> None:
    arn = "arn:aws:iam::123456789012:role/one"
    report = run("vpc_flow_log", region="us-east-1", log_group="/by-module/flow", vpc_id="vpc-0", role_arn=arn)
    assert report["failed"] is True
    assert "Cannot change the flow log of /by-module/flow in region us-east-1" in report["msg"]
