"""The life of a fleet, while another fleet exists: it is created, changed, and removed completely.

The change adds one partition, removes another, and has another image, which a release then brings to the hosts. Each
test continues from the state that the previous test left. A run of fleet.yml takes most of a minute. There are
therefore only five such runs, and short runs that print a plan or replace a host.
tests/unit/plugins/test_fleet.py tests what is refused before the first resource is created.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from urllib.request import Request, urlopen

import pytest

from .conftest import Account, Run
from .inventory_of_account import contents, instances

pytestmark = [
    pytest.mark.usefixtures("in_written_order"),
    pytest.mark.skipif(not os.environ.get("TRADING_PROOF"), reason="minutes: scripts/prove groups runs it"),
]

SYMBOLS = {"alpha": ["TEST", "AAPL"], "beta": ["MSFT"], "gamma": ["IBM"]}


def given(*names: str, **more: Any) -> dict[str, Any]:
    """Return the variables of a fleet that consists of the partitions `names`."""
    traded = [symbol for name in names for symbol in SYMBOLS[name]]
    return {
        "trading_environment": "fleet",
        "trading_fleet": "true",
        "trading_backup": "none",
        "trading_budget_usd": 200,
        "trading_client_cidrs": ["203.0.113.0/28"],
        "aws_network_ipv6": "true",
        "trading_operator_ipv6_cidrs": ["2001:db8:9::/64"],
        "trading_alarm_subscriptions": [{"protocol": "email", "endpoint": "ops@example.com"}],
        "trading_engine_symbols": [{"name": symbol, "reference_price": "1.00"} for symbol in traded],
        "trading_partitions": [
            {"name": name, "symbols": SYMBOLS[name], "hosts": [f"trading-fleet-{name}"]} for name in names
        ],
        **more,
    }


def play(account: Account, variables: dict[str, Any], playbook: str = "fleet.yml") -> Run:
    return account.play(playbook, "-e", json.dumps(variables))


def listed(account: Account) -> dict[str, set[str]]:
    """Return the names of all Auto Scaling groups, load balancers and target groups in the AWS account."""
    elb = account.client("elbv2")
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        "groups": {one["AutoScalingGroupName"] for one in groups},
        "balancers": {one["LoadBalancerName"] for one in elb.describe_load_balancers()["LoadBalancers"]},
        "targets": {one["TargetGroupName"] for one in elb.describe_target_groups()["TargetGroups"]},
    }


def hosts_of_groups(account: Account) -> dict[str, tuple[str, str]]:
    """Return, by the name of each group, the id and the lifecycle state of the group's only host."""
    groups = account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    hosts = {one["AutoScalingGroupName"]: one["Instances"] for one in groups}
    assert {len(found) for found in hosts.values()} == {1}
    return {name: (host["InstanceId"], host["LifecycleState"]) for name, (host,) in hosts.items()}


def targets(account: Account) -> dict[str, set[str]]:
    """Return the ids of the hosts in each target group, by the target group's name."""
    elb = account.client("elbv2")
    return {
        one["TargetGroupName"]: {
            each["Target"]["Id"]
            for each in elb.describe_target_health(TargetGroupArn=one["TargetGroupArn"])["TargetHealthDescriptions"]
        }
        for one in elb.describe_target_groups()["TargetGroups"]
    }


def alarms(account: Account) -> dict[str, dict[str, Any]]:
    """Return the alarms of the tested fleet as DescribeAlarms does, by their names."""
    found = account.client("cloudwatch").describe_alarms(AlarmNamePrefix="trading-fleet/")["MetricAlarms"]
    return {one["AlarmName"]: one for one in found}


