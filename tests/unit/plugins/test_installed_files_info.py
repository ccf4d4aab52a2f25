"""The module installed_files_info compares the owner, group and mode of files with the declared ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible_collections.lowlatency.trading.plugins.modules import installed_files_info as module

OWN = {"owner": module.owner_of(os.getuid()), "group": module.group_of(os.getgid())}


def compared(path: Path, **declared: Any) -> tuple[int, list[str]]:
    return module.observe([{"path": str(path), **OWN, **declared}])


def test_a_file_that_is_as_declared_is_not_named(tmp_path: Path) -> None:
    file = tmp_path / "a.password"
    file.touch(0o600)
    file.chmod(0o600)
    assert compared(tmp_path / "*.password", mode="0600") == (1, [])
    assert compared(tmp_path / "missing", mode="0600") == (0, [])


def test_each_difference_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.password"
    file.touch()
    file.chmod(0o644)
    assert compared(file, mode="0600") == (1, [f"{file} has the mode 0644 instead of 0600"])
    assert compared(file, most="0640") == (1, [f"{file} has the mode 0644, which is more than 0640"])
    assert compared(file, most="0755") == (1, [])
    assert compared(file, owner="no-such", mode="0644") == (
        1,
        [f"{file} has the owner {OWN['owner']} instead of no-such"],
    )


def test_a_directory_may_be_entered_by_whoever_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "2026"
    folder.mkdir()
    folder.chmod(0o750)
    assert compared(folder, most="0640") == (1, [])
    folder.chmod(0o751)
    assert compared(folder, most="0640") == (1, [f"{folder} has the mode 0751, which is more than 0750"])


def test_a_file_system_s_own_directory_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(0o700)
    assert compared(tmp_path / "*", owner="no-such") == (0, [])


def test_a_link_to_nothing_differs_in_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert compared(tmp_path / "link", mode="0600") == (0, [])
