"""Creates faults on deployed hosts, one after the other. Each time the diagnosis must name the created fault first.

Faults of the host itself are in the Molecule scenario trading_engine
(extensions/molecule/trading_engine/vars/faults.yml). This proof runs the scenario with all of them. scripts/test runs
it with the first ones only. Faults of the AWS account and of the publisher are in this module. They are created on a
host that site.yml has deployed. The fault of delayed packets needs the kernel module netem, so its machine has a kernel
of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from tests.integration.sandbox.conftest import eventually
from tests.proofs.deployed import Host, deployed, read_json
from tests.proofs.evidence import ROOT, Evidence

if TYPE_CHECKING:
    from pathlib import Path

_FAULTS = ROOT / "extensions/molecule/trading_engine/vars/faults.yml"
_SOURCES = tuple(
    ROOT / name
    for name in ("plugins/module_utils/diagnosis", "plugins/filter", "roles/trading_engine", "roles/aws_network")
)
_PORT = 8000
_NOWHERE = "http://monitoring.us-east-9.amazonaws.com"
_ROLE = "trading-sandbox-host"

Fault = Callable[[Host], AbstractContextManager[None]]


@contextmanager
def closed_group(host: Host) -> Iterator[None]:
    """Remove the security group's rule for telemetry's page, until the context ends.

    The sandbox drops packets that no rule allows.
    """
    ec2, group = host.deployment.ec2(), host.group()
    rules = [rule for rule in group["IpPermissions"] if rule.get("FromPort") == rule.get("ToPort") == _PORT]
    ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)
    yield
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


@contextmanager
def denying_acl(host: Host) -> Iterator[None]:
    """Deny telemetry's port in the network ACL of the subnet, until the context ends.

    The sandbox stores ACLs, but does not apply them to its network. A firewall rule on the host drops the packets
    instead.
    """
    ec2 = host.deployment.ec2()
    of_vpc = [{"Name": "vpc-id", "Values": [host.group()["VpcId"]]}]
    acl = ec2.describe_network_acls(Filters=of_vpc)["NetworkAcls"][0]["NetworkAclId"]
    entry = {"NetworkAclId": acl, "RuleNumber": 50, "Egress": False}
    ec2.create_network_acl_entry(
        **entry, Protocol="6", RuleAction="deny", CidrBlock="0.0.0.0/0", PortRange={"From": _PORT, "To": _PORT}
    )
    host.run(
        "nft add table inet acl; nft 'add chain inet acl in { type filter hook prerouting priority raw; }'; "
        f"nft 'add rule inet acl in iifname != \"lo\" tcp dport {_PORT} drop'"
    )
    yield
    host.run("nft delete table inet acl")
    ec2.delete_network_acl_entry(**entry)


@contextmanager
def wrong_endpoint(host: Host) -> Iterator[None]:
    """Let the publisher use an AWS endpoint that does not exist, until the context ends."""
    host.publish_to(_NOWHERE)
    host.publisher_says("Could not connect to the endpoint")
    yield
    host.publish_to(host.endpoint)


@contextmanager
def revoked_role(host: Host) -> Iterator[None]:
    """Let the embedded AWS refuse the host's calls, until the context ends.

    The embedded AWS then checks permissions, and the host's role has no policy.
    """
    iam = host.client("iam")
    policies = [one["PolicyArn"] for one in iam.list_attached_role_policies(RoleName=_ROLE)["AttachedPolicies"]]
    assert policies, f"the role {_ROLE} has no policy that could be taken away"
    # In permissions, moto uses the service's name from signatures. The role's own policy has another name and does not
    # allow it.
    own_name = {"RoleName": _ROLE, "PolicyName": "by-the-name-of-moto"}
    iam.put_role_policy(**own_name, PolicyDocument=_allow("monitoring:PutMetricData"))
    with _permissions_asked(host):
        before = _samples(host)
        eventually(lambda: _samples(host) > before)  # with its policies the role is allowed
        asked = host.client("iam")
        for arn in policies:
            asked.detach_role_policy(RoleName=_ROLE, PolicyArn=arn)
        asked.delete_role_policy(**own_name)
        host.publisher_says("AccessDenied")
        yield
        for arn in policies:
            asked.attach_role_policy(RoleName=_ROLE, PolicyArn=arn)
    host.publish_to(host.endpoint)


def _allow(action: str) -> str:
    """Return a policy document that allows one action on all resources."""
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@contextmanager
def _permissions_asked(host: Host) -> Iterator[None]:
    """Let the embedded AWS check the permissions of all users, until the context ends.

    The controller then uses a new user who may do everything.
    """
    environment, iam = host.deployment.environment, host.client("iam")
    iam.create_user(UserName="controller")
    iam.put_user_policy(UserName="controller", PolicyName="everything", PolicyDocument=_allow("*"))
    key = iam.create_access_key(UserName="controller")["AccessKey"]
    before = {name: environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    environment |= {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    _ask_from(environment["AWS_ENDPOINT_URL"], b"0")
    try:
        yield
    finally:
        _ask_from(environment["AWS_ENDPOINT_URL"], b"inf")
        environment |= before


def _ask_from(api: str, request_number: bytes) -> None:
    """Let moto answer this number of further requests without a check. Afterwards it checks permissions."""
    head = {"Content-Type": "text/plain"}  # moto reads other types as a form
    request = urllib.request.Request(f"{api}/moto-api/reset-auth", data=request_number, headers=head)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.status == 200


def _samples(host: Host) -> int:
    """Return how many values of the host's metric EngineUp the embedded CloudWatch has from the last hour."""
    now = datetime.now(UTC)
    listed = host.client("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": "up",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "LowLatencyTrading",
                        "MetricName": "EngineUp",
                        "Dimensions": [{"Name": "InstanceId", "Value": host.instance}],
                    },
                    "Period": 60,
                    "Stat": "SampleCount",
                },
            }
        ],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
    )
    return int(sum(count for result in listed["MetricDataResults"] for count in result["Values"]))


