"""Make a network with machines in the embedded EC2: machines.py CIDR PUBLIC_KEY_FILE PLATFORMS_AS_JSON

One process, not a task for each step: every module of AWS imports its client anew, which takes longer than the call.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3


def main(cidr: str, public_key_file: str, platforms: str) -> None:
    """Launch a machine for each of molecule's platforms, in a VPC that everything may reach."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="molecule", Description="all", VpcId=vpc)["GroupId"]
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[everything])
    ec2.import_key_pair(KeyName="molecule", PublicKeyMaterial=Path(public_key_file).read_bytes())
    arm64 = [{"Name": "architecture", "Values": ["arm64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=arm64)["Images"][0]["ImageId"]
    for platform in json.loads(platforms):
        tags = {**platform.get("tags", {}), "Name": platform["name"]}
        ec2.run_instances(
            ImageId=image,
            InstanceType=platform.get("instance_type", "c6g.medium"),
            SubnetId=subnet,
            SecurityGroupIds=[group],
            KeyName="molecule",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
