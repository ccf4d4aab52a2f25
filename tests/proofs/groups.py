"""Tests an Auto Scaling group of one host, behind a Network Load Balancer, in the sandbox.

The group must launch a host and wait until its lifecycle hook is completed. It must replace the host when the host is
killed. It must also replace the host when the launch template is newer. At most two small machines run at a time. The
figures are about this machine, and say nothing about AWS.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import string
import subprocess
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from embedded_ec2.ledger import Ledger
from embedded_ec2.state import Sandbox

from tests.integration.sandbox.conftest import Cloud, eventually
from tests.integration.sandbox.test_clean_up import NOTHING, network, traces
from tests.proofs.evidence import ROOT, Evidence

_NAME, _NETWORK = "prove-groups", IPv4Network("10.208.0.0/16")
_PORT, _GROUP, _HOOK, _PARAMETER = 9001, "alpha", "ready", "/alpha/password"
_PASSWORD = "only the role reads it"  # of no account
_SOURCES = [ROOT / "sandbox" / "src"]
# The machine's program. It reads a parameter with its role, serves the parameter on a port, and then completes the
# lifecycle hook.
_USER_DATA = string.Template("""#!/bin/bash
set -eu
mkdir -m 0700 /run/alpha
md=http://169.254.169.254/latest
token=$$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' $$md/api/token)
ask() { curl -sf -H "X-aws-ec2-metadata-token: $$token" "$$md/meta-data/$$1"; }
role=$$(ask iam/security-credentials)
ask "iam/security-credentials/$$role" >/run/alpha/credentials
key() { python3 -c 'import json, sys; print(json.load(open("/run/alpha/credentials"))[sys.argv[1]])' "$$1"; }
call() {
  service=$$1; shift
  curl -sf --aws-sigv4 "aws:amz:us-east-1:$$service" --user "$$(key AccessKeyId):$$(key SecretAccessKey)" \\
    -H "X-Amz-Security-Token: $$(key Token)" "$$@" "$$AWS_ENDPOINT_URL/"
}
call ssm -H 'Content-Type: application/x-amz-json-1.1' -H 'X-Amz-Target: AmazonSSM.GetParameter' \\
  -d '{"Name": "$parameter", "WithDecryption": true}' >/run/alpha/parameter
cat >/run/alpha/server.py <<'END'
import json, socketserver, sys
value = json.load(open("/run/alpha/parameter"))["Parameter"]["Value"]
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        said = {"id": sys.argv[1], "peer": self.client_address[0], "version": "$version", "parameter": value}
        self.wfile.write(json.dumps(said).encode() + b"\\n")
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer(("", $port), Handler).serve_forever()
END
systemd-run --quiet --unit=server python3 /run/alpha/server.py "$$(ask instance-id)"
until timeout 1 bash -c '</dev/tcp/127.0.0.1/$port'; do :; done
call autoscaling -d Action=CompleteLifecycleAction -d Version=2011-01-01 -d LifecycleHookName=$hook \\
  -d AutoScalingGroupName=$group -d LifecycleActionResult=CONTINUE -d "InstanceId=$$(ask instance-id)"
