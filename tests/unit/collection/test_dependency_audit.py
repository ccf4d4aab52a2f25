"""scripts/audit-dependencies reads the reports of pip-audit. The reports decide whether the script succeeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dependency_audit
import pytest

LOCK = Path("/a/requirements.lock")
VULNERABLE = {
    "name": "greeter",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1"], "description": "…"}],
}
SOUND = {"name": "reader", "version": "2.0", "vulns": []}
SKIPPED = {"name": "writer", "skip_reason": "not found"}


def answer(monkeypatch: pytest.MonkeyPatch, **reports: list[dict[str, Any]] | None) -> None:
    """Let each vulnerability service report these packages. A service with the value None does not answer."""

    def ask(_lock: Path, service: str) -> dict[str, Any] | None:
        report = reports.get(service)
        return None if report is None else {"dependencies": report}

    monkeypatch.setattr(dependency_audit, "ask", ask)


def test_what_is_known_is_named_with_its_repair_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, pypi=[VULNERABLE, SOUND, SKIPPED])
    assert dependency_audit.main([str(LOCK)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "greeter 1.0: PYSEC-1, CVE-1; repaired in 1.1",
        "not known: writer: not found",
        "2 packages, 1 of them with known vulnerabilities",
    ]


@pytest.mark.parametrize("first", [None, [SKIPPED]])
def test_another_service_is_asked_where_the_first_knows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: list[dict[str, Any]] | None
) -> None:
    answer(monkeypatch, pypi=first, osv=[SOUND])
    assert dependency_audit.main([str(LOCK)]) == 0
    assert capsys.readouterr().out == "1 packages, 0 of them with known vulnerabilities\n"


@pytest.mark.parametrize("said", [None, [SKIPPED]])
def test_when_nobody_answers_that_is_not_called_sound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: list[dict[str, Any]] | None
) -> None:
    answer(monkeypatch, pypi=said, osv=said)
    assert dependency_audit.main([str(LOCK)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"warning: no advisory service answered for {LOCK}",
        "0 packages, 0 of them with known vulnerabilities",
    ]


def test_a_lock_file_that_nobody_answers_for_is_named_beside_those_that_somebody_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limited = Path("/another/requirements.lock")
    monkeypatch.setattr(
        dependency_audit, "ask", lambda lock, _service: None if lock == limited else {"dependencies": [SOUND]}
    )
    assert dependency_audit.main([str(LOCK), str(limited)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"warning: no advisory service answered for {limited}",
        "1 packages, 0 of them with known vulnerabilities",
    ]


def test_every_lock_file_of_the_checkout_is_asked_about() -> None:
    names = {str(path.relative_to(dependency_audit.ROOT)) for path in dependency_audit.pinned()}
    assert {"requirements-dev.lock", "requirements.lock", "files/engine/requirements.lock"} <= names
    assert all((dependency_audit.ROOT / name).exists() for name in names)
