"""The module secret_file writes a secret to a host.

It makes the secret once and then keeps it, or it writes the secret that the user gives. It refuses an invalid secret,
and never shows a secret.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunModule = Callable[..., dict[str, Any]]
GIVEN = "correct-horse-battery"


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        return run_module("secret_file", check, path=str(tmp_path / "secrets/token"), **options)

    return run


def test_one_is_made_that_only_its_owner_can_read_and_a_second_run_keeps_it(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "secrets/token"
    made = run()
    text = path.read_text()
    assert (made["changed"], made["generated"]) == (True, True)
    assert len(text.strip()) >= 32
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert text.strip() not in json.dumps(made)
    again = run()
    assert (again["changed"], again["generated"], path.read_text()) == (False, False, text)


def test_no_two_are_alike(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run()
    first = (tmp_path / "secrets/token").read_text()
    (tmp_path / "secrets/token").unlink()
    run()
    assert (tmp_path / "secrets/token").read_text() != first


def test_one_that_is_given_takes_the_place_of_the_one_before_and_stays_when_none_is_given(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    run()
    said = run(value=GIVEN)
    assert (said["changed"], said["generated"]) == (True, False)
    assert GIVEN not in json.dumps(said)
    assert not run(value=GIVEN)["changed"]
    assert not run()["changed"]
    assert (tmp_path / "secrets/token").read_text() == GIVEN + "\n"


def test_check_mode_makes_nothing(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    assert run(check=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_others_can_read_is_closed(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    run()
    path = tmp_path / "secrets/token"
    text = path.read_text()
    path.chmod(0o644)
    assert run()["changed"]
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, text)


@pytest.mark.parametrize(
    ("value", "said"),
    [("short-secret", "has 12 characters and needs 16"), (f"{GIVEN} {GIVEN}", "is not one word"), ("ü" * 20, "ASCII")],
)
def test_what_is_no_secret_is_refused_without_being_told(
    run: Callable[..., dict[str, Any]], tmp_path: Path, value: str, said: str
) -> None:
    answer = run(value=value)
    assert said in answer["msg"]
    assert value not in json.dumps(answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", "short\n"])
def test_a_file_that_holds_no_secret_is_named(run: Callable[..., dict[str, Any]], tmp_path: Path, text: str) -> None:
    run()
    (tmp_path / "secrets/token").write_text(text)
    answer = run()
    assert str(tmp_path / "secrets/token") in answer["msg"]
    assert "remove it" in answer["msg"]


def test_a_text_of_several_lines_is_taken_where_it_may_be_one(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert run(value="-----BEGIN\nkey\n-----END\n", minimum_characters=0)["changed"]
    assert (tmp_path / "secrets/token").read_text() == "-----BEGIN\nkey\n-----END\n"
    assert not run(value="-----BEGIN\nkey\n-----END", minimum_characters=0)["changed"]


def test_what_the_command_refuses_is_not_kept_and_its_words_are_told(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    refuse = ["sh", "-c", "grep -q horse $0 && exit; echo $0 is none >&2; exit 2", "%s"]
    assert run(value=GIVEN, validate=refuse)["changed"]
    for check in (True, False):
        answer = run(check, value="staple-staple-staple", validate=refuse)
        path = tmp_path / "secrets/token"
        assert answer["msg"] == f"the secret that was given for {path} is refused: {path} is none"
        assert path.read_text() == GIVEN + "\n"
