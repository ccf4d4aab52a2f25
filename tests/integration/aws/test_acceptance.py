"""The requests that an acceptance run, a run of acceptance.yml, sends to AWS.

The run needs no more than the deployer's permissions. The tests run in the order of the file. The first tests need an
account without an acceptance run. Each later test checks one part of a run. `scripts/prove account` tests a whole run,
with machines.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Account, Run
from .inventory_of_account import contents

pytestmark = pytest.mark.usefixtures("in_written_order")

ENVIRONMENT = "accept-0badcafe"
TAGS = [
    {"Key": "Project", "Value": "lowlatency-trading"},
    {"Key": "Environment", "Value": ENVIRONMENT},
    {"Key": "Role", "Value": "trading"},
    {"Key": "Name", "Value": f"trading-{ENVIRONMENT}-1"},
]
ALARM = f"trading-{ENVIRONMENT}/trading-{ENVIRONMENT}-1/"


@pytest.fixture
def left(account: Account) -> Iterator[str]:
    """Create a log group, as another acceptance run could have left it. Yield that run's name."""
    name = "accept-0badf00d"
    logs = account.client("logs")
    logs.create_log_group(logGroupName=f"/trading/{name}/host")
    yield name
    logs.delete_log_group(logGroupName=f"/trading/{name}/host")


def refusal(account: Account, folder: Path) -> str:
    """Start a run that must stop, because it may not remove what another run has left. Return its output."""
    run = account.play("acceptance.yml", "-e", '{"acceptance_steps": ["none"]}', acceptance_dir=str(folder))
    assert run.code != 0
    assert "failed: prepare" in run.output
    assert list(folder.glob("*/evidence.json"))
    return " ".join(run.output.split())


def test_a_run_of_another_controller_is_left_alone(account: Account, left: str, tmp_path: Path) -> None:
    said = refusal(account, tmp_path)
    assert f"The account holds {left}, of an acceptance run on another controller" in said


def test_a_run_that_goes_on_here_is_left_alone(account: Account, left: str, tmp_path: Path) -> None:
    folder = tmp_path / left.removeprefix("accept-")
    folder.mkdir()
    with subprocess.Popen(["acceptance.yml", "600"], executable="/bin/sleep") as other:
        try:
            (folder / "process").write_text(str(other.pid), encoding="utf-8")
            assert "An acceptance run goes on on this controller" in refusal(account, tmp_path)
        finally:
            other.kill()


def test_when_the_time_is_over_no_step_begins_and_the_run_fails(account: Account, tmp_path: Path) -> None:
    given = '{"acceptance_steps": ["provision", "look"], "acceptance_minutes": 0}'
    run = account.play("acceptance.yml", "-e", given, acceptance_dir=str(tmp_path))
    assert run.code != 0
    assert "not run: provision, look" in run.output, run.output[-2500:]
    (written,) = tmp_path.glob("*/evidence.json")
    assert json.loads(written.read_text(encoding="utf-8"))["not_run"] == ["provision", "look"]


class Parts:
    """An environment with one host and one alarm, which are enough for the parts of an acceptance run."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account, self.folder = account, folder
        (folder / "seen").mkdir()
        self.ec2, self.alarms = account.client("ec2"), account.client("cloudwatch")
        parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
        image = account.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
        made = self.ec2.run_instances(
            ImageId=image,
            InstanceType="c6g.medium",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": TAGS}],
        )
        self.host = made["Instances"][0]["InstanceId"]
        self.alarms.put_metric_alarm(
            AlarmName=f"{ALARM}engine-up",
            MetricName="EngineUp",
            Namespace="LowLatencyTrading",
            Statistic="Minimum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="LessThanThreshold",
        )
        self.alarms.put_composite_alarm(AlarmName=f"{ALARM}promise", AlarmRule=f'ALARM("{ALARM}engine-up")')

    def run(self, part: str) -> Run:
        """Run one part of an acceptance run, and return the finished playbook."""
        return self.account.play(
            "acceptance_account.yml",
            trading_environment=ENVIRONMENT,
            acceptance_part=part,
            acceptance_run_dir=str(self.folder),
            acceptance_alarm_wait_seconds="1",
        )

    def seen(self, part: str) -> dict[str, Any]:
        """Run the part, which must succeed, and return the observations that the part has noted."""
        run = self.run(part)
        assert run.code == 0, run.output
        noted: dict[str, Any] = json.loads((self.folder / "seen" / f"{part}.json").read_text(encoding="utf-8"))
        return noted

    def remove(self) -> None:
        self.alarms.delete_alarms(AlarmNames=[f"{ALARM}promise"])
        self.alarms.delete_alarms(AlarmNames=[f"{ALARM}engine-up"])
        self.ec2.terminate_instances(InstanceIds=[self.host])


@pytest.fixture(scope="module")
def parts(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    made = Parts(account, tmp_path_factory.mktemp("acceptance"))
    try:
        yield made
    finally:
        made.remove()


def test_the_alarm_is_set_off(parts: Parts) -> None:
    assert parts.seen("alarm")["alarm-acts"] is False  # the emulator evaluates no alarm
    (alarm,) = parts.alarms.describe_alarms(AlarmNames=[f"{ALARM}engine-up"])["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"


def test_a_stack_is_made_and_deleted_but_for_its_log_group(parts: Parts) -> None:
    before = contents(parts.account)
    noted = parts.seen("stack")
    assert {"instance", "vpc", "iam-role", "vpc-endpoint"} <= set(noted["stack-made"])
    assert noted["stack-deleted"] == ["log-group"]
    group = f"/trading/{ENVIRONMENT}-stack/host"
    assert parts.seen("remove") == {}
    more = contents(parts.account) - before
    assert {one for one in more if one[0] != "interface"} == {("log group", group)}  # moto keeps that of a stack's host
    parts.account.client("logs").delete_log_group(logGroupName=group)


def test_the_host_is_stopped_and_its_address_gone(parts: Parts) -> None:
    assert parts.seen("stop")["address-released"] is True


def test_what_is_left_is_named_and_fails(parts: Parts) -> None:
    run = parts.run("left")
    assert run.code != 0
    assert "Still in the account" in run.output
    assert not (parts.folder / "seen/left.json").exists()
