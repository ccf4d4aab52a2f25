"""An Auto Scaling group behind a load balancer, from the calls of the API to the network packets.

A network namespace with a server replaces each machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from embedded_ec2 import processes
from embedded_ec2.application import Application, make_api_server
from embedded_ec2.groups import all_groups
from embedded_ec2.hooks import Hooks, NoMachines
from embedded_ec2.keeper import Keeper
from embedded_ec2.ledger import Ledger
from embedded_ec2.machine import Boot, Exit, Machine
from embedded_ec2.network import Router, public_slot
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends

from .conftest import eventually
from .test_balancer import PORT, SERVER

NETWORK = IPv4Network("10.210.0.0/16")
CHECK = {
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 5,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
}


@dataclass
class Place(Machine):
    """A fake machine. It has only a network namespace and a server process."""

    shutdown_limit_seconds: ClassVar[float] = 5.0

    def exit(self) -> Exit | None:
        if self.process.poll() is None:
            return None
        return Exit.OFF if self.is_stopping else Exit.FAILED

    def reboot(self) -> None:
        raise NotImplementedError

    def ask_to_shut_down(self) -> None:
        self.process.terminate()


class Places:
    """A fake hypervisor. It starts a `Place` in place of each machine."""

    def start(self, boot: Boot, router: Router, ledger: Ledger) -> Machine:
        router.plug_in_namespace(boot.leg)
        ledger.add("tree", str(boot.directory))
        boot.directory.mkdir(parents=True)  # fails if the machine is started twice
        (boot.directory / "console.log").touch()
        argv = ["ip", "netns", "exec", boot.leg.netns, sys.executable, "-c", SERVER, boot.leg.instance_id]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        ticks = processes.start_ticks(process.pid) or 0
        ledger.add("machine", f"{boot.leg.instance_id} {process.pid} {ticks}")
        return Place(boot, "nothing", process)


class Ending(Keeper):
    """A `Keeper`, the sandbox's thread that starts and ends machines. This one also ends when `over` is true."""

    over = False

    def until_over(self) -> None:
        with contextlib.suppress(SystemExit):
            self.run()

    def _compare(self) -> None:
        if self.over:
            raise SystemExit
        super()._compare()


