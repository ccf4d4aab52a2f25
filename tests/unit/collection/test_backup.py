"""The shell commands of backup and restore.

The tests run them on a directory tree in which the state is on another disk and is reached through links.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

TASKS = Path(__file__).parents[3] / "roles/trading_engine/tasks"


def tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every task of a list of tasks. The tasks within blocks are included."""
    for task in node:
        yield task
        for key in ("block", "rescue", "always"):
            yield from tasks(task.get(key, []))


def task(file: str, name: str) -> dict[str, Any]:
    everything = yaml.safe_load((TASKS / file).read_text(encoding="utf-8"))
    (found,) = [one for one in tasks(everything) if one["name"] == name]
    return found


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a directory that serves as the root directory of a host.

    Three things in it are links to another disk: /var/lib/trading, the ITCH log, and the passwords.
    """
    root, disk = tmp_path / "root", tmp_path / "disk"
    for path in (root / "var/lib", root / "etc/trading", disk / "trading/journal", disk / "itch", disk / "secrets"):
        path.mkdir(parents=True)
    (root / "var/lib/trading").symlink_to(disk / "trading")
    (root / "etc/trading/secrets").symlink_to(disk / "secrets")
    (disk / "trading/itch").symlink_to(disk / "itch")
    for path in (disk / "trading/journal/1.journal", disk / "itch/1.itch", disk / "secrets/BENCH.password"):
        path.write_text("present")
    (disk / "trading/.replaced-1").mkdir()
    return root


def test_a_backup_holds_the_state_and_not_the_links_to_it(host: Path, tmp_path: Path) -> None:
    words = task("backup.yml", "Backup | Pack journal and passwords into one archive")["ansible.builtin.command"][
        "argv"
    ]
    archive = tmp_path / "archive.tar.gz"
    words = [f"--directory={host}" if word == "--directory=/" else word for word in words]
    words = [f"--file={archive}" if word.startswith("--file=") else word for word in words]
    subprocess.run(words, check=True)
    listed = subprocess.run(["tar", "--list", "--file", archive], capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.splitlines() if not name.endswith("/")]
    assert sorted(files) == [
        "etc/trading/secrets/BENCH.password",
        "var/lib/trading/itch/1.itch",
        "var/lib/trading/journal/1.journal",
    ]


def test_the_shipper_sees_no_half_restored_journal_and_begins_a_new_series() -> None:
    names = [one["name"] for one in tasks(yaml.safe_load((TASKS / "restore.yml").read_text(encoding="utf-8")))]
    order = [
        "Stop the shipper of the journal",
        "Replace the present state by the restored one",
        "Have the shipper begin a new series",
        "Start the engine on the restored state",
        "Start the shipper on the restored state",
    ]
    assert [name for name in names if name.removeprefix("Restore | ") in order] == [f"Restore | {one}" for one in order]


def test_a_restore_replaces_what_is_behind_the_link(host: Path, tmp_path: Path) -> None:
    state = host / "var/lib/trading"
    (state / ".restored/var/lib/trading/journal").mkdir(parents=True)
    (state / ".restored/var/lib/trading/journal/1.journal").write_text("restored")
    (state / ".replaced-2").mkdir()
    replace = task("restore.yml", "Restore | Replace the present state by the restored one")
    command = NativeEnvironment().from_string(replace["ansible.builtin.command"]["argv"])
    for item in replace["loop"]:
        do = [word.replace("{{ __trading_engine_replaced }}", "/var/lib/trading/.replaced-2") for word in item["do"]]
        if "chown" not in do:  # this machine has no such users
            words = command.render(item={**item, "do": do})
            subprocess.run([word.replace("/var/lib/trading", str(state), 1) for word in words], check=True)
    assert (state / "journal/1.journal").read_text() == "restored"
    assert (state / ".replaced-2/journal/1.journal").read_text() == "present"
    assert (tmp_path / "disk/trading/journal/1.journal").read_text() == "restored"
