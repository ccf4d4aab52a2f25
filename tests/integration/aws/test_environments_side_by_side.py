"""Two environments in one AWS account do not affect each other. One has no options, and the other has Spot instances.

Each test continues from the state that the previous test left. The first one creates both environments, and the last
one removes both.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.iam import documents

from . import provisioned, stack_template
from .conftest import ROOT, Account
from .inventory_of_account import contents, instances

pytestmark = pytest.mark.usefixtures("in_written_order")

PAIR_B = {
    "trading_environment": "pair-b",
    "trading_vpc_cidr": "10.80.0.0/16",
    "trading_subnet_cidr": "10.80.1.0/24",
    "trading_spot": "true",
    "aws_instance_placement": "cluster",
}


@pytest.fixture(scope="module")
def inventories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two copies of the example inventory, one for each environment.

    Each copy is changed as the comment in the example says.
    """
    folder = tmp_path_factory.mktemp("inventories")
    for environment in ("pair", "pair-b"):
        shutil.copytree(ROOT / "inventory" / "production", folder / environment)
        for file in (folder / environment).glob("**/*.yml"):
            file.write_text(file.read_text().replace("nvironment: production", f"nvironment: {environment}"))
    return folder


def read(account: Account, inventory: Path, **variables: str) -> dict[str, Any]:
    """Return what ansible-inventory --list prints for this inventory, as a dictionary."""
    extra = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(inventory), "--list", *extra],
        env=account.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    account.check_permissions(list(documents.BASE))
    # Ansible marks text from other sources, so that it is not used as a template. Remove this mark.
    found: dict[str, Any] = json.loads(listed.stdout, object_hook=lambda it: it.get("__ansible_unsafe", it))
    return found


def test_two_environments_stand_side_by_side(account: Account, empty: set[tuple[str, str]]) -> None:
    # The name of one environment begins with the name of the other. A search by prefix alone would find both.
    run = account.play("provision.yml", trading_environment="pair")
    assert run.code == 0, run.output
    assert run.ok <= 60
    assert 100 < run.calls <= 240
    run = account.play("provision.yml", **PAIR_B)
    assert run.code == 0, run.output
    (host,), (spot_host,) = instances(account, "pair"), instances(account, "pair-b")
    assert (host.get("InstanceLifecycle"), spot_host["InstanceLifecycle"]) == (None, "spot")
    assert spot_host["Placement"]["GroupName"] == "trading-pair-b"


def test_the_cloudformation_template_asks_for_the_same(account: Account) -> None:
    (host,) = instances(account, "pair")
    asked = stack_template.resources(
        Environment="pair",
        OperatorCidr="198.51.100.7/32",
        AvailabilityZone=host["Placement"]["AvailabilityZone"],
        ImageId=host["ImageId"],
    )
    made = provisioned.resources(account, "pair")
    # The stack has more resources. Some only connect two others. The key has another name. The last two are rules for
    # clients.
    ties = {"GatewayOfVpc", "RoutesOfSubnet", "Key", "OrdersFromClients", "OrdersFromGenerators"}
    assert set(asked) - set(made) == ties
    for name, properties in made.items():
        wanted = asked[name]
        if "Tags" in wanted:
            assert provisioned.tags(wanted) == provisioned.tags(properties), name
        # Before a stack exists, references to its resources have no value, so they are left out.
        values = {key: value for key, value in wanted.items() if key != "Tags" and not refers(value, asked)}
        if name == "Host":
            assert values.pop("MetadataOptions").items() <= properties["MetadataOptions"].items()
            (disk,) = properties["BlockDeviceMappings"]
            assert values.pop("BlockDeviceMappings") == [{"DeviceName": disk["DeviceName"], "Ebs": disk["Ebs"]}]
        assert values == {key: properties[key] for key in values}, name


def refers(value: Any, resources: dict[str, Any]) -> bool:
    """Return whether a property's value refers to a resource of the template.

    A list refers to a resource when its first value is a resource of the template.
    """
    return value in resources if isinstance(value, str) else isinstance(value, list) and value[0] in list(resources)