_ON_ACCOUNT: tuple[tuple[str, str, str, Fault], ...] = (
    ("cannot connect", f"the security group does not let port {_PORT} in", "the group's rule taken away", closed_group),
    (
        "cannot connect",
        f"the subnet's network ACL refuses port {_PORT}",
        "the entry at the API; the sandbox has no network ACLs, a rule of nftables on the host drops for it",
        denying_acl,
    ),
    ("deployment failed", "the host does not reach the AWS endpoint", "the publisher's endpoint", wrong_endpoint),
    ("deployment failed", "AWS refuses the host's role", "policies taken from the role, calls refused", revoked_role),
)


def _on_account() -> Iterator[dict[str, str]]:
    """Create each fault of the AWS account and of the publisher.

    For each, yield the symptom, and the cause that the diagnosis names first.
    """
    with deployed("proof-diagnosis", 86) as host:
        host.play_to_the_end("site.yml", slo_verify="never")
        host.publish_to(host.endpoint)
        for symptom, cause, planted, fault in _ON_ACCOUNT:
            with fault(host):
                causes = _causes(host, symptom)
            first = causes[0]["name"] if causes else "nothing"
            print(f"diagnosis: {cause}: {json.dumps(causes, indent=1)}", file=sys.stderr, flush=True)
            assert first == cause, f"{cause}: named first was {first}"
            yield {"symptom": symptom, "named_first": first, "planted": planted}


def _causes(host: Host, symptom: str) -> list[dict[str, Any]]:
    folder = host.deployment.work / "diagnoses"
    play = host.play("playbooks/diagnose.yml", trading_engine_symptom=symptom, trading_engine_diagnosis_dir=str(folder))
    kept = folder / f"{host.name}-causes.json"
    assert kept.exists(), play.output[-6000:]
    causes: list[dict[str, Any]] = read_json(kept)
    return causes


def _of_a_host_alone() -> Iterator[dict[str, str]]:
    """Run the Molecule scenario, which fails when another cause is named first. Yield the faults that it created."""
    planted = yaml.safe_load(_FAULTS.read_text(encoding="utf-8"))["faults"]
    _tests("molecule", "trading_engine", TRADING_FAULTS="all")
    for one in planted:
        yield {"symptom": one["symptom"], "named_first": one["cause"], "planted": one.get("stands_in", "itself")}


def _on_own_kernel() -> Iterator[dict[str, str]]:
    _tests("own-kernel", "-k", "packets_that_netem_holds_back", TRADING_PROOF="1")
    yield {"symptom": "high latency", "named_first": "packets are held back on purpose", "planted": "netem"}


def _tests(part: str, *arguments: str, **environment: str) -> None:
    command = [str(ROOT / "scripts/test"), part, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, f"{part} failed: its output says where"


_STEPS = (_on_account, _of_a_host_alone, _on_own_kernel)


def prove(hosts: int) -> Path:
    """Diagnose all faults on this many hosts of each kind. Write the record and return its path.

    Raises AssertionError when the diagnosis names another cause first.
    """
    evidence = Evidence("diagnosis", hosts, _SOURCES)
    while evidence.done < hosts * len(_STEPS):
        evidence.add(list(_STEPS[evidence.done % len(_STEPS)]()))
    return evidence.finish({"hosts": hosts, "faults": [one for step in evidence.results for one in step]})
