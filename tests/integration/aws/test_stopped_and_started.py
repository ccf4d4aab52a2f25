"""A host that was stopped gets another address when it starts.

The tests check that the host is found at the new address, and that its SSH host key is trusted there. The variable
`trading_hours` can stop hosts each night.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alarm_evaluation import Notice, Watch

from .conftest import ROOT, Account
from .inventory_of_account import instances

HOST = {"trading_environment": "stopped", "trading_vpc_cidr": "10.91.0.0/16", "trading_subnet_cidr": "10.91.1.0/24"}
# The key of a tag may contain characters that the metadata service does not accept.
TAGS = {"cost centre/desk": "fast ones"}
# Errors of IAM and EC2 in the seconds after a policy, a role or an instance profile was made. Reports:
# https://github.com/hashicorp/terraform-provider-aws/pull/6709, and in https://github.com/hashicorp/terraform the
# issues /issues/15341 and /issues/4306.
NOT_YET_HEARD_OF = (
    {"action": "AttachRolePolicy", "code": "NoSuchEntity", "message": "Policy does not exist or is not attachable."},
    {"action": "AddRoleToInstanceProfile", "code": "NoSuchEntity", "message": "The role cannot be found."},
    {
        "action": "RunInstances",
        "code": "InvalidParameterValue",
        "message": "Value (trading-stopped-host) for parameter iamInstanceProfile.name is invalid. "
        "Invalid IAM Instance Profile name",
    },
    {
        "action": "RunInstances",
        "code": "InvalidParameterValue",
        "message": "IAM Instance Profile 'trading-stopped-host' has no associated IAM Roles",
    },
)
# Botocore itself tries a call three times. Some of Amazon's modules do not try more often. These calls fail three
# times.
THROTTLED = tuple(
    {"action": action, "code": "Throttling", "message": "Rate exceeded", "times": 3}
    for action in ("CreateVpc", "CreateLogGroup", "CreateTopic", "PutMetricAlarm", "PutDashboard")
)
PUBLISHED = {"EngineUp": 1.0, "ClockOffset": 20.0, "MemoryUsed": 30.0, "DiskUsed": 10.0, "BackupAge": 20.0}
QUEUE = {"protocol": "sqs", "endpoint": "arn:aws:sqs:us-east-1:123456789012:by-test"}
MAIL = {"protocol": "email", "endpoint": "ops@example.com"}
PENDING = "Not told of alarms until the link in the mail of AWS is followed: ops@example.com"
PROBE = """
- name: Provision
  ansible.builtin.import_playbook: {provision}

- name: Say how the host is reached
  hosts: trading
  connection: local
  gather_facts: false
  tasks:
    - name: Write it down
      ansible.builtin.copy:
        content: "{{{{ {{'host': ansible_host, 'options': ansible_ssh_extra_args | default(''),
                      'python': hostvars[inventory_hostname].ansible_python_interpreter | default('')}} }}}}"
        dest: {reached}
        mode: "0600"
      vars:
        ansible_python_interpreter: "{{{{ ansible_playbook_python }}}}"
