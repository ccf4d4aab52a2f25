"""The life of an instance, in the API and on its machine, from the first boot to the end.

The tests run in the order of the file. Each continues from the state that the previous test left.
"""

import json
from typing import Any

import boto3
import pytest

from .conftest import Cloud, eventually

pytestmark = pytest.mark.usefixtures("in_written_order")

USER_DATA = "#cloud-config\nwrite_files: [{path: /etc/from-user-data, content: it was read}]\n"


@pytest.fixture(scope="module")
def instance(cloud: Cloud) -> dict[str, Any]:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "host"}]}]
    launched = cloud.run(UserData=USER_DATA, TagSpecifications=tags)
    cloud.trust(launched["InstanceId"])
    return launched


def test_it_is_reached_under_both_addresses_with_the_keys_its_console_shows(
    cloud: Cloud, instance: dict[str, Any]
) -> None:
    names = [cloud.answer(instance[address], "hostname") for address in ("PrivateIpAddress", "PublicIpAddress")]
    assert names == ["ip-" + instance["PrivateIpAddress"].replace(".", "-")] * 2
    assert instance["PublicIpAddress"].startswith("203.0.113.")


def test_its_first_boot_was_cloud_inits(cloud: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    assert cloud.answer(address, "cloud-init status --wait").endswith("status: done")
    assert cloud.answer(address, "cat /etc/from-user-data; sudo id -u") == "it was read0"


def test_its_systemd_runs_without_a_failed_unit(cloud: Cloud, instance: dict[str, Any]) -> None:
    assert cloud.answer(instance["PrivateIpAddress"], "systemctl is-system-running --wait") == "running"


def test_nothing_else_takes_hold_of_the_console(cloud: Cloud, instance: dict[str, Any]) -> None:
    """No login prompt (getty) runs on the console.

    It would discard output that is not yet written, and sometimes the SSH host keys.
    """
    gettys = "console-getty.service serial-getty@ttyS0.service"
    answer = cloud.answer(instance["PrivateIpAddress"], f"systemctl is-enabled {gettys} || true")
    assert answer.split() == ["masked", "masked"]


def test_it_has_as_many_cpus_as_its_type(cloud: Cloud, instance: dict[str, Any]) -> None:
    assert cloud.answer(instance["PrivateIpAddress"], "nproc") == "1"


def test_the_metadata_service_knows_who_asks(cloud: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    url = "http://169.254.169.254/latest"
    assert cloud.answer(address, f"curl -s -o /dev/null -w %{{http_code}} {url}/meta-data/instance-id") == "401"
    token = f"$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {url}/api/token)"

    def ask(path: str) -> str:
        return cloud.answer(address, f'curl -sf -H "X-aws-ec2-metadata-token: {token}" {url}/{path}')

    assert ask("meta-data/instance-id") == instance["InstanceId"]
    assert ask("meta-data/tags/instance/Name") == "host"
    assert ask("meta-data/placement/region") == "us-east-1"
    assert json.loads(ask("dynamic/instance-identity/document"))["privateIp"] == address
    assert ask("user-data") == USER_DATA.strip()


def test_an_elastic_address_moves_to_it(cloud: Cloud, instance: dict[str, Any]) -> None:
    elastic = cloud.ec2.allocate_address(Domain="vpc")
    cloud.ec2.associate_address(InstanceId=instance["InstanceId"], AllocationId=elastic["AllocationId"])
    cloud.trust(instance["InstanceId"])
    assert cloud.describe(instance["InstanceId"])["PublicIpAddress"] == elastic["PublicIp"]
    assert cloud.answer(elastic["PublicIp"], "echo here") == "here"


def test_a_reboot_keeps_the_disk_and_starts_the_machine_again(cloud: Cloud, instance: dict[str, Any]) -> None:
    address = instance["PrivateIpAddress"]
    before = cloud.answer(address, "echo kept | sudo tee /var/kept >/dev/null; cat /proc/sys/kernel/random/boot_id")
    cloud.ec2.reboot_instances(InstanceIds=[instance["InstanceId"]])
    eventually(lambda: cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id").stdout.strip() not in ("", before))
    assert cloud.answer(address, "cat /var/kept; ls /var/lib/cloud/instances | wc -l").split() == ["kept", "1"]
    assert cloud.state(instance["InstanceId"]) == "running"


def test_a_machine_that_powers_itself_off_is_a_stopped_instance(cloud: Cloud, instance: dict[str, Any]) -> None:
    cloud.ssh(instance["PrivateIpAddress"], "sudo poweroff")
    eventually(lambda: cloud.state(instance["InstanceId"]) == "stopped")
    reason = cloud.describe(instance["InstanceId"])["StateReason"]["Code"]
    assert reason == "Client.InstanceInitiatedShutdown"
    cloud.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
    assert cloud.answer(instance["PrivateIpAddress"], "cat /var/kept") == "kept"


def test_a_machine_that_is_to_end_with_its_shutdown_is_terminated_by_it(cloud: Cloud) -> None:
    """An instance that was launched with this setting is terminated when its machine shuts down.

    Here the user data shuts the machine down. An instance removes itself in this way when no other program can.
    """
    ends = "#cloud-config\nruncmd: [[systemd-run, --on-active=1s, systemctl, poweroff]]\n"
    launched = cloud.run(UserData=ends, InstanceInitiatedShutdownBehavior="terminate")
    eventually(lambda: cloud.state(launched["InstanceId"]) == "terminated")
    assert cloud.describe(launched["InstanceId"])["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_stop_and_start_keep_the_disk(cloud: Cloud, instance: dict[str, Any]) -> None:
    cloud.ec2.stop_instances(InstanceIds=[instance["InstanceId"]])
    eventually(lambda: (row := cloud.row(instance["InstanceId"])) and row["machine"] == "none")
    assert cloud.ssh(instance["PrivateIpAddress"], "true").returncode == 255
    cloud.ec2.start_instances(InstanceIds=[instance["InstanceId"]])
    assert cloud.answer(instance["PrivateIpAddress"], "cat /var/kept") == "kept"


@pytest.fixture(scope="module")
def second(cloud: Cloud) -> dict[str, Any]:
    """Yield a second machine in the same sandbox. It has an IAM role."""
    iam = cloud.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="trader", AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName="trader")
    iam.add_role_to_instance_profile(InstanceProfileName="trader", RoleName="trader")
    launched = cloud.run(IamInstanceProfile={"Name": "trader"})
    cloud.trust(launched["InstanceId"])
    return launched


def test_a_second_machine_is_reached_from_the_first(
    cloud: Cloud, instance: dict[str, Any], second: dict[str, Any]
) -> None:
    command = f"timeout 5 bash -c 'exec 3<>/dev/tcp/{second['PrivateIpAddress']}/22 && head -c 4 <&3'"
    assert cloud.answer(instance["PrivateIpAddress"], command) == "SSH-"
    rows = {row["instance_id"]: row for row in cloud.status()}
    assert rows[second["InstanceId"]]["machine"] == "running"


def test_role_credentials_are_the_roles(cloud: Cloud, second: dict[str, Any]) -> None:
    url = "http://169.254.169.254/latest"
    token = f"$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {url}/api/token)"
    path = "meta-data/iam/security-credentials/trader"
    command = f'curl -sf -H "X-aws-ec2-metadata-token: {token}" {url}/{path}'
    credentials = json.loads(cloud.answer(second["PrivateIpAddress"], command))
    session = boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
        region_name="us-east-1",
    )
    caller = session.client("sts", endpoint_url=cloud.settings["AWS_ENDPOINT_URL"]).get_caller_identity()
    assert caller["Arn"].endswith(f":assumed-role/trader/{second['InstanceId']}")


def test_terminating_removes_the_machine_and_its_disk_and_no_other(
    cloud: Cloud, instance: dict[str, Any], second: dict[str, Any]
) -> None:
    cloud.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    eventually(lambda: cloud.row(instance["InstanceId"]) is None)
    assert cloud.answer(second["PrivateIpAddress"], "echo still up") == "still up"
    assert cloud.ssh(instance["PrivateIpAddress"], "true").returncode == 255