def test_the_inventory_shows_one_environment_by_its_kinds(account: Account, inventories: Path) -> None:
    for environment in ("pair", "pair-b"):
        found = read(account, inventories / environment)
        for group in ("trading", "az_us_east_1a", "arch_arm64", "type_c6g_medium"):
            assert found[group]["hosts"] == [f"trading-{environment}-1"]
        (seen,) = found["_meta"]["hostvars"].values()
        assert seen["trading_spot"] is (environment == "pair-b")
        assert seen["trading_journal_device"] == ""


def test_an_instance_without_a_role_is_in_no_group_and_no_error(account: Account, inventories: Path) -> None:
    ec2, (host,) = account.client("ec2"), instances(account, "pair-b")
    role = {"Resources": [host["InstanceId"]], "Tags": [{"Key": "Role", "Value": "trading"}]}
    ec2.delete_tags(**role)
    try:
        found = read(account, inventories / "pair-b")
    finally:
        ec2.create_tags(**role)
    assert list(found["_meta"]["hostvars"]) == ["trading-pair-b-1"]
    assert "hosts" not in found.get("trading", {})


@pytest.mark.parametrize(
    ("address", "key"), [("public", "PublicIpAddress"), ("private", "PrivateIpAddress"), ("ssm", "InstanceId")]
)
def test_one_variable_says_how_the_hosts_are_reached(
    account: Account, inventories: Path, address: str, key: str
) -> None:
    (host,) = instances(account, "pair")
    seen = "{{ [ansible_host, ansible_user, ansible_ssh_common_args] }}"
    extra = ["-e", f"trading_address={address}", "-e", "trading_distribution=debian12"]
    listed = subprocess.run(
        [
            "ansible",
            "-i",
            str(inventories / "pair"),
            "trading",
            "-m",
            "ansible.builtin.debug",
            "-a",
            f"msg={seen}",
            *extra,
        ],
        env={**account.environment, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_STDOUT_CALLBACK": "minimal"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    reached, user, arguments = json.loads(listed.stdout[listed.stdout.index("{") :])["msg"]
    assert (reached, user) == (host[key], "admin")
    assert ("aws ssm start-session --region us-east-1 --target %h" in arguments) is (address == "ssm")


def test_the_inventory_of_another_environment_is_refused(account: Account, inventories: Path) -> None:
    before = contents(account)
    run = account.play("provision.yml", inventory=str(inventories / "pair-b"), trading_environment="pair")
    assert run.code != 0
    for words in ("The inventory shows hosts of another environment", "These are others: trading-pair-b-1"):
        assert words in " ".join(run.output.split())
    assert contents(account) == before


def test_one_goes_without_the_other(account: Account, empty: set[tuple[str, str]]) -> None:
    both = contents(account)
    run = account.play(
        "destroy.yml", trading_environment="pair", trading_destroy_confirm="pair", trading_destroy_data="true"
    )
    assert run.code == 0, run.output
    assert len(instances(account, "pair")) == 0
    assert len(instances(account, "pair-b")) == 1

    again = account.play("provision.yml", **PAIR_B)
    assert again.changed == 0, again.output
    assert 50 < again.calls <= 170
    assert contents(account) < both

    # Without trading_destroy_data, a last snapshot is made. AWS cannot stop these Spot instances, so it is made while
    # they run.
    run = account.play("destroy.yml", **PAIR_B, trading_destroy_confirm="pair-b")
    assert run.code == 0, run.output
    assert {kind for kind, _ in contents(account) - empty} == {"snapshot", "log group", "bucket"}
    remove(account, contents(account) - empty)
    assert contents(account) == empty


def remove(account: Account, kept: set[tuple[str, str]]) -> None:
    """Delete the resources that destroy.yml has kept.

    test_life_of_an_environment tests how destroy.yml itself deletes them.
    """
    for kind, name in kept:
        if kind == "snapshot":
            account.client("ec2").delete_snapshot(SnapshotId=name)
        elif kind == "log group":
            account.client("logs").delete_log_group(logGroupName=name)
        else:
            account.client("s3").delete_bucket(Bucket=name)