@pytest.fixture(scope="module")
def stranger(account: Account, empty: set[tuple[str, str]]) -> Iterator[set[tuple[str, str]]]:
    """Create another fleet, whose name begins with the name of the tested fleet.

    The other fleet has one resource of each kind that the playbooks find by name. Yield what the AWS account contains.
    """
    ec2, elb, scaling = (account.client(service) for service in ("ec2", "elbv2", "autoscaling"))
    tags = [{"Key": "Project", "Value": "lowlatency-trading"}, {"Key": "Environment", "Value": "fleet-b"}]
    name = "trading-fleet-b/beta"
    subnet = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"][0]
    image = ec2.describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"][0]["ImageId"]
    balancer = elb.create_load_balancer(
        Name="trading-fleet-b-N-a", Type="network", Subnets=[subnet["SubnetId"]], Tags=tags
    )["LoadBalancers"][0]["LoadBalancerArn"]
    target = elb.create_target_group(
        Name="trading-fleet-b-O-beta", Protocol="TCP", Port=9011, VpcId=subnet["VpcId"], Tags=tags
    )["TargetGroups"][0]["TargetGroupArn"]
    ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"ImageId": image, "InstanceType": "c6g.medium"},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )
    own = {"ResourceId": name, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": True}
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchTemplate={"LaunchTemplateName": name, "Version": "$Latest"},
        MinSize=1,
        MaxSize=1,
        VPCZoneIdentifier=subnet["SubnetId"],
        TargetGroupARNs=[target],
        Tags=[{**tag, **own} for tag in tags],
    )
    topic = account.client("sns").create_topic(Name="trading-fleet-b-alarms")["TopicArn"]
    watched = {"Namespace": "AWS/NetworkELB", "MetricName": "HealthyHostCount", "Statistic": "Minimum", "Period": 60}
    judged = {"EvaluationPeriods": 2, "Threshold": 1, "ComparisonOperator": "LessThanThreshold"}
    account.client("cloudwatch").put_metric_alarm(AlarmName=f"{name}/healthy-host", **watched, **judged)
    there = contents(account)
    assert {kind for kind, _ in there - empty} == {
        *("balancer", "target group", "launch template", "group", "instance", "volume", "interface", "topic", "alarm")
    }
    yield there
    account.client("cloudwatch").delete_alarms(AlarmNames=[f"{name}/healthy-host"])
    account.client("sns").delete_topic(TopicArn=topic)
    scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    ec2.delete_launch_template(LaunchTemplateName=name)
    elb.delete_load_balancer(LoadBalancerArn=balancer)
    elb.delete_target_group(TargetGroupArn=target)


def test_a_plan_is_refused_as_a_fleet_would_be(account: Account, stranger: set[tuple[str, str]]) -> None:
    run = play(account, given("alpha", "beta"), "plan.yml")
    assert run.code == 0, run.output
    assert "auto-scaling-group trading-fleet/alpha" in run.output
    assert "log-group /trading/fleet/host" in run.output
    assert "sns-topic trading-fleet-alarms" in run.output
    assert "alarm trading-fleet/beta/healthy-host" in run.output
    assert re.search(r"alarms +2, 10 free, then 0\.1 +0\.00", run.output)
    run = play(account, given("alpha", "beta", trading_client_ipv6_cidrs=["2001:db8::/64"]), "plan.yml")
    assert run.code != 0
    assert "leave trading_client_ipv6_cidrs out" in " ".join(run.output.split())
    assert contents(account) == stranger


def test_a_fleet_is_made_whose_hosts_are_no_targets_before_they_are_ready(
    account: Account, stranger: set[tuple[str, str]]
) -> None:
    run = play(account, given("alpha", "beta"))
    assert run.code == 0, run.output
    assert stranger < contents(account)
    assert listed(account) == {
        "groups": {"trading-fleet/alpha", "trading-fleet/beta", "trading-fleet-b/beta"},
        "balancers": {"trading-fleet-N-a", "trading-fleet-b-N-a"},
        "targets": {
            *(f"trading-fleet-{kind}-{name}" for kind in "OF" for name in ("alpha", "beta")),
            "trading-fleet-b-O-beta",
        },
    }
    groups = account.client("logs").describe_log_groups(logGroupNamePrefix="/trading/fleet")["logGroups"]
    assert [(one["logGroupName"], one["retentionInDays"]) for one in groups] == [("/trading/fleet/host", 30)]
    hosts = instances(account, "fleet")
    assert [next(tag["Value"] for tag in one["Tags"] if tag["Key"] == "Partition") for one in hosts] == [
        "alpha",
        "beta",
    ]
    states = {name: state for name, (_, state) in hosts_of_groups(account).items() if name.startswith("trading-fleet/")}
    assert states == {"trading-fleet/alpha": "Pending:Wait", "trading-fleet/beta": "Pending:Wait"}
    assert {name for name, ids in targets(account).items() if ids} == {"trading-fleet-b-O-beta"}


