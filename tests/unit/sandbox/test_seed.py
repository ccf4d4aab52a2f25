import json
from ipaddress import IPv4Address
from pathlib import Path

from embedded_ec2.seed import Identity, plant, render_meta_data


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


def test_only_root_may_read_the_seed(tmp_path: Path) -> None:
    plant(tmp_path, identity())
    assert (tmp_path / "var/lib/cloud/seed/nocloud").stat().st_mode & 0o077 == 0
