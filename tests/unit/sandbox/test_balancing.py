"""The sandbox configures HAProxy for the API's load balancers. The API reports whether targets are healthy.

HAProxy itself does not run in these tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from embedded_ec2 import balancing
from embedded_ec2.balancing import Balancers
from embedded_ec2.firewall import Balanced, render
from embedded_ec2.haproxy import FrontEnd, HAProxy, Pool, Seen
from embedded_ec2.hooks import Hooks, NoMachines
from embedded_ec2.network import Router, Subnet
from embedded_ec2.patches import autoscaling_groups, ec2_machines, elbv2_balancers
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

CHECK = {
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
}


class StandIn:
    """A fake that replaces both the router and HAProxy. It records calls, and returns the values that a test sets."""

    netns = ""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.front_ends: Sequence[FrontEnd] = ()
        self.pools: Sequence[Pool] = ()
        self.seen: dict[tuple[str, str], Seen] = {}
        self.open: dict[str, int] = {}
        self.lost: list[str] = []
        self.is_running = False
        self.answers = True

    def connect(self, subnet: Subnet) -> None:
        assert subnet.cidr

    def hold(self, address: str) -> None:
        self.held.append(address)

    def release(self, address: str) -> None:
        self.held.remove(address)

    def bring_replies_back(self) -> bool:
        return True

    def apply(self, front_ends: Sequence[FrontEnd], pools: Sequence[Pool]) -> None:
        self.front_ends, self.pools, self.is_running = front_ends, pools, True

    def stop(self) -> None:
        self.is_running = False

    def servers(self) -> dict[tuple[str, str], Seen]:
        if not self.answers:
            raise ConnectionRefusedError
        return self.seen

    def sessions(self, _pool: str, server: str) -> int:
        return self.open.get(server, 0)

    def cut(self, _pool: str, server: str) -> None:
        self.lost.append(server)


class Machines(NoMachines):
    """A fake of the sandbox's thread that runs machines. It has only the parts that load balancers need."""

    def __init__(self, kept: Balancers) -> None:
        self._kept = kept

    def balancers(self) -> Balancers:
        return self._kept


class Account:
    """An AWS account with a load balancer, a listener and a target group.

    The health of the targets is checked every five seconds.
    """

    def __init__(self, stand_in: StandIn, **group: Any) -> None:
        self.now = 1000.0
        self.world = stand_in
        self.kept = Balancers(cast(Router, stand_in), cast(HAProxy, stand_in))
        self.hooks = Hooks(machines=Machines(self.kept))
        for patch in (ec2_machines, autoscaling_groups, elbv2_balancers):
            patch.install(self.hooks)
        self.ec2, self.elbv2 = (boto3.client(name, region_name="us-east-1") for name in ("ec2", "elbv2"))
        self.subnet = self.ec2.describe_subnets()["Subnets"][0]
        self.group = self.new_group("alpha", **group)
        options = {"Name": "fleet", "Type": "network", "Scheme": "internal", "Subnets": [self.subnet["SubnetId"]]}
        self.balancer = self.elbv2.create_load_balancer(**options)["LoadBalancers"][0]
        forward = [{"Type": "forward", "TargetGroupArn": self.group}]
        arn = {"LoadBalancerArn": self.balancer["LoadBalancerArn"]}
        self.elbv2.create_listener(**arn, Protocol="TCP", Port=9001, DefaultActions=forward)

    def new_group(self, name: str, **options: Any) -> str:
        wanted = {"Protocol": "TCP", "Port": 9001, "VpcId": self.subnet["VpcId"], **CHECK, **options}
        return str(self.elbv2.create_target_group(Name=name, **wanted)["TargetGroups"][0]["TargetGroupArn"])

    def launch(self) -> str:
        image = next(iter(ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].amis))
        options = {"ImageId": image, "SubnetId": self.subnet["SubnetId"], "MinCount": 1, "MaxCount": 1}
        return str(self.ec2.run_instances(**options)["Instances"][0]["InstanceId"])

    def register(self, *names: str) -> None:
        self.elbv2.register_targets(TargetGroupArn=self.group, Targets=[{"Id": name} for name in names])
        self.kept.compare()

    def deregister(self, name: str) -> None:
        self.elbv2.deregister_targets(TargetGroupArn=self.group, Targets=[{"Id": name}])
        self.kept.compare()

    def see(self, name: str, status: str) -> None:
        self.world.seen["alpha", name] = Seen(status, "")
        self.kept.compare()

    def health(self) -> dict[str, str]:
        told = self.elbv2.describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"].get("Reason", "") or "healthy" for each in told}


