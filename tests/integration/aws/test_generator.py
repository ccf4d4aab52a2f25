"""The role aws_generator launches a load generator for a host with one vCPU, and later terminates it.

The load generator is an instance that sends orders to the host. Each test continues from the state that the previous
test left: one test lets an instance run, and the next tests find it. The API has no machines here, so no instance
answers SSH. The tests therefore see the state after this failure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .conftest import ROOT, Account, Run

pytestmark = pytest.mark.usefixtures("in_written_order")

MINE = {"Project": "lowlatency-trading", "Environment": "load"}
MINE_TAGS = [{"Key": key, "Value": value} for key, value in MINE.items()]
FILTERS = [
    {"Name": "tag:Environment", "Values": ["load"]},
    {"Name": "instance-state-name", "Values": ["pending", "running", "stopped"]},
]


def tagged(kind: str) -> dict[str, Any]:
    """Return the argument of a call by which a new resource gets the environment's tags, as in a deployment."""
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": MINE_TAGS}]}


def once_unused(delete: Callable[[], object]) -> None:
    """Delete a resource. Retry while network interfaces of terminated instances still use it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            delete()
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "DependencyViolation" or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Hosts:
    """Two hosts in one subnet: `one` has one vCPU, and `two` has two. Only what the role needs is created."""

    def __init__(self, account: Account, folder: Path) -> None:
        self.account, self.folder = account, folder
        self.ec2 = account.client("ec2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.91.0.0/16", **tagged("vpc"))["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(
            VpcId=self.vpc, CidrBlock="10.91.1.0/24", AvailabilityZone="us-east-1a", **tagged("subnet")
        )["Subnet"]["SubnetId"]
        self.ec2.modify_subnet_attribute(SubnetId=self.subnet, MapPublicIpOnLaunch={"Value": True})
        self.group = self.make_group()
        key = account.public_key_file.read_bytes()
        self.ec2.import_key_pair(KeyName="load", PublicKeyMaterial=key, **tagged("key-pair"))
        self.ec2.create_placement_group(GroupName="trading-load", Strategy="cluster", **tagged("placement-group"))
        parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
        self.image = account.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"]
        self.one, self.two = (self.launch(f"c6g.{size}", "trading") for size in ("medium", "large"))

    def make_group(self) -> str:
        """Make the security group of the load generators and return its id."""
        made = self.ec2.create_security_group(
            GroupName="trading-load-generator", Description="load", VpcId=self.vpc, **tagged("security-group")
        )
        return str(made["GroupId"])

    def delete_group(self) -> None:
        """Delete the security group of the load generators. Retry while a network interface still uses it."""
        once_unused(lambda: self.ec2.delete_security_group(GroupId=self.group))

    def launch(self, kind: str, role: str) -> str:
        """Launch an instance in the environment and return its id.

        `kind` is the instance's type, and `role` is the value of its tag Role.
        """
        tags = [*MINE_TAGS, {"Key": "Role", "Value": role}, {"Key": "Name", "Value": f"{role}-{kind}"}]
        made = self.ec2.run_instances(
            ImageId=self.image,
            InstanceType=kind,
            KeyName="load",
            SubnetId=self.subnet,
            Placement={"GroupName": "trading-load"},
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return str(made["Instances"][0]["InstanceId"])

    def generators(self, state: str = "running") -> list[dict[str, Any]]:
        """Return the environment's load generators that are in this state."""
        role = {"Name": "tag:Role", "Values": ["trading_generator"]}
        wanted = [FILTERS[0], role, {"Name": "instance-state-name", "Values": [state]}]
        return [
            one for page in self.ec2.describe_instances(Filters=wanted)["Reservations"] for one in page["Instances"]
        ]

    def run(self, *hosts: str, arguments: tuple[str, ...] = (), **variables: str) -> Run:
        """Run the role aws_generator with an inventory of these instances, and return the finished playbook."""
        inventory, play = self.folder / "hosts", self.folder / "generator.yml"
        rows = "".join(f"host{number} instance_id={host}\n" for number, host in enumerate(hosts))
        inventory.write_text(f"localhost ansible_connection=local\n[trading]\n{rows}by-hand\n", encoding="utf-8")
        roles = [{"role": "lowlatency.trading.aws_generator"}]
        one = {
            "name": "Launch",
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "roles": roles,
        }
        play.write_text(json.dumps([one]), encoding="utf-8")
        given = {"trading_environment": "load", "aws_generator_ssh_wait_seconds": "1", **variables}
        return self.account.play(str(play), *arguments, inventory=str(inventory), **given)

    def remove(self) -> None:
        """Remove all resources that this class has made."""
        pages = self.ec2.describe_instances(Filters=FILTERS)["Reservations"]
        self.ec2.terminate_instances(InstanceIds=[one["InstanceId"] for page in pages for one in page["Instances"]])
        self.ec2.delete_placement_group(GroupName="trading-load")
        self.ec2.delete_key_pair(KeyName="load")
        self.delete_group()
        once_unused(lambda: self.ec2.delete_subnet(SubnetId=self.subnet))
        self.ec2.delete_vpc(VpcId=self.vpc)


