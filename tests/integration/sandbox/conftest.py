"""A sandbox that the tests of this folder share.

Tests connect to its machines by SSH, in a network that no other sandbox uses.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import boto3
import pytest

AMI_PARAMETER = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"


def sandbox_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "embedded_ec2", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)


def eventually(condition: Callable[[], Any], limit_seconds: float = 180.0) -> Any:
    """Call the condition until its value is true, and return this value.

    Raises AssertionError after the limit. The limit is long on purpose, because the tests do not check how fast the
    sandbox is.
    """
    deadline = time.monotonic() + limit_seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {limit_seconds} s"
        time.sleep(0.1)
    return value


@dataclass
class Cloud:
    """A sandbox as a user sees it: its API through boto3, its machines through SSH, and its command line."""

    name: str
    vpc_cidr: IPv4Network
    directory: Path
    known_hosts: list[str] = field(default_factory=list)

    def up(self, *options: str) -> None:
        done = sandbox_command("up", "--name", self.name, *options)
        assert done.returncode == 0, done.stderr

    def down(self) -> None:
        done = sandbox_command("down", "--name", self.name)
        assert done.returncode == 0, done.stderr

    def status(self) -> list[dict[str, Any]]:
        done = sandbox_command("status", "--json", "--name", self.name)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)["instances"]
        return rows

    def row(self, instance_id: str) -> dict[str, Any] | None:
        return next((row for row in self.status() if row["instance_id"] == instance_id), None)

    @cached_property
    def settings(self) -> dict[str, str]:
        lines = sandbox_command("env", "--name", self.name).stdout.splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        return dict(pairs)

    def client(self, service: str) -> Any:
        session = boto3.Session(
            aws_access_key_id=self.settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.settings["AWS_SECRET_ACCESS_KEY"],
            region_name=self.settings["AWS_REGION"],
        )
        return session.client(service, endpoint_url=self.settings["AWS_ENDPOINT_URL"])

    @cached_property
    def ec2(self) -> Any:
        return self.client("ec2")

    @cached_property
    def key_file(self) -> Path:
        path = self.directory / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        self.ec2.import_key_pair(KeyName="tests", PublicKeyMaterial=path.with_suffix(".pub").read_bytes())
        return path

    @cached_property
    def ami(self) -> str:
        return str(self.client("ssm").get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"])

    @cached_property
    def subnet_id(self) -> str:
        return self.make_subnet(list(self.vpc_cidr.subnets(new_prefix=24))[1])

    @cached_property
    def vpc_id(self) -> str:
        return str(self.ec2.create_vpc(CidrBlock=str(self.vpc_cidr))["Vpc"]["VpcId"])

    def make_subnet(self, cidr: IPv4Network) -> str:
        subnet = self.ec2.create_subnet(VpcId=self.vpc_id, CidrBlock=str(cidr))["Subnet"]["SubnetId"]
        self.ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
        return str(subnet)

    @cached_property
    def group_id(self) -> str:
        group = self.ec2.create_security_group(GroupName="tests", Description="tests", VpcId=self.vpc_id)["GroupId"]
        self.ec2.authorize_security_group_ingress(
            GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=str(self.vpc_cidr)
        )
        return str(group)

    def run(self, **options: Any) -> dict[str, Any]:
        """Launch an instance. Return the entry about it in the answer of DescribeInstances."""
        assert self.key_file
        defaults = {
            "ImageId": self.ami,
            "InstanceType": "c6g.medium",
            "SubnetId": self.subnet_id,
            "KeyName": "tests",
            "SecurityGroupIds": [self.group_id],
            "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        }
        launched = self.ec2.run_instances(**defaults | options, MinCount=1, MaxCount=1)
        return self.describe(launched["Instances"][0]["InstanceId"])

    def describe(self, instance_id: str) -> dict[str, Any]:
        described = self.ec2.describe_instances(InstanceIds=[instance_id])
        instance: dict[str, Any] = described["Reservations"][0]["Instances"][0]
        return instance

    def state(self, instance_id: str) -> str:
        return str(self.describe(instance_id)["State"]["Name"])

    def trust(self, instance_id: str) -> None:
        """Read the SSH host keys of the instance's machine from its console, and add them to the file known_hosts."""
        addresses = [self.describe(instance_id).get(name) for name in ("PrivateIpAddress", "PublicIpAddress")]
        keys = eventually(lambda: host_keys_on(self.console(instance_id)))
        self.known_hosts += [f"{address} {key}" for address in addresses if address for key in keys]
        (self.directory / "known_hosts").write_text("\n".join(self.known_hosts) + "\n")

    def console(self, instance_id: str) -> str:
        return str(self.ec2.get_console_output(InstanceId=instance_id)["Output"])

    def ssh(self, address: str, command: str, limit_s: float = 240) -> subprocess.CompletedProcess[str]:
        options = ["BatchMode=yes", "ConnectTimeout=5", "StrictHostKeyChecking=yes", "LogLevel=ERROR"]
        options.append(f"UserKnownHostsFile={self.directory / 'known_hosts'}")
        argv = ["ssh", "-i", str(self.key_file), *(word for option in options for word in ("-o", option))]
        argv += [f"debian@{address}", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=limit_s)

    def connects(self, address: str, port: int) -> bool:
        """Return whether a TCP connection from this machine succeeds within a second."""
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
        return True

    def answer(self, address: str, command: str) -> str:
        """Run a command on the machine at this address over SSH, and return the output.

        When the machine is still booting, wait for it.
        """
        done = eventually(lambda: (done := self.ssh(address, command)).returncode != 255 and done)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()


def host_keys_on(console: str) -> list[str]:
    """Return the host keys that cloud-init has printed on the console, each as `type key`.

    The list is empty until cloud-init has printed the whole block of keys.
    """
    lines = [line.strip() for line in console.splitlines()]
    begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
    if end not in lines:
        return []
    return [" ".join(line.split()[:2]) for line in lines[lines.index(begin) + 1 : lines.index(end)]]


@pytest.fixture(scope="session")
def _machines_possible() -> None:
    if os.geteuid() != 0:
        pytest.skip("machines need root; `sudo -E scripts/test` runs these tests")


def clouds(names_and_networks: dict[str, str], directory: Path) -> Iterator[list[Cloud]]:
    made = []
    for name, cidr in names_and_networks.items():
        (directory / name).mkdir()
        made.append(Cloud(name, IPv4Network(cidr), directory / name))
    try:
        yield made
    finally:
        for cloud in made:
            cloud.down()


@pytest.fixture(scope="session")
def cloud(_machines_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    for (made,) in clouds({"test": "10.201.0.0/16"}, tmp_path_factory.mktemp("cloud")):
        made.up()
        yield made
