"""The module engine_accounts makes the passwords of the engine's accounts on a host.

It makes each password only once. Other users of the host cannot read the password. The engine's own check accepts the
password.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trading_engine.settings import passwords

RunModule = Callable[..., dict[str, Any]]

OF_ENGINE = [sys.executable, "-m", "trading_engine", "hash-password"]
# Makes a hash that costs little, without the imports of an engine. Most tests need no more.
CHEAP = """
import sys
from trading_engine.settings import passwords
passwords._COST = 2
print(passwords.hash_password(sys.stdin.readline().rstrip()))
"""
HASH_COMMAND = [sys.executable, "-S", "-c", CHEAP]
BENCH = {"name": "BENCH", "test": True, "tokens": "increasing"}


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    source = Path(__file__).parents[3] / "files/engine/src"
    monkeypatch.setenv("PYTHONPATH", str(source))

    def run(*accounts: dict[str, Any], check: bool = False, **more: Any) -> dict[str, Any]:
        return run_module(
            "engine_accounts",
            check,
            path=str(tmp_path / "accounts.toml"),
            secrets=str(tmp_path / "secrets"),
            accounts=list(accounts),
            hash_command=HASH_COMMAND,
            mode="0640",
            **more,
        )

    return run


@pytest.fixture
def of_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the hashes of passwords with the engine's own command in this test."""
    monkeypatch.setattr(sys.modules[__name__], "HASH_COMMAND", OF_ENGINE)


def account(tmp_path: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((tmp_path / "accounts.toml").read_text())["accounts"][name]
    return found


@pytest.mark.usefixtures("of_engine")
def test_an_account_gets_a_password_that_the_engine_accepts(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    report = run(BENCH)
    password_file = tmp_path / "secrets/BENCH.password"
    password = password_file.read_text().strip()
    assert report["generated"] == ["BENCH"]
    assert len(password) == 10
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert passwords.verify(password, account(tmp_path, "BENCH")["password"])
    assert account(tmp_path, "BENCH")["test"] is True


def test_nothing_secret_is_reported(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    report = json.dumps(run(BENCH))
    assert (tmp_path / "secrets/BENCH.password").read_text().strip() not in report
    assert account(tmp_path, "BENCH")["password"] not in report


def test_a_second_run_changes_nothing(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(BENCH)
    before = (tmp_path / "accounts.toml").read_bytes()
    assert not run(BENCH)["changed"]
    assert not run(BENCH, check=True)["changed"]
    assert (tmp_path / "accounts.toml").read_bytes() == before


def test_a_password_that_is_given_takes_the_place_of_the_one_before_once(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run(BENCH)
    given = {"BENCH": "pl4nted!"}
    assert run(BENCH, check=True, passwords=given)["changed"]
    said = run(BENCH, passwords=given)
    assert (said["changed"], said["generated"]) == (True, [])
    assert given["BENCH"] not in json.dumps(said)
    assert (tmp_path / "secrets/BENCH.password").read_text() == given["BENCH"] + "\n"
    assert passwords.verify(given["BENCH"], account(tmp_path, "BENCH")["password"])
    assert not run(BENCH, passwords=given)["changed"]
    assert not run(BENCH)["changed"]


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [("ACME", "pl4nted!", "none of the accounts BENCH"), ("BENCH", "pl4ntedlong", "for BENCH"), ("BENCH", "", "none")],
)
def test_a_password_that_cannot_be_one_is_refused_without_being_told(
    run: Callable[..., dict[str, Any]], tmp_path: Path, name: str, password: str, said: str
) -> None:
    answer = run(BENCH, passwords={name: password})
    assert said in answer["msg"]
    assert not password or password not in json.dumps(answer)
    assert list(tmp_path.iterdir()) == []


def test_check_mode_makes_nothing(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    assert run(BENCH, check=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def test_a_further_account_leaves_the_first_one_s_password(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(BENCH)
    before = account(tmp_path, "BENCH")
    assert run(BENCH, {"name": "ACME"})["generated"] == ["ACME"]
    assert account(tmp_path, "BENCH") == before


def test_a_password_set_by_hand_is_taken(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(BENCH)
    (tmp_path / "secrets/BENCH.password").write_text("by-hand\n")
    os.utime(tmp_path / "secrets/BENCH.password", (0, 0))  # a file that is moved there keeps its time
    assert run(BENCH, check=True)["changed"]
    assert run(BENCH)["changed"]
    assert passwords.verify("by-hand", account(tmp_path, "BENCH")["password"])


def test_a_password_touched_keeps_its_hash(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(BENCH)
    before = account(tmp_path, "BENCH")
    (tmp_path / "secrets/BENCH.password").touch()
    assert not run(BENCH)["changed"]
    assert account(tmp_path, "BENCH") == before


def test_a_hash_that_was_restored_without_its_password_stays(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run(BENCH)
    (tmp_path / "secrets/ANNA.hash").write_text("scrypt$of$anna\n")
    assert run(BENCH, {"name": "ANNA"})["generated"] == []
    assert account(tmp_path, "ANNA")["password"] == "scrypt$of$anna"
    assert not (tmp_path / "secrets/ANNA.password").exists()
    assert run(BENCH, {"name": "ANNA"})["changed"] is False
    run(BENCH, {"name": "ANNA"}, passwords={"ANNA": "given"})
    assert passwords.verify("given", account(tmp_path, "ANNA")["password"])


def test_secrets_that_others_could_list_are_closed_again(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run(BENCH)
    (tmp_path / "secrets").chmod(0o755)
    assert run(BENCH, check=True)["changed"]
    assert run(BENCH)["changed"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert not run(BENCH)["changed"]


@pytest.mark.usefixtures("of_engine")
def test_a_password_the_engine_cannot_use_is_named_by_its_file(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run(BENCH)
    before = (tmp_path / "accounts.toml").read_bytes()
    (tmp_path / "secrets/BENCH.password").write_text("much longer than ten\n")
    report = run(BENCH)
    assert report["failed"]
    assert "BENCH.password" in report["msg"]
    assert "much longer" not in json.dumps(report)
    assert (tmp_path / "accounts.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["", "TOOLONG", "a b", "a/b"])
def test_names_that_the_protocol_cannot_carry_are_refused(run: Callable[..., dict[str, Any]], name: str) -> None:
    assert "1 to 6 letters or digits" in run({"name": name})["msg"]


def test_an_account_named_twice_is_refused(run: Callable[..., dict[str, Any]]) -> None:
    assert run(BENCH, BENCH)["msg"] == "account BENCH is there twice"


@pytest.mark.usefixtures("of_engine")
def test_a_password_that_somebody_wrote_in_another_encoding_is_told_of_in_one_line(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run(BENCH)
    password_file = tmp_path / "secrets/BENCH.password"
    password_file.write_bytes(b"gr\xfcn\n")
    report = run(BENCH)
    assert report["failed"] is True
    assert str(password_file) in report["msg"]
    assert "ASCII characters" in report["msg"]


# The engine's command on a machine in FIPS mode, where Python has no scrypt.
WITHOUT_SCRYPT = """
import hashlib
del hashlib.scrypt
from trading_engine.__main__ import main
raise SystemExit(main(["hash-password"]))
"""


def test_a_machine_that_lost_scrypt_is_told_by_the_engines_line(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(BENCH)
    monkeypatch.delattr("hashlib.scrypt")
    monkeypatch.setattr(sys.modules[__name__], "HASH_COMMAND", [sys.executable, "-c", WITHOUT_SCRYPT])
    assert "has no scrypt" in run(BENCH)["msg"]
