"""The module diagnosis runs commands. When a command fails, the report says so, and the module succeeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_every_command_is_answered_whatever_came_before(run_module: Callable[..., dict[str, Any]]) -> None:
    report = run_module(
        "diagnosis", commands=[["echo", "two words"], ["false"], ["/nonexistent/program", "-x"], ["echo", "last"]]
    )
    assert not report["changed"]
    assert report["text"].splitlines() == [
        "$ echo 'two words'",
        "two words",
        "[exit code 0]",
        "",
        "$ false",
        "[exit code 1]",
        "",
        "$ /nonexistent/program -x",
        "[Errno 2] No such file or directory: b'/nonexistent/program'",
        "[exit code 2]",
        "",
        "$ echo last",
        "last",
        "[exit code 0]",
    ]