def test_hosts_are_reached_through_the_balancers_and_by_the_operator_alone(account: Account) -> None:
    ec2, elb = account.client("ec2"), account.client("elbv2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "tag:Environment", "Values": ["fleet"]}])["SecurityGroups"]
    by_name = {one["GroupName"]: one for one in groups}
    (balancer,) = elb.describe_load_balancers(Names=["trading-fleet-N-a"])["LoadBalancers"]
    assert balancer["SecurityGroups"] == [by_name["trading-fleet-balancer"]["GroupId"]]
    let_in = {
        (rule["FromPort"], network["CidrIp"])
        for rule in by_name["trading-fleet-fleet"]["IpPermissions"]
        for network in rule["IpRanges"]
    }
    assert let_in == {(22, "198.51.100.7/32"), (8000, "198.51.100.7/32")}
    over_ipv6 = {
        (rule["FromPort"], network["CidrIpv6"])
        for rule in by_name["trading-fleet-fleet"]["IpPermissions"]
        for network in rule["Ipv6Ranges"]
    }
    assert over_ipv6 == {(22, "2001:db8:9::/64"), (8000, "2001:db8:9::/64")}
    out = [network for rule in by_name["trading-fleet-fleet"]["IpPermissionsEgress"] for network in rule["Ipv6Ranges"]]
    assert [network["CidrIpv6"] for network in out] == ["::/0"]
    assert not any(rule["Ipv6Ranges"] for rule in by_name["trading-fleet-balancer"]["IpPermissions"])
    by_group = {
        (rule["FromPort"], pair["GroupId"])
        for rule in by_name["trading-fleet-fleet"]["IpPermissions"]
        for pair in rule["UserIdGroupPairs"]
    }
    assert by_group == {(port, balancer["SecurityGroups"][0]) for port in (8000, 9001, 9002, 9011, 9012)}


def test_each_partition_has_an_alarm_that_notifies_the_subscribers(account: Account) -> None:
    found = alarms(account)
    assert set(found) == {"trading-fleet/alpha/healthy-host", "trading-fleet/beta/healthy-host"}
    sns, elb = account.client("sns"), account.client("elbv2")
    (topic,) = [one["TopicArn"] for one in sns.list_topics()["Topics"] if "trading-fleet-alarms" in one["TopicArn"]]
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [one["Endpoint"] for one in subscriptions] == ["ops@example.com"]
    (balancer,) = elb.describe_load_balancers(Names=["trading-fleet-N-a"])["LoadBalancers"]
    (target,) = elb.describe_target_groups(Names=["trading-fleet-O-beta"])["TargetGroups"]
    alarm = found["trading-fleet/beta/healthy-host"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/NetworkELB", "HealthyHostCount")
    assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    assert dimensions["LoadBalancer"].startswith("net/trading-fleet-N-a/")
    assert balancer["LoadBalancerArn"].endswith(f":loadbalancer/{dimensions['LoadBalancer']}")
    assert dimensions["TargetGroup"].startswith("targetgroup/trading-fleet-O-beta/")
    assert target["TargetGroupArn"].endswith(f":{dimensions['TargetGroup']}")


def test_a_host_is_told_its_volume_and_its_group(account: Account) -> None:
    ec2 = account.client("ec2")
    answer = ec2.describe_launch_template_versions(LaunchTemplateName="trading-fleet/beta", Versions=["$Latest"])
    data = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    script = base64.b64decode(data["UserData"]).decode()
    compile(script, "user-data", "exec")
    assert '"volume": "trading-fleet-beta-journal"' in script
    assert '"group": "trading-fleet/beta"' in script
    assert len(script) < 16_384, "EC2 takes no longer user data"
    assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["trading-fleet-beta-journal"]}])[
        "Volumes"
    ]
    assert volume["Encrypted"] is True


