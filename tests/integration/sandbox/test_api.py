"""Parts of the sandbox's API that correct moto, the emulator of AWS. These tests run no machines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .conftest import AMI_PARAMETER, Cloud, clouds, eventually


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory: Path = tmp_path_factory.mktemp("api")
    for (made,) in clouds({"test-api": "10.204.0.0/16"}, directory):
        made.up("--no-machines")
        yield made


def refused(call: Any, **arguments: Any) -> str:
    with pytest.raises(Exception) as error:  # noqa: PT011 (botocore makes its exception classes at run time)
        call(**arguments)
    return str(error.value.response["Error"]["Code"])  # type: ignore[attr-defined]


def test_unknown_images_keys_and_types_are_refused_as_on_aws(api: Cloud) -> None:
    assert refused(api.run, ImageId="ami-00000000000000000") == "InvalidAMIID.NotFound"
    assert refused(api.run, KeyName="nobodys") == "InvalidKeyPair.NotFound"
    assert refused(api.run, InstanceType="c6g.gigantic") == "InvalidInstanceType.NotFound"


def test_public_addresses_belong_to_nobody(api: Cloud) -> None:
    launched = api.run()
    elastic = api.ec2.allocate_address(Domain="vpc")
    addresses = [launched["PublicIpAddress"], elastic["PublicIp"]]
    assert all(address.startswith("203.0.113.") for address in addresses)
    assert len(set(addresses)) == 2


def test_public_addresses_are_handed_out_again_once_released(api: Cloud) -> None:
    first = api.ec2.allocate_address(Domain="vpc")
    api.ec2.release_address(AllocationId=first["AllocationId"])
    assert api.ec2.allocate_address(Domain="vpc")["PublicIp"] == first["PublicIp"]


def test_it_listens_on_loopback_only(api: Cloud) -> None:
    port = int(api.settings["AWS_ENDPOINT_URL"].rpartition(":")[2])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port}
    assert listening == {f"0100007F:{port:04X}"}


def test_the_tags_of_an_elastic_address_are_found_by_awss_resource_type(api: Cloud) -> None:
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": "entry"}]}]
    address = api.ec2.allocate_address(Domain="vpc", TagSpecifications=tags)
    filters = {"resource-id": address["AllocationId"], "resource-type": "elastic-ip"}
    found = api.ec2.describe_tags(Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()])
    assert [tag["Value"] for tag in found["Tags"]] == ["entry"]


def test_an_elastic_address_is_free_once_its_instance_is_terminated(api: Cloud) -> None:
    address = api.ec2.allocate_address(Domain="vpc")
    launched = api.run()
    api.ec2.associate_address(InstanceId=launched["InstanceId"], AllocationId=address["AllocationId"])
    api.ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])
    (found,) = api.ec2.describe_addresses(AllocationIds=[address["AllocationId"]])["Addresses"]
    assert not found.get("InstanceId")
    assert not found.get("AssociationId")


def test_a_volume_of_no_snapshot_says_so(api: Cloud) -> None:
    volume = api.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)
    assert api.ec2.describe_volumes(VolumeIds=[volume["VolumeId"]])["Volumes"][0]["SnapshotId"] == ""


def test_a_placement_group_is_made_described_and_deleted(api: Cloud) -> None:
    tags = [{"ResourceType": "placement-group", "Tags": [{"Key": "Name", "Value": "near"}]}]
    made = api.ec2.create_placement_group(GroupName="near", Strategy="cluster", TagSpecifications=tags)
    group = made["PlacementGroup"]
    assert (group["State"], group["Strategy"], group["Tags"]) == (
        "available",
        "cluster",
        [{"Key": "Name", "Value": "near"}],
    )
    by_tag = [{"Name": "tag:Name", "Values": ["near"]}]
    assert api.ec2.describe_placement_groups(Filters=by_tag)["PlacementGroups"][0]["GroupId"] == group["GroupId"]
    assert refused(api.ec2.create_placement_group, GroupName="near") == "InvalidPlacementGroup.Duplicate"
    api.ec2.delete_placement_group(GroupName="near")
    assert refused(api.ec2.describe_placement_groups, GroupNames=["near"]) == "InvalidPlacementGroup.Unknown"


def test_replacing_an_instances_groups_leaves_none_of_the_old(api: Cloud) -> None:
    launched = api.run()
    other = api.ec2.create_security_group(GroupName="other", Description="other", VpcId=api.vpc_id)["GroupId"]
    api.ec2.modify_instance_attribute(InstanceId=launched["InstanceId"], Groups=[other])
    described = api.describe(launched["InstanceId"])
    assert [group["GroupId"] for group in described["SecurityGroups"]] == [other]
    assert [group["GroupId"] for group in described["NetworkInterfaces"][0]["Groups"]] == [other]


def test_a_group_replaces_by_itself_what_was_stopped(api: Cloud) -> None:
    template = {"ImageId": api.ami, "InstanceType": "c6g.medium"}
    api.ec2.create_launch_template(LaunchTemplateName="group", LaunchTemplateData=template)
    scaling = api.client("autoscaling")
    of_it = {"AutoScalingGroupName": "group"}
    launch = {"LaunchTemplate": {"LaunchTemplateName": "group"}, "VPCZoneIdentifier": api.subnet_id}
    scaling.create_auto_scaling_group(**of_it, **launch, MinSize=1, MaxSize=1)

    def ids() -> list[str]:
        (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["group"])["AutoScalingGroups"]
        return [instance["InstanceId"] for instance in group["Instances"]]

    before = ids()
    api.ec2.stop_instances(InstanceIds=before)
    eventually(lambda: ids() and not set(ids()) & set(before))
    scaling.delete_auto_scaling_group(**of_it, ForceDelete=True)


def order_faults(api: Cloud, document: str) -> int:
    url = api.settings["AWS_ENDPOINT_URL"] + "/_embedded_ec2/faults"
    return int(requests.put(url, data=document, timeout=10).status_code)


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "VcpuLimitExceeded", "UnauthorizedOperation"])
def test_an_ordered_refusal_comes_once_and_launches_nothing(api: Cloud, code: str) -> None:
    before = len(api.status())
    assert order_faults(api, json.dumps([{"action": "RunInstances", "code": code}])) == 204
    assert refused(api.run) == code
    assert len(api.status()) == before
    assert api.run()["State"]["Name"] == "running"
    assert len(api.status()) == before + 1


def test_a_throttled_client_tries_again_and_succeeds(api: Cloud) -> None:
    faults = [{"action": "DescribeVpcs", "code": "RequestLimitExceeded", "times": 2}]
    assert order_faults(api, json.dumps(faults)) == 204
    answer = api.ec2.describe_vpcs()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_faults_reach_services_of_the_other_protocols(api: Cloud) -> None:
    faults = [{"action": action, "code": "AccessDenied"} for action in ("CreateRole", "GetParameter")]
    assert order_faults(api, json.dumps(faults)) == 204
    create_role = api.client("iam").create_role
    assert refused(create_role, RoleName="r", AssumeRolePolicyDocument="{}") == "AccessDenied"
    assert refused(api.client("ssm").get_parameter, Name=AMI_PARAMETER) == "AccessDenied"


@pytest.mark.parametrize(
    "document", ["{}", '[{"action": "RunInstances"}]', '[{"action": "A", "code": "B", "times": 0}]', "["]
)
def test_an_order_that_makes_no_sense_is_refused(api: Cloud, document: str) -> None:
    assert order_faults(api, document) == 400
