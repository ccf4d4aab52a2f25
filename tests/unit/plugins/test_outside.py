"""Modules can read the output of programs in every language and every encoding."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.outside import printable

from .conftest import RunModule


def test_a_programs_bytes_are_shown_whatever_they_are(run_module: RunModule) -> None:
    report = run_module("diagnosis", commands=[["printf", r"M\374ller \303\274"], ["printf", r"\377"]])
    assert "\nM\\xfcller ü\n" in report["text"]
    assert "\n\\xff" in report["text"]


def test_a_program_speaks_english_whatever_its_callers_language_is(
    monkeypatch: pytest.MonkeyPatch, run_module: RunModule
) -> None:
    for name in ("LANG", "LANGUAGE", "LC_ALL"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    report = run_module("diagnosis", commands=[["printenv", "LANG", "LANGUAGE", "LC_ALL"]])
    assert "\nC\nC\nC\n" in report["text"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\udcfcb", "a\\xfcb"),
        ("grün", "grün"),
        ({"et\udcfc": [1, None, ("\udcff",)]}, {"et\\xfc": [1, None, ["\\xff"]]}),
    ],
)
def test_only_bytes_that_are_no_utf8_are_written_out(value: Any, shown: Any) -> None:
    assert printable(value) == shown