@pytest.fixture(scope="module")
def moto() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        with mock_aws():
            yield


@pytest.fixture
def account(moto: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setattr("embedded_ec2.balancing.shutil.which", lambda _name: "/usr/sbin/haproxy")
    made = Account(StandIn())
    clock = SimpleNamespace(monotonic=lambda: made.now)
    for module in (balancing, elbv2_balancers):
        monkeypatch.setattr(module, "time", clock)
    yield made
    made.elbv2.delete_load_balancer(LoadBalancerArn=made.balancer["LoadBalancerArn"])
    for group in made.elbv2.describe_target_groups()["TargetGroups"]:
        made.elbv2.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    elbv2_balancers.install(Hooks())  # later tests have no machines


def test_a_balancer_has_an_address_in_its_subnet_and_gives_it_back(account: Account) -> None:
    account.register(account.launch())
    address = account.balancer["DNSName"]
    interfaces = account.ec2.describe_network_interfaces()["NetworkInterfaces"]
    of_it = [each for each in interfaces if each["Description"].startswith("ELB net/fleet/")]
    assert [each["PrivateIpAddress"] for each in of_it] == [address]
    assert ":loadbalancer/net/fleet/" in account.balancer["LoadBalancerArn"]
    assert account.world.held == [address]
    assert account.kept.subnets == {account.subnet["SubnetId"]}
    (front_end,) = account.world.front_ends
    assert (front_end.address, front_end.port, front_end.pool, front_end.idle_s) == (address, 9001, "alpha", 350)
    account.elbv2.delete_load_balancer(LoadBalancerArn=account.balancer["LoadBalancerArn"])
    account.kept.compare()
    assert (account.world.held, account.world.is_running) == ([], False)


def test_a_pool_is_what_the_target_group_says(account: Account) -> None:
    instance_id = account.launch()
    account.register(instance_id)
    (pool,) = account.world.pools
    assert pool.check
    assert (pool.check.protocol, pool.check.port, pool.check.interval_s, pool.check.rise) == ("TCP", None, 5, 2)
    assert (pool.keeps_client, pool.proxy_protocol, pool.source) == (True, False, account.balancer["DNSName"])
    assert [(server.name, server.port) for server in pool.servers] == [(instance_id, 9001)]
    attributes = {"preserve_client_ip.enabled": "false", "proxy_protocol_v2.enabled": "true"}
    asked = [{"Key": key, "Value": value} for key, value in attributes.items()]
    account.elbv2.modify_target_group_attributes(TargetGroupArn=account.group, Attributes=asked)
    account.kept.compare()
    assert (account.world.pools[0].keeps_client, account.world.pools[0].proxy_protocol) == (False, True)


def test_a_targets_health_is_what_haproxy_sees(account: Account) -> None:
    instance_id = account.launch()
    account.register(instance_id)
    assert account.health() == {instance_id: "Elb.InitialHealthChecking"}
    account.see(instance_id, "UP 1/2")
    assert account.health() == {instance_id: "healthy"}
    account.see(instance_id, "DOWN")
    assert account.health() == {instance_id: "Target.FailedHealthChecks"}
    assert account.world.lost == [instance_id], "its sessions end with its health"
    account.ec2.stop_instances(InstanceIds=[instance_id])
    account.kept.compare()
    assert account.health() == {instance_id: "Target.InvalidState"}
    assert account.world.pools[0].servers == ()


def test_nobody_is_ill_or_cut_while_haproxy_reloads(account: Account) -> None:
    instance_id = account.launch()
    account.register(instance_id)
    account.see(instance_id, "UP")
    account.world.answers = False
    account.kept.compare()
    assert (account.health(), account.world.lost) == ({instance_id: "healthy"}, [])


def test_one_that_never_answers_is_unhealthy_after_its_checks(account: Account) -> None:
    instance_id = account.launch()
    account.register(instance_id)
    account.see(instance_id, "DOWN")
    assert account.health() == {instance_id: "Elb.InitialHealthChecking"}
    account.now += 2 * 5 + 5 + 1
    assert account.health() == {instance_id: "Target.FailedHealthChecks"}


def test_who_is_deregistered_drains_until_its_last_session_or_the_delay(account: Account) -> None:
    first, second = account.launch(), account.launch()
    account.register(first, second)
    account.world.open = {first: 1, second: 1}
    account.deregister(first)
    assert [server.name for server in account.world.pools[0].servers] == [second]
    assert account.health()[first] == "Target.DeregistrationInProgress"
    account.world.open[first] = 0
    account.kept.compare()
    assert set(account.health()) == {second}
    terminate = [{"Key": "deregistration_delay.connection_termination.enabled", "Value": "true"}]
    account.elbv2.modify_target_group_attributes(TargetGroupArn=account.group, Attributes=terminate)
    account.deregister(second)
    account.now += 299
    account.kept.compare()
    assert (set(account.health()), account.world.lost) == ({second}, [])
    account.now += 2
    account.kept.compare()
    assert (account.health(), account.world.lost) == ({}, [second])


def test_sessions_of_one_that_is_gone_do_not_wait_for_the_delay(account: Account) -> None:
    gone = account.launch()
    account.register(gone)
    account.world.open = {gone: 1}
    account.ec2.stop_instances(InstanceIds=[gone])
    account.deregister(gone)
    assert (account.health(), account.world.lost) == ({}, [gone])


def test_without_haproxy_a_balancer_is_refused(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded_ec2.balancing.shutil.which", lambda _name: None)
    with pytest.raises(ClientError, match="apt-get install"):
        account.elbv2.create_load_balancer(Name="other", Type="network", Subnets=[account.subnet["SubnetId"]])
    assert len(account.elbv2.describe_load_balancers()["LoadBalancers"]) == 1


def test_checks_that_no_network_load_balancer_makes_are_refused(account: Account) -> None:
    for wrong in ({"HealthCheckIntervalSeconds": 301}, {"HealthyThresholdCount": 11}, {"UnhealthyThresholdCount": 11}):
        with pytest.raises(ClientError, match="must be between"):
            account.new_group("wrong", **wrong)
    (group,) = account.elbv2.describe_target_groups()["TargetGroups"]
    with pytest.raises(ClientError, match="must be between"):
        account.elbv2.modify_target_group(TargetGroupArn=account.group, HealthCheckIntervalSeconds=301)
    assert account.elbv2.describe_target_groups()["TargetGroups"] == [group]


def test_what_reaches_a_balancer_and_its_targets_is_what_their_groups_say(account: Account) -> None:
    group = account.ec2.create_security_group(GroupName="entry", Description="entry")["GroupId"]
    https = {"IpProtocol": "tcp", "FromPort": 9001, "ToPort": 9001, "IpRanges": [{"CidrIp": "198.51.100.0/24"}]}
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[https])
    assert account.kept.guarded() == [Balanced(account.balancer["DNSName"], frozenset(), None)]
    arn = account.balancer["LoadBalancerArn"]
    account.elbv2.set_security_groups(LoadBalancerArn=arn, SecurityGroups=[group])
    (guarded,) = account.kept.guarded()
    text = render([], [guarded])
    assert f"ip daddr {guarded.address} ip saddr {{ 198.51.100.0/24 }} tcp dport 9001-9001 accept" in text
    assert f"ip daddr {guarded.address} drop" in text
    assert "balancer" not in render([])