class Fleet:
    """The API, its threads, and a group of one instance behind a balancer. All of them run in this process."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.json")
        self._router = Router("test-fleet", 6, self.ledger)
        self._router.open()
        kinds: Any = {"container": Places()}
        self._keeper = Ending(directory / "machines", kinds, self._router, self.ledger, "http://nowhere")
        self._hooks = Hooks(machines=self._keeper, public_addresses=public_slot(6))
        self._server = make_api_server("127.0.0.1", 0, Application(self._hooks, self._keeper.status))
        targets = (self._keeper.until_over, self._server.serve_forever)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()
        options = {"endpoint_url": f"http://127.0.0.1:{self._server.port}", "region_name": "us-east-1"}
        keys = {"aws_access_key_id": "embedded", "aws_secret_access_key": "embedded"}
        self._ec2, self.scaling, self.elbv2 = (
            boto3.client(service, **options, **keys) for service in ("ec2", "autoscaling", "elbv2")
        )

    def make(self) -> None:
        vpc = self._ec2.create_vpc(CidrBlock=str(NETWORK))["Vpc"]["VpcId"]
        subnet = self._ec2.create_subnet(VpcId=vpc, CidrBlock="10.210.1.0/24")["Subnet"]["SubnetId"]
        group = self._ec2.create_security_group(GroupName="fleet", Description="fleet", VpcId=vpc)["GroupId"]
        rule = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT, "CidrIp": str(NETWORK)}
        self._ec2.authorize_security_group_ingress(GroupId=group, **rule)
        made = self.elbv2.create_target_group(Name="alpha", Protocol="TCP", Port=PORT, VpcId=vpc, **CHECK)
        self.targets = made["TargetGroups"][0]["TargetGroupArn"]
        balancer = self.elbv2.create_load_balancer(Name="fleet", Type="network", Scheme="internal", Subnets=[subnet])
        self.arn, self.address = (balancer["LoadBalancers"][0][name] for name in ("LoadBalancerArn", "DNSName"))
        forward = [{"Type": "forward", "TargetGroupArn": self.targets}]
        self.elbv2.create_listener(LoadBalancerArn=self.arn, Protocol="TCP", Port=PORT, DefaultActions=forward)
        image = next(iter(ec2_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].amis))
        key = self._ec2.create_key_pair(KeyName="fleet")["KeyName"]
        data = {"ImageId": image, "InstanceType": "c6g.medium", "SecurityGroupIds": [group], "KeyName": key}
        self._ec2.create_launch_template(LaunchTemplateName="host", LaunchTemplateData=data)
        hook = {"LifecycleHookName": "ready", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName="alpha",
            LaunchTemplate={"LaunchTemplateName": "host"},
            MinSize=1,
            MaxSize=1,
            VPCZoneIdentifier=subnet,
            TargetGroupARNs=[self.targets],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=60,
            LifecycleHookSpecificationList=[hook],
        )

    def member(self) -> dict[str, Any]:
        """Return the group's instance, unless it is being terminated. When there is none, return empty values."""
        (group,) = self.scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        here = [each for each in group["Instances"] if not each["LifecycleState"].startswith("Terminat")]
        return here[0] if here else {"InstanceId": "", "LifecycleState": ""}

    def complete(self, instance_id: str) -> None:
        hook = {"LifecycleHookName": "ready", "AutoScalingGroupName": "alpha", "LifecycleActionResult": "CONTINUE"}
        self.scaling.complete_lifecycle_action(InstanceId=instance_id, **hook)

    def health(self) -> dict[str, str]:
        told = self.elbv2.describe_target_health(TargetGroupArn=self.targets)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in told}

    def kill(self, instance_id: str) -> None:
        (pid,) = (
            int(identity.split()[1])
            for kind, identity in self.ledger.entries()
            if kind == "machine" and identity.startswith(instance_id)
        )
        os.kill(pid, signal.SIGKILL)

    def session(self) -> socket.socket:
        return socket.create_connection((self.address, PORT), 10)

    def close(self) -> None:
        for group in all_groups():
            group.autoscaling_backend.delete_auto_scaling_group(group.name)
        eventually(lambda: not [kind for kind, _ in self.ledger.entries() if kind == "machine"])
        self._keeper.over = True
        self._server.shutdown()
        for thread in self._threads:
            thread.join(30)
        self._server.server_close()
        self._hooks.machines = NoMachines()  # later users of moto in this process have no machines
        self.ledger.end_processes()
        self.ledger.undo_all()


@pytest.fixture
def fleet(_machines_possible: None, tmp_path: Path) -> Iterator[Fleet]:
    if not shutil.which("haproxy"):
        pytest.skip("no haproxy; `apt-get install haproxy`")
    made = Fleet(tmp_path)
    try:
        made.make()
        yield made
    finally:
        made.close()


def test_a_machine_that_is_killed_is_replaced_and_reached_through_the_balancer(
    fleet: Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    first = fleet.member()
    assert first["LifecycleState"] == "Pending:Wait"
    assert fleet.health() == {}
    fleet.complete(first["InstanceId"])
    assert fleet.health() == {first["InstanceId"]: "initial"}
    eventually(lambda: fleet.health() == {first["InstanceId"]: "healthy"})
    with fleet.session() as session:
        lines = session.makefile()
        assert lines.readline().split() == [first["InstanceId"], "10.210.1.1"]
        fleet.kill(first["InstanceId"])
        assert lines.readline() == "", "a session ends with its machine"
    second = eventually(lambda: (found := fleet.member())["InstanceId"] not in ("", first["InstanceId"]) and found)
    fleet.complete(second["InstanceId"])
    eventually(lambda: fleet.health() == {second["InstanceId"]: "healthy"})
    with fleet.session() as session:
        assert session.makefile().readline().split()[0] == second["InstanceId"]
    fleet.elbv2.delete_load_balancer(LoadBalancerArn=fleet.arn)
    eventually(lambda: "netns-processes" not in dict(fleet.ledger.entries()))
    assert "File exists" not in capfd.readouterr().err, "what died is not started again"