""")


def prove(rounds: int) -> Path:
    """Test this number of groups. Write the record and return its path.

    Raises AssertionError when a group does not behave like a group in AWS.
    """
    evidence = Evidence("groups", rounds, _SOURCES)
    # The life of a fleet that the roles create. Only the API is used, without machines.
    role = [str(ROOT / "scripts/test"), "aws", "tests/integration/aws/test_life_of_a_fleet.py"]
    subprocess.run(role, env={**os.environ, "TRADING_PROOF": "1"}, check=True)
    while evidence.done < rounds:
        with tempfile.TemporaryDirectory(prefix="groups-") as name:
            cloud = Cloud(_NAME, _NETWORK, Path(name))
            try:
                cloud.down()  # an interrupted proof may have left a sandbox
                cloud.up()
                result = _Fleet(cloud).judged()
            finally:
                cloud.down()
        assert traces(_NAME) == NOTHING
        assert network("10.208.") == []
        evidence.add(result)
    return evidence.finish({"rounds": evidence.results})


class _Fleet:
    """An Auto Scaling group of one host behind a load balancer, and the steps of the proof on it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._scaling, self._elbv2 = cloud.client("autoscaling"), cloud.client("elbv2")
        self._begun = time.monotonic()
        self._make_role()
        cloud.ec2.authorize_security_group_ingress(
            GroupId=cloud.group_id, IpProtocol="tcp", FromPort=_PORT, ToPort=_PORT, CidrIp=str(_NETWORK)
        )
        made = self._elbv2.create_target_group(
            Name=_GROUP,
            Protocol="TCP",
            Port=_PORT,
            VpcId=cloud.vpc_id,
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )
        self._targets = made["TargetGroups"][0]["TargetGroupArn"]
        balancer = self._elbv2.create_load_balancer(
            Name="fleet", Type="network", Scheme="internal", Subnets=[cloud.subnet_id]
        )["LoadBalancers"][0]
        self._address = balancer["DNSName"]
        self._elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="TCP",
            Port=_PORT,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self._targets}],
        )

    def judged(self) -> dict[str, Any]:
        figures: dict[str, float] = {}
        self._make_group()
        assert self._states() == ["Pending:Wait"], self._states()
        assert self._health() == {}, "no target before the hook is completed"
        figures["launched_to_in_service_s"] = self._timed(lambda: self._states() == ["InService"])
        figures["in_service_to_healthy_s"] = self._timed(lambda: set(self._health().values()) == {"healthy"})
        first = self._said()
        gateway = str(self._cloud.vpc_cidr[256 + 1])
        assert (first["version"], first["parameter"]) == ("1", _PASSWORD), first
        figures.update(self._killed(first["id"]))
        figures.update(self._refreshed())
        rounded = {name: round(value, 1) for name, value in figures.items()}
        return {"figures": rounded, "keeps_client": first["peer"] == gateway}

    def _killed(self, victim: str) -> dict[str, float]:
        """Kill the machine `victim`. The group must replace it.

        Return durations in seconds, counted from the kill, by their names.
        """
        with self._session() as session:
            self._kill(victim)
            killed = time.monotonic()
            assert session.makefile("rb").read() == b"", "a session ends with its machine"
            cut_s = time.monotonic() - killed
        launched_s = self._timed(lambda: set(self._ids()) - {victim}, killed)
        in_service_s = self._timed(lambda: self._states() == ["InService"], killed)
        answers_s = self._timed(lambda: (said := self._said_or_nothing()) and said["id"] != victim, killed)
        assert self._cloud.state(victim) == "terminated"
        causes = [each["Cause"] for each in self._scaling.describe_scaling_activities()["Activities"]]
        assert any("EC2 health check" in cause for cause in causes), causes
        return {
            "killed_to_session_ended_s": cut_s,
            "killed_to_launched_s": launched_s,
            "killed_to_in_service_s": in_service_s,
            "killed_to_answering_s": answers_s,
        }

    def _refreshed(self) -> dict[str, float]:
        """Let the group replace the machine by one from a newer template, while a session with the old machine is open.

        Return durations in seconds, counted from the start of the refresh, by their names.
        """
        (old,) = self._ids()
        self._cloud.ec2.create_launch_template_version(
            LaunchTemplateName=_GROUP, LaunchTemplateData=self._template(version="2")
        )
        begun = time.monotonic()
        with self._session() as session:
            preferences = {"InstanceWarmup": 0, "MinHealthyPercentage": 100, "MaxHealthyPercentage": 200}
            self._scaling.start_instance_refresh(AutoScalingGroupName=_GROUP, Preferences=preferences)
            eventually(lambda: self._health().get(old) == "draining")
            drained_at = time.monotonic()
            # As in AWS, the balancer learns of a draining target a moment after the API reports it.
            eventually(lambda: self._said()["version"] == "2")
            session.sendall(b"still\n")
            assert session.recv(100) == b"still\n", "an open session goes on"
            assert old in self._ids()
        done_s = self._timed(lambda: self._refresh() == "Successful", begun)
        assert old not in self._ids()
        return {"refresh_to_draining_s": drained_at - begun, "refresh_s": done_s}

    def _timed(self, holds: Callable[[], Any], since: float | None = None) -> float:
        since = time.monotonic() if since is None else since
        eventually(holds)
        return time.monotonic() - since

    def _make_role(self) -> None:
        iam = self._cloud.client("iam")
        iam.create_role(RoleName="host", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
        iam.create_instance_profile(InstanceProfileName="host")
        iam.add_role_to_instance_profile(InstanceProfileName="host", RoleName="host")
        self._cloud.client("ssm").put_parameter(Name=_PARAMETER, Type="SecureString", Value=_PASSWORD)

    def _template(self, version: str) -> dict[str, Any]:
        text = _USER_DATA.substitute(
            parameter=_PARAMETER,
            version=version,
            port=_PORT,
            hook=_HOOK,
            group=_GROUP,
        )
        return {
            "ImageId": self._cloud.ami,
            "InstanceType": "c6g.medium",
            "KeyName": "tests",
            "SecurityGroupIds": [self._cloud.group_id],
            "IamInstanceProfile": {"Name": "host"},
            "MetadataOptions": {"HttpTokens": "required"},
            "UserData": base64.b64encode(text.encode()).decode(),
        }

    def _make_group(self) -> None:
        assert self._cloud.key_file
        self._cloud.ec2.create_launch_template(
            LaunchTemplateName=_GROUP, LaunchTemplateData=self._template(version="1")
        )
        hook = {"LifecycleHookName": _HOOK, "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        self._scaling.create_auto_scaling_group(
            AutoScalingGroupName=_GROUP,
            LaunchTemplate={"LaunchTemplateName": _GROUP, "Version": "$Latest"},
            MinSize=1,
            MaxSize=1,
            VPCZoneIdentifier=self._cloud.subnet_id,
            TargetGroupARNs=[self._targets],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=60,
            LifecycleHookSpecificationList=[{**hook, "HeartbeatTimeout": 300}],
        )

    def _instances(self) -> list[dict[str, Any]]:
        (group,) = self._scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        found: list[dict[str, Any]] = group["Instances"]
        return found

    def _ids(self) -> list[str]:
        return [each["InstanceId"] for each in self._instances()]

    def _states(self) -> list[str]:
        return [each["LifecycleState"] for each in self._instances()]

    def _health(self) -> dict[str, str]:
        told = self._elbv2.describe_target_health(TargetGroupArn=self._targets)["TargetHealthDescriptions"]
        return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in told}

    def _refresh(self) -> str:
        told = self._scaling.describe_instance_refreshes(AutoScalingGroupName=_GROUP)["InstanceRefreshes"]
        return str(told[0]["Status"])

    def _kill(self, instance_id: str) -> None:
        for kind, identity in Ledger(Sandbox.named(_NAME).ledger_file).entries():
            if kind == "machine" and identity.startswith(f"{instance_id} "):
                os.kill(int(identity.split()[1]), signal.SIGKILL)

    def _session(self) -> socket.socket:
        """Connect through the balancer and read the first line that the server sends. Return the connection."""
        session = socket.create_connection((self._address, _PORT), 10)
        session.settimeout(60)
        assert session.recv(1000).endswith(b"\n")
        return session

    def _said(self) -> dict[str, str]:
        with socket.create_connection((self._address, _PORT), 10) as session:
            said: dict[str, str] = json.loads(session.makefile("rb").readline())
            return said

    def _said_or_nothing(self) -> dict[str, str] | None:
        try:
            return self._said()
        except (OSError, ValueError):
            return None