@pytest.fixture(scope="module")
def hosts(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("generator")
    (folder / "collections").symlink_to(ROOT / "collections")
    made = Hosts(account, folder)
    try:
        yield made
    finally:
        made.remove()


def test_one_that_cannot_be_reached_is_terminated_and_the_run_says_why(hosts: Hosts) -> None:
    run = hosts.run(hosts.one, hosts.two)
    assert run.code != 0
    assert "trading-load-generator-us-east-1a does not answer SSH at" in run.output, run.output
    assert run.changed == 0
    assert not hosts.generators()
    (ended,) = hosts.generators("terminated")
    assert ended["InstanceType"] == "c6g.large"
    assert ended["Placement"]["GroupName"] == "trading-load"
    assert ended["KeyName"] == "load"
    assert "IamInstanceProfile" not in ended


def test_one_that_is_kept_ends_with_the_machine_and_has_the_group_alone(hosts: Hosts) -> None:
    assert hosts.run(hosts.one, trading_generator_host="keep").changed == 1
    (kept,) = hosts.generators()
    assert [group["GroupId"] for group in kept["SecurityGroups"]] == [hosts.group]
    behaviour = "instanceInitiatedShutdownBehavior"
    told = hosts.ec2.describe_instance_attribute(InstanceId=kept["InstanceId"], Attribute=behaviour)
    assert told["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate"
    assert hosts.run(hosts.one, trading_generator_host="keep").changed == 0
    assert [one["InstanceId"] for one in hosts.generators()] == [kept["InstanceId"]]


@pytest.mark.parametrize(
    ("arguments", "variables"), [(("--check",), {}), ((), {"trading_generator_host": "none"})], ids=["check", "none"]
)
def test_nothing_is_launched_or_terminated(hosts: Hosts, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    before = [one["InstanceId"] for one in hosts.generators()]
    run = hosts.run(hosts.one, arguments=arguments, **variables)
    assert run.code == 0, run.output
    assert run.changed == 0
    assert [one["InstanceId"] for one in hosts.generators()] == before


def test_one_of_an_interrupted_run_is_terminated_by_the_next(hosts: Hosts) -> None:
    left = hosts.launch("c6g.large", "trading_generator")
    run = hosts.run(hosts.one)
    assert run.code != 0, run.output
    assert not hosts.generators()
    assert left in [one["InstanceId"] for one in hosts.generators("terminated")]


def test_a_host_with_two_vcpus_or_without_an_instance_gets_none(hosts: Hosts) -> None:
    ended = len(hosts.generators("terminated"))
    run = hosts.run(hosts.two)  # the inventory also has `by-hand`, which has no instance
    assert run.code == 0, run.output
    assert not hosts.generators()
    assert len(hosts.generators("terminated")) == ended


def test_a_deployment_without_the_group_is_told_what_makes_it(hosts: Hosts) -> None:
    hosts.delete_group()
    try:
        run = hosts.run(hosts.one)
    finally:
        hosts.group = hosts.make_group()
    assert run.code != 0
    assert "There is no security group trading-load-generator" in " ".join(run.output.split())
    assert not hosts.generators()
