import json
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from embedded_ec2.seed import ENDPOINT_FILE, Identity, plant, render_meta_data


def identity(public_key: str | None = None, user_data: bytes = b"") -> Identity:
    return Identity("i-1", IPv4Address("10.0.1.4"), public_key, user_data)


def test_the_hostname_is_the_one_ec2_makes_of_the_address() -> None:
    assert json.loads(render_meta_data(identity()))["local-hostname"] == "ip-10-0-1-4"


def test_a_key_with_quotes_in_its_comment_arrives_unchanged() -> None:
    key = 'ssh-ed25519 AAAA it\'s "mine"'
    assert json.loads(render_meta_data(identity(key)))["public-keys"] == [key]


def test_an_instance_without_a_key_pair_has_no_keys() -> None:
    assert json.loads(render_meta_data(identity()))["public-keys"] == []


def test_user_data_is_planted_byte_by_byte(tmp_path: Path) -> None:
    compressed = b"\x1f\x8b\x08\x00\xff"
    plant(tmp_path, identity(user_data=compressed))
    assert (tmp_path / "var/lib/cloud/seed/nocloud/user-data").read_bytes() == compressed


def test_a_machine_of_a_group_is_told_where_the_api_is_and_no_other(tmp_path: Path) -> None:
    plant(tmp_path, identity())
    assert not (tmp_path / ENDPOINT_FILE).exists()
    plant(tmp_path, replace(identity(), endpoint="http://169.254.169.254:18001"))
    told = (tmp_path / ENDPOINT_FILE).read_text()
    assert told == "[Manager]\nDefaultEnvironment=AWS_ENDPOINT_URL=http://169.254.169.254:18001\n"


def test_only_root_may_read_the_seed(tmp_path: Path) -> None:
    plant(tmp_path, identity())
    assert (tmp_path / "var/lib/cloud/seed/nocloud").stat().st_mode & 0o077 == 0


def test_the_user_of_the_image_that_was_asked_for_is_made_beside_the_machines_own(tmp_path: Path) -> None:
    (tmp_path / "etc/cloud/cloud.cfg.d").mkdir(parents=True)
    plant(tmp_path, Identity("i-1", IPv4Address("10.0.1.4"), "ssh-ed25519 AAAA", b"", "ec2-user"))
    users = json.loads((tmp_path / "etc/cloud/cloud.cfg.d/90-login.cfg").read_text())["users"]
    assert users[0] == "default"
    assert (users[1]["name"], users[1]["ssh_authorized_keys"]) == ("ec2-user", ["ssh-ed25519 AAAA"])
