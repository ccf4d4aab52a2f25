"""The list of people is checked before any Linux user is created. ssh-keygen makes the keys in these tests."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.people import FilterModule

people_problems = FilterModule().filters()["people_problems"]


def keygen(folder: Path, *options: str) -> str:
    """Make a pair of SSH keys in the folder, and return the public key."""
    path = folder / f"key{len(list(folder.iterdir()))}"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", path, "-C", "a b", *options], check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("keys")
    kinds = {
        "ed25519": ["-t", "ed25519"],
        "second": ["-t", "ed25519"],
        "rsa": ["-t", "rsa", "-b", "2048"],
        "weak": ["-t", "rsa", "-b", "1024"],
        "ecdsa": ["-t", "ecdsa", "-b", "384"],
    }
    keys = {name: keygen(folder, *options) for name, options in kinds.items()}
    return {**keys, "private": (folder / "key0").read_text()}


def person(*keys: object, **other: Any) -> dict[str, Any]:
    return {"name": "anna", "role": "observer", "keys": list(keys), **other}


def security_key(kind: bytes, *parts: bytes) -> str:
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, *parts))
    return f"{kind.decode()} {base64.b64encode(blob).decode()}"


def test_good_people_have_no_problem(made: dict[str, str]) -> None:
    stick = security_key(b"sk-ssh-ed25519@openssh.com", b"x" * 32, b"ssh:")
    other = security_key(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", b"y" * 65, b"ssh:")
    people = [person(made["ed25519"], made["rsa"], stick), person(made["ecdsa"], other, name="b_2-c", role="deployer")]
    assert people_problems(people) == []
    assert people_problems([]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda key: f"no-pty {key}", "options before it are not taken"),
        (lambda key: key.replace("ssh-ed25519", "ssh-dss"), "begins with no type of key"),
        (lambda key: key.replace("ssh-ed25519", "ssh-rsa"), "is damaged"),
        (lambda key: key[:60], "is damaged"),
        (lambda key: "ssh-ed25519", "is damaged"),
        (lambda key: "ssh-ed25519 !!!!", "is damaged"),
        (lambda key: key + key, "is not one line"),
        (lambda key: "", "is not one line"),
        (lambda key: 7, "is not one line"),
        (lambda key: security_key(b"ssh-ed25519", b"x" * 31), "31 bytes instead of 32"),
    ],
)
def test_a_malformed_key_is_named_by_its_place(made: dict[str, str], change: Any, said: str) -> None:
    (problem,) = people_problems([person(made["second"], change(made["ed25519"]))])
    assert problem.startswith("key 2 of anna ")
    assert said in problem


def test_a_private_key_is_refused_and_not_shown(made: dict[str, str]) -> None:
    (problem,) = people_problems([person(made["private"])])
    assert "is a private key" in problem
    assert made["private"].splitlines()[1] not in problem


def test_a_weak_key_is_refused(made: dict[str, str]) -> None:
    assert people_problems([person(made["weak"])]) == [
        "key 1 of anna has 1024 bits, fewer than 2048: make one of the type ssh-ed25519"
    ]


def test_a_key_of_two_people_is_named(made: dict[str, str]) -> None:
    again = made["ed25519"].split()[:2]  # the same key without its comment
    people = [person(made["ed25519"]), person(made["second"], " ".join(again), name="bert")]
    assert people_problems(people) == ["key 2 of bert is anna's as well: each key is one person's, given once"]
    assert people_problems([person(made["rsa"], made["rsa"])]) == [
        "key 2 of anna is there twice: each key is one person's, given once"
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"name": "root"}, "root is nobody's name"),
        ({"name": "trading-engine"}, "trading-engine is or may become the name of a service's user"),
        ({"name": "Anna"}, "Anna needs a name of 1 to 31 small letters"),
        ({"name": "a,b"}, "a,b needs a name"),
        ({"name": "a" * 32}, "needs a name of 1 to 31"),
        ({"name": None}, "person 1 needs a name"),
        ({"role": "boss"}, "anna has the role 'boss', which is none of observer, operator, deployer"),
        ({"shell": "/bin/sh"}, "anna has shell, which nobody knows"),
        ({"keys": []}, "anna needs a list of one or more keys"),
        ({"keys": "ssh-ed25519 AAAA"}, "anna needs a list of one or more keys"),
    ],
)
def test_other_bad_input_is_named(made: dict[str, str], other: dict[str, Any], said: str) -> None:
    (problem,) = people_problems([{**person(made["ed25519"]), **other}])
    assert said in problem


def test_one_person_is_there_once(made: dict[str, str]) -> None:
    assert people_problems([person(made["ed25519"]), person(made["second"])]) == ["anna is there twice"]


@pytest.mark.parametrize(("people", "said"), [("anna", "it is no list"), (["anna"], "person 1 is no dictionary")])
def test_what_is_no_list_of_people_is_said(people: object, said: str) -> None:
    (problem,) = people_problems(people)
    assert said in problem


def test_who_runs_the_play_is_not_ended_by_it(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    for check in (True, False):
        report = run_module("people_ended", check=check, names=["bert", "anna"], keys=str(tmp_path))
        assert report["failed"] is True
        assert report["msg"].startswith("anna is who runs this: have another deployer")
