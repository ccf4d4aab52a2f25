"""Security groups decide who can reach a sandbox machine: the computer that runs the tests, or another machine."""

from typing import Any

import pytest

from .conftest import Cloud, eventually

PORT = 8000
SERVER = f"sudo systemd-run --quiet --unit=web python3 -m http.server {PORT}"


def opens(cloud: Cloud, origin: dict[str, Any], target: str) -> bool:
    """Return whether the machine `origin` can connect to the address and port `target` within one second."""
    command = f"timeout 1 bash -c '</dev/tcp/{target}/{PORT}'"
    return cloud.ssh(origin["PrivateIpAddress"], command).returncode == 0


@pytest.fixture(scope="module")
def group(cloud: Cloud) -> str:
    created = cloud.ec2.create_security_group(GroupName="web", Description="web", VpcId=cloud.vpc_id)
    return str(created["GroupId"])


@pytest.fixture(scope="module")
def server(cloud: Cloud, group: str) -> dict[str, Any]:
    launched = cloud.run(SecurityGroupIds=[cloud.group_id, group])
    cloud.trust(launched["InstanceId"])
    cloud.answer(launched["PrivateIpAddress"], SERVER)
    cloud.answer(launched["PrivateIpAddress"], f"until timeout 1 bash -c '</dev/tcp/127.0.0.1/{PORT}'; do :; done")
    return launched


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> dict[str, Any]:
    launched = cloud.run()
    cloud.trust(launched["InstanceId"])
    cloud.answer(launched["PrivateIpAddress"], "true")
    return launched


def permission(**other_side: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, **other_side}


def test_a_port_without_a_rule_is_closed_to_the_neighbour(
    cloud: Cloud, server: dict[str, Any], client: dict[str, Any]
) -> None:
    assert not opens(cloud, client, server["PrivateIpAddress"])


def test_a_group_as_the_other_side_is_its_machines_at_private_addresses_only(
    cloud: Cloud, group: str, server: dict[str, Any], client: dict[str, Any]
) -> None:
    rule = permission(UserIdGroupPairs=[{"GroupId": cloud.group_id}])
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    eventually(lambda: opens(cloud, client, server["PrivateIpAddress"]))
    assert not opens(cloud, client, server["PublicIpAddress"])
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    eventually(lambda: not opens(cloud, client, server["PrivateIpAddress"]))


@pytest.mark.parametrize("other_side", ["address", "group"])
def test_a_rule_opens_the_port_and_its_removal_closes_it(
    cloud: Cloud, group: str, server: dict[str, Any], client: dict[str, Any], other_side: str
) -> None:
    if other_side == "address":
        rule = permission(IpRanges=[{"CidrIp": f"{client['PrivateIpAddress']}/32"}])
    else:
        rule = permission(UserIdGroupPairs=[{"GroupId": cloud.group_id}])
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    eventually(lambda: opens(cloud, client, server["PrivateIpAddress"]))
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    eventually(lambda: not opens(cloud, client, server["PrivateIpAddress"]))


def test_a_rule_for_another_address_opens_nothing(
    cloud: Cloud, group: str, server: dict[str, Any], client: dict[str, Any]
) -> None:
    rule = permission(IpRanges=[{"CidrIp": f"{cloud.vpc_cidr[256 + 1]}/32"}])
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    # One rule allows this machine's address. When this machine can connect, the new rules are in force.
    eventually(lambda: cloud.connects(server["PrivateIpAddress"], PORT))
    assert cloud.connects(server["PublicIpAddress"], PORT)
    assert not opens(cloud, client, server["PrivateIpAddress"])
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])
    eventually(lambda: not cloud.connects(server["PrivateIpAddress"], PORT))


def test_a_machine_cannot_take_another_address(cloud: Cloud, server: dict[str, Any], client: dict[str, Any]) -> None:
    own, neighbour = client["PrivateIpAddress"], server["PrivateIpAddress"]
    url = "http://169.254.169.254/latest/api/token"
    ask = f"curl -s -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {url} --interface"
    assert cloud.answer(own, f"{ask} {own}") != "", "its own address has to work, or the next line shows nothing"
    take, give_back = (f"sudo ip address {verb} {neighbour}/32 dev ens5" for verb in ("add", "delete"))
    assert cloud.answer(own, f"{take}; {ask} {neighbour}; {give_back}") == ""


def test_without_an_egress_rule_a_machine_reaches_nobody(
    cloud: Cloud, group: str, server: dict[str, Any], client: dict[str, Any]
) -> None:
    closed = cloud.ec2.create_security_group(GroupName="closed", Description="closed", VpcId=cloud.vpc_id)["GroupId"]
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    cloud.ec2.revoke_security_group_egress(GroupId=closed, IpPermissions=everything)
    ssh = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    cloud.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=ssh)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission(IpRanges=ssh[0]["IpRanges"])])
    eventually(lambda: opens(cloud, client, server["PrivateIpAddress"]))
    cloud.ec2.modify_instance_attribute(InstanceId=client["InstanceId"], Groups=[closed])
    eventually(lambda: not opens(cloud, client, server["PrivateIpAddress"]))
