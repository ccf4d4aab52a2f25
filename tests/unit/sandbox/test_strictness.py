"""The sandbox's API refuses what AWS refuses, and deletes what AWS deletes.

Without the sandbox's patches, moto would accept some calls that AWS refuses.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import ec2_addresses, ec2_deletions, ec2_metadata_tags, sns_subscriptions
from moto import mock_aws

from tests import descriptions

Client = Callable[[str], Any]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Yield a function that returns a boto3 client for a service.

    All clients use an empty emulated AWS account inside the test process.
    """
    for patch in (ec2_addresses, ec2_deletions, ec2_metadata_tags, sns_subscriptions):
        patch.install(Hooks())
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # moto would load and list a thousand images
    descriptions.share(monkeypatch)
    with mock_aws():
        yield lambda service: boto3.client(service, region_name="us-east-1")


def image_of(ec2: Any) -> str:
    """Register an image and return its id."""
    devices = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 8}}]
    return str(ec2.register_image(Name=str(uuid.uuid4()), BlockDeviceMappings=devices)["ImageId"])


def launch(ec2: Any, **options: Any) -> str:
    """Launch an instance in a default subnet, and return the instance's id."""
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    launched = ec2.run_instances(ImageId=image_of(ec2), SubnetId=subnet, MinCount=1, MaxCount=1, **options)
    return str(launched["Instances"][0]["InstanceId"])


def public_address(ec2: Any, instance: str) -> str | None:
    """Return an instance's public address. Return None if it has none."""
    (found,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    address: str | None = found.get("PublicIpAddress")
    return address


def test_an_address_that_ec2_gave_goes_with_the_stop_and_an_elastic_one_stays(client: Client) -> None:
    ec2 = client("ec2")
    instance = launch(ec2)
    assert public_address(ec2, instance)
    ec2.stop_instances(InstanceIds=[instance])
    assert public_address(ec2, instance) is None
    ec2.start_instances(InstanceIds=[instance])

    elastic = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=instance)
    for change in (ec2.stop_instances, ec2.start_instances):
        change(InstanceIds=[instance])
        assert public_address(ec2, instance) == elastic["PublicIp"]


def test_an_instance_shows_no_tag_whose_key_has_a_blank_or_a_slash(client: Client) -> None:
    ec2 = client("ec2")
    shown = {"MetadataOptions": {"InstanceMetadataTags": "enabled"}}
    tagged = {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "cost centre/desk", "Value": "x"}]}]}
    with pytest.raises(ClientError, match="is not a valid tag key"):
        launch(ec2, **shown, **tagged)
    assert launch(ec2, **tagged)
    instance = launch(ec2, **shown)
    with pytest.raises(ClientError, match="is not a valid tag key"):
        ec2.create_tags(Resources=[instance], Tags=[{"Key": "cost centre", "Value": "x"}])


def test_who_has_an_address_is_asked_before_anything_is_sent_there(client: Client) -> None:
    sns = client("sns")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    mail = {"TopicArn": topic, "Protocol": "email", "Endpoint": "ops@example.com"}
    queue = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": "arn:aws:sqs:us-east-1:123456789012:q"}

    def arns() -> dict[str, str]:
        listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
        return {one["Protocol"]: one["SubscriptionArn"] for one in listed}

    assert sns.subscribe(**mail)["SubscriptionArn"] == "pending confirmation"
    assert sns.subscribe(**queue)["SubscriptionArn"].startswith(topic)
    assert arns()["email"] == "PendingConfirmation"
    assert arns()["sqs"].startswith(topic)
    with pytest.raises(ClientError, match="InvalidParameter"):
        sns.unsubscribe(SubscriptionArn="PendingConfirmation")
    with pytest.raises(ClientError, match="Token"):
        sns.confirm_subscription(TopicArn=topic, Token="of somebody else")
    confirmed = sns.confirm_subscription(TopicArn=topic, Token="ops@example.com")["SubscriptionArn"]
    assert arns()["email"] == confirmed


def test_what_is_in_use_is_not_deleted_and_what_uses_it_goes_by_and_by(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("embedded_ec2.patches.ec2_deletions.time", SimpleNamespace(monotonic=lambda: now))
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="a", Description="a", VpcId=vpc)["GroupId"]
    service = {"ServiceName": "com.amazonaws.us-east-1.s3", "VpcEndpointType": "Gateway"}
    endpoint = ec2.create_vpc_endpoint(VpcId=vpc, **service)["VpcEndpoint"]
    interface = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group], "DeleteOnTermination": True}
    launched = ec2.run_instances(ImageId=image_of(ec2), MinCount=1, MaxCount=1, NetworkInterfaces=[interface])

    def left() -> int:
        mine = [{"Name": "vpc-id", "Values": [vpc]}]
        states = {one["State"] for one in ec2.describe_vpc_endpoints(Filters=mine)["VpcEndpoints"]}
        return len(ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]) + len(states - {"deleted"})

    ec2.terminate_instances(InstanceIds=[launched["Instances"][0]["InstanceId"]])
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint["VpcEndpointId"]])
    assert left() == 2
    deletions: list[tuple[Any, dict[str, str]]] = [
        (ec2.delete_security_group, {"GroupId": group}),
        (ec2.delete_subnet, {"SubnetId": subnet}),
        (ec2.delete_vpc, {"VpcId": vpc}),
    ]
    for delete, arguments in deletions:
        with pytest.raises(ClientError, match="DependencyViolation"):
            delete(**arguments)
    now = 10.0
    assert left() == 0
    for delete, arguments in deletions:
        delete(**arguments)


def test_an_interface_that_a_launch_made_goes_with_the_instance(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_deletions, "SECONDS", 0.0)
    ec2 = client("ec2")
    instance = launch(ec2)
    of_it = [{"Name": "attachment.instance-id", "Values": [instance]}]
    assert len(ec2.describe_network_interfaces(Filters=of_it)["NetworkInterfaces"]) == 1
    before = len(ec2.describe_network_interfaces()["NetworkInterfaces"])
    ec2.terminate_instances(InstanceIds=[instance])
    assert len(ec2.describe_network_interfaces()["NetworkInterfaces"]) == before - 1
    ec2.terminate_instances(InstanceIds=[instance])


def test_an_interface_on_its_way_out_names_the_instance_that_it_goes_with(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_deletions, "SECONDS", 60.0)
    ec2 = client("ec2")
    instance = launch(ec2)
    ec2.terminate_instances(InstanceIds=[instance])
    listed = ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert [one["Attachment"]["InstanceId"] for one in listed if "Attachment" in one] == [instance]