class Host(BaseHTTPRequestHandler):
    """A server that replaces everything that a host reaches over HTTP.

    It answers as the metadata service, and passes calls of AWS on to moto.
    """

    account: Account
    instance: str
    keys: dict[str, str]
    asked: ClassVar[list[dict[str, str]]] = []
    refused: ClassVar[list[str]] = []

    def answer(self, body: str, code: int = 200) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_PUT(self) -> None:
        self.answer("token")

    def do_GET(self) -> None:
        name = self.path.removeprefix("/latest/meta-data/")
        known = {"instance-id": self.instance, "placement/availability-zone": "us-east-1a"}
        roles = {"iam/security-credentials/": "role", "iam/security-credentials/role": json.dumps(self.keys)}
        if self.headers["X-aws-ec2-metadata-token"] == "token":
            self.answer({**known, **roles}[name])
        else:
            self.answer("", 401)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(dict(parse_qsl(body.decode())))
        action = self.asked[-1]["Action"]
        if action == "AttachVolume" and action not in self.refused:
            self.refused.append(action)
            self.answer("<Code>IncorrectState</Code>", 400)
            return
        request = Request(f"{self.account.url}/", body, dict(self.headers))  # noqa: S310  our API
        with urlopen(request, timeout=20) as answer:  # noqa: S310
            self.answer(answer.read().decode())

    def log_message(self, *_: object) -> None:
        """Log nothing, to keep the output of the tests short."""


@pytest.fixture
def keys(account: Account) -> Iterator[dict[str, str]]:
    """Yield temporary keys of a role that may do everything.

    tests/unit/roles/test_host_rights.py tests the rights of the collection's own role.
    """
    iam, name = account.client("iam"), "host-of-test"
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    principal = {"AWS": "arn:aws:iam::123456789012:user/admin"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(allow))
    given = account.client("sts").assume_role(RoleArn=made, RoleSessionName="host")["Credentials"]
    yield {**{key: given[key] for key in ("AccessKeyId", "SecretAccessKey")}, "Token": given["SessionToken"]}
    iam.delete_role_policy(RoleName=name, PolicyName=name)
    iam.delete_role(RoleName=name)


def run_as_host(
    account: Account, keys: dict[str, str], partition: str, instance_id: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the user data of the partition's newest launch template, as this host would, with the root folder `folder`.

    The commands to systemd are in `folder`/commands. The requests to AWS are in Host.asked.
    """
    data = account.client("ec2").describe_launch_template_versions(
        LaunchTemplateName=f"trading-fleet/{partition}", Versions=["$Latest"]
    )
    script = base64.b64decode(data["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]).decode()
    systemctl = folder / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >>{folder / "commands"}\n')
    systemctl.chmod(0o755)
    (folder / "etc").mkdir()
    (folder / "etc/fstab").write_text("/dev/a / ext4 defaults 0 1\n/dev/old /var/lib/trading ext4 defaults 0 0\n")
    Host.account, Host.instance, Host.keys = account, instance_id, keys
    Host.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for old, new in {
            '"http://169.254.169.254"': f'"{url}"',
            '"endpoint": ""': f'"endpoint": "{url}"',
            '"systemctl": "systemctl"': f'"systemctl": "{systemctl}"',
            '"root": ""': f'"root": "{folder}"',
        }.items():
            assert old in script
            script = script.replace(old, new)
        done = subprocess.run(
            [sys.executable, "-"], input=script, capture_output=True, text=True, check=False, timeout=60
        )
        server.shutdown()
    return done


def user_of_journal(account: Account, partition: str) -> list[str]:
    """Return the ids of the instances to which the partition's journal volume is attached."""
    named = [{"Name": "tag:Name", "Values": [f"trading-fleet-{partition}-journal"]}]
    (volume,) = account.client("ec2").describe_volumes(Filters=named)["Volumes"]
    return [one["InstanceId"] for one in volume["Attachments"]]


def test_a_host_attaches_its_volume_and_then_says_that_it_is_ready(
    account: Account, keys: dict[str, str], tmp_path: Path
) -> None:
    ec2 = account.client("ec2")
    host = instances(account, "fleet")[1]
    assert hosts_of_groups(account)["trading-fleet/beta"] == (host["InstanceId"], "Pending:Wait")
    done = run_as_host(account, keys, "beta", host["InstanceId"], tmp_path)
    commands = tmp_path / "commands"
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not ready yet" in done.stdout
    assert "IncorrectState" in done.stdout
    (volume,) = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": ["trading-fleet-beta-journal"]}])[
        "Volumes"
    ]
    assert [one["InstanceId"] for one in volume["Attachments"]] == [host["InstanceId"]]
    link = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume['VolumeId'].replace('-', '')}"
    table = (tmp_path / "etc/fstab").read_text().splitlines()
    assert table[0].startswith("/dev/a / ")
    assert [line.split()[:2] for line in table[1:]] == [[link, "/var/lib/trading"]]
    assert "start var-lib-trading.mount" in commands.read_text().splitlines()
    assert "start --no-block trading-engine@beta.service" in commands.read_text().splitlines()
    completed = Host.asked[-1]
    assert [one["Action"] for one in Host.asked].count("CompleteLifecycleAction") == 1
    assert completed["Action"] == "CompleteLifecycleAction", "a host is ready only after all else"
    assert completed["AutoScalingGroupName"] == "trading-fleet/beta"
    assert (completed["LifecycleHookName"], completed["LifecycleActionResult"]) == ("ready", "CONTINUE")
    assert completed["InstanceId"] == host["InstanceId"]
    assert hosts_of_groups(account)["trading-fleet/beta"] == (host["InstanceId"], "InService")
    registered = targets(account)
    for kind in "OF":
        assert registered[f"trading-fleet-{kind}-beta"] == {host["InstanceId"]}
        assert registered[f"trading-fleet-{kind}-alpha"] == set(), "the other host has not said that it is ready"


