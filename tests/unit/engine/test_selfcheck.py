"""The self-check of a release. A host runs it before the release becomes active."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from trading_engine import __main__
from trading_engine.machine import inputs
from trading_engine.process import selfcheck
from trading_engine.storage.recovery import NOTHING, Tail

from tests.unit.engine import shipped


def test_the_shipped_journal_and_its_digests_are_those_of_these_sources(tmp_path: Path) -> None:
    """The journal in the engine's package is equal to the journal that the present sources make.

    The digests must be equal too. After an intended change, make both again: python -m tests.unit.engine.shipped
    """
    shipped.write(tmp_path)
    assert (tmp_path / shipped.SEGMENT).read_bytes() == (selfcheck.SHIPPED / shipped.SEGMENT).read_bytes()
    found = selfcheck.check()
    assert found["messages"] == json.loads(selfcheck.EXPECTED.read_text())["messages"] > 200
    assert found["open_orders"] > 0


def test_the_shipped_journal_has_a_record_of_every_kind() -> None:
    kinds = {record.kind for record in Tail(selfcheck.SHIPPED, NOTHING, None)}
    assert kinds == {value for name, value in vars(inputs).items() if name.isupper() and 0 < len(repr(value)) < 3}


def test_another_digest_is_one_line_and_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = json.loads(selfcheck.EXPECTED.read_text())
    expected["sha256"]["feed"] = "0" * 64
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    monkeypatch.setattr(selfcheck, "EXPECTED", tmp_path / "expected.json")
    assert __main__.main(["self-check"]) == __main__.EXIT_ERROR
    assert "the shipped journal's feed has another SHA-256 here" in capsys.readouterr().err


def test_a_module_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "_PACKAGES", ("trading_engine", "no_such_package"))
    with pytest.raises(selfcheck.SelfCheckError, match="cannot import no_such_package"):
        selfcheck.check()


def test_a_compiled_module_for_another_python_is_no_compiled_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "foreign"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "core.py").touch()
    (package / "core.cpython-39-nothing.so").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(selfcheck, "_PACKAGES", ("foreign",))
    with pytest.raises(selfcheck.SelfCheckError, match=r"core\.cpython-39-nothing\.so is not for this Python"):
        selfcheck.check()