"""


@pytest.fixture(scope="module")
def provision(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict[str, Any]]]:
    """Yield a function that provisions the host. At the end, destroy the environment.

    The function returns the data by which later plays reach the host, and what the run printed.
    """
    folder: Path = tmp_path_factory.mktemp("stopped")
    reached, playbook = folder / "reached.json", folder / "probe.yml"
    (folder / "collections").symlink_to(ROOT / "collections")
    playbook.write_text(textwrap.dedent(PROBE).format(provision=ROOT / "playbooks/provision.yml", reached=reached))

    def run(**more: Any) -> dict[str, Any]:
        given = {"trading_alarm_subscriptions": [MAIL], **more}
        done = account.play(str(playbook), "-e", json.dumps(given), **HOST)
        assert done.code == 0, done.output
        return {**json.loads(reached.read_text()), "output": done.output}

    yield run
    done = account.play("destroy.yml", **HOST, trading_destroy_confirm="stopped", trading_destroy_data="true")
    assert done.code == 0, done.output


def alarms(account: Account) -> list[dict[str, Any]]:
    """Return the host's alarms in the form of the answer of DescribeAlarms."""
    kinds = {"AlarmNamePrefix": "trading-stopped/", "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
    answer = account.client("cloudwatch").describe_alarms(**kinds)
    return [*answer["MetricAlarms"], *answer["CompositeAlarms"]]


def notices(made: list[dict[str, Any]], *data: dict[str, float]) -> list[Notice]:
    """Return the notices of alarms that turn on within an hour.

    `data` has the metrics of each minute. The last entry applies to all later minutes.
    """
    watch = Watch(made)
    for minute in range(60):
        watch.pass_minute(data[min(minute, len(data) - 1)])
    return [notice for notice in watch.notices if notice.state == "ALARM"]


def tagged_resources(account: Account) -> dict[str, int]:
    """Return how many resources of each kind have the tag that the user has asked for."""
    kinds = {"Vpcs": "describe_vpcs", "Subnets": "describe_subnets", "SecurityGroups": "describe_security_groups"}
    wanted = [{"Name": f"tag:{key}", "Values": [value]} for key, value in TAGS.items()]
    return {kind: len(getattr(account.client("ec2"), call)(Filters=wanted)[kind]) for kind, call in kinds.items()}


def subscribers(account: Account) -> set[str]:
    """Return the endpoints that get the notices of the alarms of the environment `stopped`."""
    topics = [one["TopicArn"] for one in account.client("sns").list_topics()["Topics"]]
    (topic,) = [arn for arn in topics if arn.endswith(":trading-stopped-alarms")]
    return {
        one["Endpoint"] for one in account.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    }


def test_a_stopped_host_is_started_and_reached_at_its_new_address(
    account: Account, provision: Callable[..., dict[str, Any]]
) -> None:
    account.order_faults(*NOT_YET_HEARD_OF, *THROTTLED)
    first = provision(trading_tags=TAGS, trading_alarm_subscriptions=[MAIL, QUEUE])
    account.order_faults()
    assert tagged_resources(account) == {"Vpcs": 1, "Subnets": 1, "SecurityGroups": 2}
    assert subscribers(account) == {MAIL["endpoint"], QUEUE["endpoint"]}
    assert (account.folder / "ssh").stat().st_mode & 0o777 == 0o700  # where the host keys go
    (host,) = instances(account, "stopped")
    assert {tag["Key"]: tag["Value"] for tag in host["Tags"]}.items() >= TAGS.items()
    assert first["host"] == host["PublicIpAddress"]

    assert PENDING in first["output"]
    # The emulator evaluates no alarms, so a model does. After one run the alarms are complete, without a second run.
    first_alarms = alarms(account)
    assert notices(first_alarms, {}) == [Notice(15, "silent", "ALARM")]
    assert notices(first_alarms, *[{}] * 9, PUBLISHED) == []
    (broken,) = notices(first_alarms, *[{}] * 9, *[PUBLISHED] * 5, {**PUBLISHED, "EngineUp": 0.0})
    assert broken.alarm == "promise"
    assert first["python"] == "/usr/bin/python3"

    ec2 = account.client("ec2")
    ec2.stop_instances(InstanceIds=[host["InstanceId"]])
    (stopped,) = instances(account, "stopped")
    assert "PublicIpAddress" not in stopped
    taken = ec2.allocate_address(Domain="vpc")
    assert taken["PublicIp"] == first["host"]

    second = provision()
    assert tagged_resources(account) == {"Vpcs": 0, "Subnets": 0, "SecurityGroups": 0}
    assert subscribers(account) == {MAIL["endpoint"]}
    (started,) = instances(account, "stopped")
    assert started["State"]["Name"] == "running"
    assert second["host"] == started["PublicIpAddress"] != first["host"]
    assert second["options"] == first["options"]
    assert f"HostKeyAlias={host['InstanceId']}" in first["options"]
    assert f'IdentityFile="{account.public_key_file.with_suffix("")}"' in first["options"]
    assert PENDING in second["output"]
    assert alarms(account) == first_alarms
    ec2.release_address(AllocationId=taken["AllocationId"])


def test_who_has_not_confirmed_is_named_by_the_diagnosis_until_it_is_done(
    account: Account, provision: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    if not instances(account, "stopped"):
        provision()
    inventory = tmp_path / "hosts"
    inventory.write_text("localhost\n[trading]\ntrading-stopped-1 instance_id=i-0123456789abcdef0\n")

    def diagnosis() -> str:
        run = account.play("diagnose.yml", "--limit", "localhost", inventory=str(inventory), **HOST)
        assert run.code == 0, run.output
        return run.output

    assert PENDING in diagnosis()
    sns = account.client("sns")
    (topic,) = [one["TopicArn"] for one in sns.list_topics()["Topics"] if "trading-stopped-" in one["TopicArn"]]
    sns.confirm_subscription(TopicArn=topic, Token="ops@example.com")
    assert "Told of alarms: ops@example.com" in diagnosis()


def test_another_architecture_is_refused_and_a_type_that_does_not_pass_is_taken_back(
    account: Account, provision: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """resize.yml refuses a type with another architecture. After a missed target, it restores the earlier type.

    The hosts here have no machines. Short playbooks replace the drain and the measurement, which misses its target on
    the larger type.
    """
    if not instances(account, "stopped"):
        provision()
    (before,) = instances(account, "stopped")
    mail = ("-e", json.dumps({"trading_alarm_subscriptions": [MAIL]}))
    foreign = account.play("resize.yml", *mail, **HOST, trading_instance_type="c5.4xlarge", trading_budget_usd="1000")
    assert foreign.code != 0
    assert "c5.4xlarge is x86_64, and trading-stopped-1 is not" in foreign.output
    assert instances(account, "stopped") == [before]

    (tmp_path / "collections").symlink_to(ROOT / "collections")
    nothing = {"name": "Drain", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": []}
    missed = {"name": "Miss", "ansible.builtin.fail": {"msg": "p99"}, "when": "trading_instance_type != 'c6g.medium'"}
    whole = {"name": "Provision", "ansible.builtin.import_playbook": str(ROOT / "playbooks/provision.yml")}
    (tmp_path / "drain.yml").write_text(json.dumps([nothing]))
    (tmp_path / "site.yml").write_text(json.dumps([whole, {**nothing, "name": "Measure", "tasks": [missed]}]))
    steps = {
        "__aws_instance_drain_playbook": str(tmp_path / "drain.yml"),
        "__aws_instance_site_playbook": str(tmp_path / "site.yml"),
        "aws_instance_logs_dir": str(tmp_path / "logs"),
    }
    run = account.play(
        "resize.yml", *mail, **HOST, trading_instance_type="c6g.large", trading_budget_usd="1000", **steps
    )
    assert run.code != 0
    assert "trading-stopped-1 becomes c6g.large (0.068 USD an hour)" in run.output, run.output
    said = " ".join(run.output.split())
    assert "c6g.large did not pass: Miss:" in said, run.output
    assert "p99. The hosts are c6g.medium again, and configured." in said, run.output
    (after,) = instances(account, "stopped")
    assert (after["InstanceId"], after["InstanceType"]) == (before["InstanceId"], "c6g.medium")
    assert after["State"]["Name"] == "running"
    (changed,) = (tmp_path / "logs").glob("*/2-change/log")
    assert "PLAY RECAP" in changed.read_text()


def test_a_host_that_is_known_by_its_id_is_trusted_at_another_address(account: Account, tmp_path: Path) -> None:
    known_hosts, playbook = tmp_path / "known_hosts", tmp_path / "ssh.yml"
    known_hosts.write_text(f"i-0123456789abcdef0 {account.public_key_file.read_text()}")
    (tmp_path / "collections").symlink_to(ROOT / "collections")
    host = {"instance_id": "i-0123456789abcdef0", "public_ip_address": "127.0.0.1", "tags": {"Name": "trading-a-1"}}
    given = {
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "aws_instance_hosts": [host],
        "aws_instance_resources": [{"kind": "instance", "name": "trading-a-1", "type": "c6g.medium"}],
        "aws_instance_ssh_wait_seconds": 1,  # nobody answers SSH here
    }
    role = {"name": "lowlatency.trading.aws_instance", "tasks_from": "ssh.yml"}
    tasks = [{"name": "Ssh", "ansible.builtin.import_role": role}]
    play = {"name": "Ssh", "hosts": "localhost", "connection": "local", "gather_facts": False}
    playbook.write_text(json.dumps([{**play, "vars": given, "tasks": tasks}]))
    run = account.play(str(playbook), trading_known_hosts_file=str(known_hosts), aws_instance_reachable="true")
    assert "trading-a-1 does not answer SSH at 127.0.0.1" in run.output
    # The host's key is known, so its console is not read. The console may no longer show the key.
    assert "skipping" in run.output[run.output.index("Read host keys from the console output") :].splitlines()[1]