def test_check_mode_says_that_an_alarm_goes_with_its_partition_and_changes_nothing(account: Account) -> None:
    before = contents(account)
    fewer = given("alpha", trading_partitions_left="remove")
    run = account.play("fleet.yml", "--check", "--diff", "-e", json.dumps(fewer))
    assert run.code == 0, run.output
    gone = re.findall(r'^- +"trading-fleet/(\w+)/healthy-host"', run.output, flags=re.MULTILINE)
    assert set(gone) == {"beta"}
    assert contents(account) == before


def another_image(account: Account) -> str:
    """Return the id of an image from which no host of the fleet was launched so far."""
    used = {one["ImageId"] for one in instances(account, "fleet") if one["State"]["Name"] != "terminated"}
    images = account.client("ec2").describe_images(Filters=[{"Name": "architecture", "Values": ["arm64"]}])["Images"]
    return next(str(one["ImageId"]) for one in images if one["ImageId"] not in used)


def test_partitions_come_and_go_and_a_second_run_changes_nothing(
    account: Account, stranger: set[tuple[str, str]]
) -> None:
    alpha = hosts_of_groups(account)["trading-fleet/alpha"]
    changed = given("alpha", "gamma", trading_partitions_left="remove", trading_image_id=another_image(account))
    run = play(account, changed)
    assert run.code == 0, run.output
    again = play(account, changed)
    assert (again.code, again.changed) == (0, 0), again.output
    there = listed(account)
    assert there["groups"] == {"trading-fleet/alpha", "trading-fleet/gamma", "trading-fleet-b/beta"}
    assert {name for name in there["targets"] if name.endswith("-beta")} == {"trading-fleet-b-O-beta"}
    assert set(alarms(account)) == {"trading-fleet/alpha/healthy-host", "trading-fleet/gamma/healthy-host"}
    assert hosts_of_groups(account)["trading-fleet/alpha"] == alpha
    assert stranger < contents(account)
    # The volume with the journal remains after its partition is removed. The partition can get it back when it is added
    # again.
    volumes = account.client("ec2").describe_volumes(
        Filters=[{"Name": "tag:Name", "Values": ["trading-fleet-beta-journal"]}]
    )["Volumes"]
    assert [(one["State"], one["Attachments"]) for one in volumes] == [("available", [])]


