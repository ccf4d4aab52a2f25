"""Run a module as Ansible does: arguments in, one JSON object out."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

RunModule = Callable[..., dict[str, Any]]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunModule:
    """Return a function that runs a module of this collection in this process and returns what it reported.

    A module that fails reports `failed: true`; `check=True` runs it in check mode.
    """

    # Ansible takes a process for a controller once a filter's test imported one; a module reports its warnings itself.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)

    def run(name: str, /, check: bool = False, **arguments: object) -> dict[str, Any]:
        module = importlib.import_module(f"ansible_collections.lowlatency.trading.plugins.modules.{name}")
        capsys.readouterr()
        # Ansible keeps the warnings of a process, which for a module is one run.
        monkeypatch.setattr("ansible.module_utils.common.warnings._global_warnings", {})
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            module.main()
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        json.dumps(report, ensure_ascii=False).encode()  # Ansible takes no result with half of a character in it
        return report

    return run
