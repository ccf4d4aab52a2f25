import os
import sys
from pathlib import Path

import pytest
from embedded_ec2.errors import SandboxError
from embedded_ec2.preflight import require_machines_possible


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"systemd-nspawn.*apt-get install .*systemd-container"):
        require_machines_possible(qemu=False)


def test_without_root_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match=r"need root.*--no-machines"):
        require_machines_possible(qemu=False)


def test_another_system_than_linux_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match=r"need Linux, and this is darwin"):
        require_machines_possible(qemu=False)