CONFIRMED = {"aws_fleet_refresh_confirm": "fleet"}


def refresh(account: Account, *arguments: str, **more: Any) -> Run:
    variables = {"trading_environment": "fleet", "trading_fleet": "true", **more}
    return account.play("fleet_refresh.yml", "-e", json.dumps(variables), *arguments)


def refusal(account: Account, **more: Any) -> str:
    """Return what a release says that is refused. No host may change, and no group may begin a refresh."""
    before = hosts_of_groups(account)
    run = refresh(account, **more)
    assert (run.code, run.changed) == (2, 0), run.output
    assert hosts_of_groups(account) == before
    return " ".join(run.output.split())


def test_a_release_is_refused_before_the_first_host_is_replaced(
    account: Account, keys: dict[str, str], tmp_path: Path
) -> None:
    scaling, (alpha, _) = account.client("autoscaling"), hosts_of_groups(account)["trading-fleet/alpha"]
    pending = refusal(account, **CONFIRMED)
    assert f"trading-fleet/alpha does not have one host in service ({alpha} is Pending:Wait)" in pending
    for partition in ("alpha", "gamma"):
        (host, _), folder = hosts_of_groups(account)[f"trading-fleet/{partition}"], tmp_path / partition
        folder.mkdir()
        done = run_as_host(account, keys, partition, host, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {state for _, state in hosts_of_groups(account).values()} == {"InService"}
    assert "no group is of partition beta: name one of alpha, gamma" in refusal(
        account, **CONFIRMED, aws_fleet_refresh_partition="beta"
    )
    assert "nothing: it has no group" in refusal(
        account, trading_environment="nothing", aws_fleet_refresh_confirm="nothing"
    )
    scaling.suspend_processes(AutoScalingGroupName="trading-fleet/alpha", ScalingProcesses=["Terminate"])
    assert "the processes Terminate of trading-fleet/alpha are suspended" in refusal(account, **CONFIRMED)
    scaling.resume_processes(AutoScalingGroupName="trading-fleet/alpha")
    asked = refusal(account)
    assert "This terminates the hosts of the partitions alpha, one after the other" in asked
    assert "Say -e aws_fleet_refresh_confirm=fleet" in asked
    assert scaling.describe_instance_refreshes(AutoScalingGroupName="trading-fleet/alpha")["InstanceRefreshes"] == []


def make_newer(account: Account, partition: str) -> None:
    """Add a version with another instance type to the partition's launch template, as a run of fleet.yml does."""
    ec2, name = account.client("ec2"), f"trading-fleet/{partition}"
    told = ec2.describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    data = {**told["LaunchTemplateVersions"][0]["LaunchTemplateData"], "InstanceType": "c6g.large"}
    ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)


def released(account: Account, next_host: Callable[[str, str], None], **more: Any) -> Run:
    """Run a release. Call `next_host` for each host that waits for its hook, with the host's partition and id."""
    with ThreadPoolExecutor() as threads:
        run = threads.submit(refresh, account, **CONFIRMED, aws_fleet_refresh_limit_seconds=120, **more)
        while not futures.wait([run], timeout=0.5).done:
            for group in account.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]:
                for one in group["Instances"]:
                    if one["LifecycleState"] == "Pending:Wait":
                        next_host(group["AutoScalingGroupName"].rpartition("/")[2], one["InstanceId"])
        return run.result()


def last_refresh(account: Account, partition: str) -> dict[str, Any]:
    told = account.client("autoscaling").describe_instance_refreshes(AutoScalingGroupName=f"trading-fleet/{partition}")
    newest: dict[str, Any] = told["InstanceRefreshes"][0]
    return newest


