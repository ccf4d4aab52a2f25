"""While an instance exists, its machine runs and the inventory lists it.

A security group decides which clients can connect to the instance. Each test continues from the state that the previous
test left. The last test terminates the instance.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.deployment import Deployment

pytestmark = pytest.mark.usefixtures("in_written_order")

GROUP_WITHIN_S = 5.0


def host(ec2: Any) -> dict[str, Any]:
    """Return the instance of the host that site.yml has made."""
    found = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["trading-sandbox-1"]}])
    instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return instance


@dataclass(frozen=True)
class ByHand:
    """One more instance, which the test creates through the API. It has the host's subnet and security group."""

    deployment: Deployment
    ec2: Any
    instance_id: str
    address: str

    def terminate(self) -> None:
        self.ec2.terminate_instances(InstanceIds=[self.instance_id])
        self.wait_until("instance_terminated")

    def wait_until(self, state: str) -> None:
        limit = {"Delay": 1, "MaxAttempts": 60}
        self.ec2.get_waiter(state).wait(InstanceIds=[self.instance_id], WaiterConfig=limit)

    def gets_through(self, address: str, port: int) -> bool:
        """Return whether this instance can connect to the port at the address."""
        connect = ("timeout", "1", "bash", "-c", f"</dev/tcp/{address}/{port}")
        return self.deployment.ssh(self.address, *connect).returncode == 0


@pytest.fixture(scope="module")
def by_hand(deployed: Deployment) -> Iterator[ByHand]:
    ec2 = deployed.ec2()
    model = host(ec2)
    tags = [tag for tag in model["Tags"] if tag["Key"] not in {"Name"}] + [{"Key": "Name", "Value": "by-hand"}]
    made = ec2.run_instances(
        ImageId=model["ImageId"],
        InstanceType=model["InstanceType"],
        KeyName=model["KeyName"],
        SubnetId=model["SubnetId"],
        SecurityGroupIds=[group["GroupId"] for group in model["SecurityGroups"]],
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    (instance,) = made["Instances"]
    it = ByHand(deployed, ec2, instance["InstanceId"], instance["PrivateIpAddress"])
    try:
        it.wait_until("instance_running")
        yield it
    finally:
        it.terminate()


def becomes_true(look: Callable[[], bool], within_s: float) -> bool:
    """Return whether the condition becomes true within `within_s` seconds.

    The last check begins before this time is over.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        in_time = time.monotonic() < deadline_s
        if look():
            return True
        if not in_time:
            return False


def test_an_instance_made_by_hand_appears_and_is_reachable(deployed: Deployment, by_hand: ByHand) -> None:
    listing = deployed.inventory()
    assert sorted(listing["trading"]["hosts"]) == ["by-hand", "trading-sandbox-1"]
    address = listing["_meta"]["hostvars"]["by-hand"]["ansible_host"]
    assert deployed.ssh_when_it_answers(address, "hostname").stdout.strip()


def test_ssh_is_closed_to_it_until_the_group_and_the_hosts_own_firewall_name_it(
    deployed: Deployment, by_hand: ByHand
) -> None:
    target = host(by_hand.ec2)
    group_id, address = target["SecurityGroups"][0]["GroupId"], target["PrivateIpAddress"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": f"{by_hand.address}/32"}]}

    def on_the_host(*nft: str) -> str:
        done = deployed.ssh(target["PublicIpAddress"], "sudo", "nft", *nft)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused() -> int:
        found = re.search(r"packets (\d+)", on_the_host("list", "counter", "inet", "trading", "unknown_source"))
        assert found
        return int(found[1])

    assert by_hand.gets_through(by_hand.address, 22), "it cannot connect to anything"
    before = refused()
    assert not by_hand.gets_through(address, 22)
    assert refused() == before, "the group let it through to the host"
    by_hand.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
    assert becomes_true(lambda: by_hand.gets_through(address, 22) or refused() > before, GROUP_WITHIN_S)
    assert not by_hand.gets_through(address, 22), "the host's own firewall let it in"
    element = ("element", "inet", "trading", "operators_ipv4", "{", by_hand.address, "}")
    on_the_host("add", *element)
    try:
        assert by_hand.gets_through(address, 22)
        by_hand.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
        assert becomes_true(lambda: not by_hand.gets_through(address, 22), GROUP_WITHIN_S)
    finally:
        on_the_host("delete", *element)


def test_it_goes_with_its_instance(deployed: Deployment, by_hand: ByHand) -> None:
    by_hand.terminate()
    assert deployed.inventory()["trading"]["hosts"] == ["trading-sandbox-1"]
    assert deployed.ssh(by_hand.address, "true").returncode != 0
