"""After a sandbox is removed, this machine is as before. This is also true when the sandbox was killed or damaged."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_ec2.state import Sandbox

from .conftest import Cloud, clouds, eventually, sandbox_command


def traces(name: str) -> dict[str, list[str]]:
    """Return what still exists of the sandbox on this machine.

    The keys are kinds of traces: files, mounts, network namespaces and processes.
    """
    directory = f"/var/lib/embedded-ec2/{name}"

    def lines(*argv: str) -> list[str]:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    return {
        "files": [directory] if Path(directory).exists() else [],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if f"{directory}/" in line],
        "namespaces": [line for line in lines("ip", "netns", "list") if line.split()[0] == f"ec2-{name}"],
        "processes": [line for line in lines("ps", "-eo", "args") if directory in line or f"--name {name} " in line],
    }


def network(*prefixes: str) -> list[str]:
    """Return the lines of this machine's routing tables that contain one of these prefixes.

    These tables also list the machine's own addresses.
    """
    shown = subprocess.run(["ip", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=True)
    return [line for line in shown.stdout.splitlines() if any(prefix in line for prefix in prefixes)]


NOTHING: dict[str, list[str]] = {"files": [], "mounts": [], "namespaces": [], "processes": []}


@pytest.fixture
def two(_machines_possible: None, tmp_path: Path) -> Iterator[list[Cloud]]:
    yield from clouds({"test-left": "10.202.0.0/16", "test-right": "10.203.0.0/16"}, tmp_path)


def test_down_leaves_nothing_and_the_other_sandbox_untouched(two: list[Cloud]) -> None:
    left, right = two
    for cloud in two:
        cloud.up()
        launched = cloud.run()
        cloud.trust(launched["InstanceId"])
        assert cloud.answer(launched["PrivateIpAddress"], "echo up") == "up"
    survivor = right.status()[0]
    left.down()
    assert traces("test-left") == NOTHING
    assert network("10.202.") == []
    assert right.answer(survivor["private_address"], "echo still up") == "still up"
    right.down()
    assert traces("test-right") == NOTHING
    assert network("10.203.") == []
    left.down()  # a second removal is no error


def test_a_second_up_finds_the_first(two: list[Cloud]) -> None:
    cloud = two[0]
    cloud.up()
    launched = cloud.run()
    cloud.up()
    assert [row["instance_id"] for row in cloud.status()] == [launched["InstanceId"]]


def test_a_killed_keeper_leaves_nothing_that_down_does_not_find(two: list[Cloud]) -> None:
    cloud = two[0]
    cloud.up()
    launched = cloud.run()
    cloud.trust(launched["InstanceId"])
    cloud.answer(launched["PrivateIpAddress"], "true")
    running = Sandbox.named(cloud.name).running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not running.is_alive)
    assert "is not up" in sandbox_command("status", "--name", cloud.name).stderr
    cloud.down()
    assert traces(cloud.name) == NOTHING
    assert network("10.202.") == []


def test_up_after_a_crash_starts_afresh(two: list[Cloud]) -> None:
    cloud = two[0]
    cloud.up()
    cloud.run()
    running = Sandbox.named(cloud.name).running()
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: not running.is_alive)
    cloud.up()
    assert cloud.status() == []
    cloud.down()
    assert traces(cloud.name) == NOTHING


def test_a_subnet_in_use_is_refused_by_name(two: list[Cloud]) -> None:
    left, right = two
    for cloud in two:
        cloud.up()
    left.run()
    stolen = right.ec2.create_vpc(CidrBlock=str(left.vpc_cidr))["Vpc"]["VpcId"]
    subnet = right.ec2.create_subnet(VpcId=stolen, CidrBlock="10.202.1.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(
        right.ec2.exceptions.ClientError, match=r"10\.202\.1\.0/24 overlaps 10\.202\.1\.0/24"
    ) as refused:
        right.run(SubnetId=subnet, SecurityGroupIds=[])
    assert refused.value.response["Error"]["Code"] == "Unsupported"
    assert right.status() == []
