"""AWS's own linter has nothing to say about the template."""

from __future__ import annotations

from pathlib import Path

from cfnlint.api import lint_file  # type: ignore[import-untyped]


def test_the_template_is_valid() -> None:
    template = Path(__file__).parents[3] / "files/cloudformation/trading-host.yml"
    assert [f"line {match.linenumber}: {match.message}" for match in lint_file(template)] == []
