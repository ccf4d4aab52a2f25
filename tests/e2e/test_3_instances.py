"""A machine follows its instance, and the inventory follows the API."""

from __future__ import annotations

from typing import Any

import boto3

from tests.e2e.deployment import Deployment


def client(deployment: Deployment) -> Any:
    environment = deployment.environment
    return boto3.client(
        "ec2",
        region_name="us-east-1",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def test_an_instance_made_by_hand_appears_is_reachable_and_goes(deployed: Deployment) -> None:
    ec2 = client(deployed)
    (reservation,) = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["trading-sandbox-1"]}])[
        "Reservations"
    ]
    (model,) = reservation["Instances"]
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
    instance = made["Instances"][0]
    ec2.get_waiter("instance_running").wait(
        InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )

    listing = deployed.inventory()
    assert sorted(listing["trading"]["hosts"]) == ["by-hand", "trading-sandbox-1"]
    address = listing["_meta"]["hostvars"]["by-hand"]["ansible_host"]
    assert deployed.ssh_when_it_answers(address, "hostname").stdout.strip()

    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    ec2.get_waiter("instance_terminated").wait(
        InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert deployed.inventory()["trading"]["hosts"] == ["trading-sandbox-1"]
    assert deployed.ssh(address, "true").returncode != 0
