"""The options that the collection gives to ssh have the intended effect. ssh itself reports the effect."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.lowlatency.trading.plugins.filter.ssh import FilterModule
from jinja2 import Environment

ROOT = Path(__file__).parents[3]
ssh_options = FilterModule().filters()["ssh_options"]
INSTANCE = "i-0123456789abcdef0"


def understood(options: str) -> dict[str, list[str]]:
    """Return the settings that ssh derives from these options. The names are those that `ssh -G` prints."""
    argv = ["ssh", "-G", "-F", "/dev/null", *shlex.split(options), "203.0.113.1"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    settings: dict[str, list[str]] = {}
    for name, _, value in (line.partition(" ") for line in lines):
        settings.setdefault(name, []).append(value)
    return settings


def test_a_hosts_key_is_kept_under_its_id() -> None:
    settings = understood(ssh_options(INSTANCE))
    assert settings["hostkeyalias"] == [INSTANCE]
    assert settings["identitiesonly"] == ["no"]


def test_the_private_key_beside_the_public_one_is_the_only_one_offered(tmp_path: Path) -> None:
    folder = tmp_path / "100 % mine"
    folder.mkdir()
    for name in ("key", "key.pub"):
        (folder / name).touch()
    settings = understood(ssh_options(INSTANCE, str(folder / "key.pub")))
    assert settings["identityfile"] == [str(folder / "key").replace("%", "%%")]
    assert settings["identitiesonly"] == ["yes"]


def test_without_the_private_key_the_public_one_says_which_an_agent_shall_offer(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    public.touch()
    assert understood(ssh_options(INSTANCE, str(public)))["identityfile"] == [str(public)]


def test_what_is_no_instance_and_has_no_key_needs_no_options() -> None:
    assert ssh_options("") == ""


def test_a_host_of_another_key_is_left_to_sshs_own_choice(tmp_path: Path) -> None:
    public = tmp_path / "key.pub"
    public.write_text("ssh-ed25519 AAAA me@here\n", encoding="utf-8")
    digest = hashlib.sha256(b"ssh-ed25519 AAAA").hexdigest()[:12]
    for key_name, offered in ((f"trading-a-{digest}", True), ("trading-a-0123456789ab", False), ("mine", True)):
        assert ("IdentityFile" in ssh_options(INSTANCE, str(public), key_name)) is offered


def test_the_file_of_host_keys_is_below_the_home_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a home"
    monkeypatch.setenv("HOME", str(home))
    options = ssh_options(INSTANCE, known_hosts_file="~/.ssh/known_hosts")
    assert understood(options)["userknownhostsfile"] == [f"{home}/.ssh/known_hosts"]


@pytest.mark.parametrize(
    ("console", "trusted"),
    [
        ({"host_keys": {INSTANCE: ["ssh-ed25519 AAAA"]}}, "ask"),
        ({"host_keys": {"i-another": ["ssh-ed25519 AAAA"]}}, "accept-new"),
        ({}, "accept-new"),  # the console was not read
    ],
)
def test_of_a_host_whose_key_is_not_on_the_console_the_first_connection_alone_is_trusted(
    console: dict[str, object], trusted: str
) -> None:
    tasks = yaml.safe_load((ROOT / "roles/aws_instance/tasks/inventory.yml").read_text(encoding="utf-8"))
    environment = Environment(autoescape=False)  # noqa: S701  no page of the web
    environment.filters["lowlatency.trading.ssh_options"] = ssh_options
    options = environment.from_string(tasks[0]["vars"]["__aws_instance_ssh_options"]).render(
        item={"instance_id": INSTANCE},
        aws_instance_public_key_file="",
        aws_instance_known_hosts_file="",
        __aws_instance_console=console,
    )
    settings = understood(options)
    assert (settings["stricthostkeychecking"], settings["hostkeyalias"]) == ([trusted], [INSTANCE])