def test_a_release_replaces_one_host_after_the_other_and_each_hands_its_journal_on(
    account: Account, keys: dict[str, str], tmp_path: Path
) -> None:
    make_newer(account, "gamma")
    before = hosts_of_groups(account)
    (old, _) = before["trading-fleet/alpha"]
    assert user_of_journal(account, "alpha") == [old]
    planned = refresh(account, "--check")
    assert (planned.code, planned.changed) == (0, 2), planned.output
    assert f"Partition alpha: {old} has version 1 of its launch template, and the newest is 2." in planned.output
    assert hosts_of_groups(account) == before
    new: dict[str, str] = {}

    def next_host(partition: str, instance_id: str) -> None:
        assert partition not in new, "one host was enough"
        new[partition], folder = instance_id, tmp_path / partition
        folder.mkdir()
        done = run_as_host(account, keys, partition, instance_id, folder)
        assert done.returncode == 0, done.stdout + done.stderr

    run = released(account, next_host)
    assert (run.code, run.changed) == (0, 2), run.output
    in_service = {f"trading-fleet/{name}": (instance_id, "InService") for name, instance_id in new.items()}
    assert hosts_of_groups(account) == {**before, **in_service}
    for name in ("alpha", "gamma"):
        assert user_of_journal(account, name) == [new[name]]
        assert [targets(account)[f"trading-fleet-{kind}-{name}"] for kind in "OF"] == [{new[name]}, {new[name]}]
        assert last_refresh(account, name)["Preferences"]["MinHealthyPercentage"] == 0
    assert last_refresh(account, "alpha")["EndTime"] <= last_refresh(account, "gamma")["StartTime"]
    again = refresh(account, **CONFIRMED)
    assert (again.code, again.changed) == (0, 0), again.output
    assert "the newest is 2. There is nothing to do." in " ".join(again.output.split())


def complete_hook(account: Account, partition: str, instance_id: str) -> None:
    account.client("autoscaling").complete_lifecycle_action(
        AutoScalingGroupName=f"trading-fleet/{partition}",
        LifecycleHookName="ready",
        LifecycleActionResult="CONTINUE",
        InstanceId=instance_id,
    )


def test_a_host_that_its_group_replaces_during_a_release_is_not_replaced_again(account: Account) -> None:
    for partition in ("alpha", "gamma"):
        make_newer(account, partition)
    (gamma, _) = hosts_of_groups(account)["trading-fleet/gamma"]
    before = last_refresh(account, "gamma")["InstanceRefreshId"]

    def next_host(partition: str, instance_id: str) -> None:
        if partition == "alpha":
            account.client("autoscaling").terminate_instance_in_auto_scaling_group(
                InstanceId=gamma, ShouldDecrementDesiredCapacity=False
            )
        complete_hook(account, partition, instance_id)

    run = released(account, next_host)
    assert (run.code, run.changed) == (2, 1), run.output
    assert f"its group has replaced the host {gamma}" in " ".join(run.output.split())
    assert last_refresh(account, "gamma")["InstanceRefreshId"] == before
    (gamma, state) = hosts_of_groups(account)["trading-fleet/gamma"]
    if state == "Pending:Wait":  # the release was faster than the host
        complete_hook(account, "gamma", gamma)


def test_a_release_that_somebody_cancels_ends_with_the_reason_of_aws(account: Account) -> None:
    scaling = account.client("autoscaling")
    for partition in ("alpha", "gamma"):
        make_newer(account, partition)
    (alpha, _) = hosts_of_groups(account)["trading-fleet/alpha"]

    def next_host(partition: str, instance_id: str) -> None:
        scaling.cancel_instance_refresh(AutoScalingGroupName=f"trading-fleet/{partition}")
        complete_hook(account, partition, instance_id)

    run = released(account, next_host, aws_fleet_refresh_partition="gamma")
    said = " ".join(run.output.split())
    assert run.code == 2, run.output
    assert "Partition gamma: The refresh of trading-fleet/gamma ended as Cancelled: Cancelled due to user" in said
    assert "run fleet.yml with the trading_image_id before" in said
    assert hosts_of_groups(account)["trading-fleet/alpha"] == (alpha, "InService")


def test_nothing_of_it_is_left(account: Account, stranger: set[tuple[str, str]]) -> None:
    confirmed = {"trading_environment": "fleet", "trading_destroy_confirm": "fleet", "trading_fleet": "true"}
    run = play(account, {**confirmed, "trading_destroy_data": "true"}, "destroy.yml")
    assert run.code == 0, run.output
    assert "is left in us-east-1" in run.output
    assert contents(account) == stranger
