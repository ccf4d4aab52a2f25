"""In check mode, the playbooks report what they would change on a host. This also works on a new host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


# No task may become root on the controller. A task that tries it gets an error.
GROUP_VARS = """\
ansible_become: true
ansible_become_exe: /nonexistent/sudo
"""


def play(tmp_path: Path, name: str, *arguments: str, succeeds: bool = True) -> str:
    """Run a playbook in check mode and return its output. This machine is its only host."""
    inventory = tmp_path / "inventory.ini"
    inventory.write_text(
        f"[trading]\nhost-1 ansible_connection=local ansible_become=false ansible_python_interpreter={sys.executable}\n"
    )
    (tmp_path / "group_vars").mkdir(exist_ok=True)
    (tmp_path / "group_vars/all.yml").write_text(GROUP_VARS)
    words = ["-i", str(inventory), "--check", "-e", f"trading_backup_dir={tmp_path}", *arguments]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "1",
    }
    program = [Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / name]
    done = subprocess.run(
        [*program, *words], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
    return done.stdout


def test_a_backup_says_where_the_archive_would_be(tmp_path: Path) -> None:
    assert f"fetched to {tmp_path}/host-1.tar.gz" in play(tmp_path, "backup.yml")
    assert not (tmp_path / "host-1.tar.gz").exists()


def test_a_restore_says_what_would_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "host-1.tar.gz").write_bytes(b"")
    said = play(tmp_path, "restore.yml", "-e", "trading_engine_restore_confirm=host-1")
    assert "would be stopped, and started on the state" in said


def test_a_restore_wants_the_group_suspended_that_would_replace_the_host(tmp_path: Path) -> None:
    (tmp_path / "host-1.tar.gz").write_bytes(b"")
    partition = {"name": "alpha", "symbols": ["TEST"], "hosts": ["host-1"]}
    symbols = [{"name": "TEST", "reference_price": "1.00"}]
    given = {"trading_fleet": True, "trading_partitions": [partition], "trading_engine_symbols": symbols}
    words = ["-e", json.dumps({**given, "trading_engine_restore_confirm": "host-1", "trading_environment": "fleet"})]
    said = " ".join(play(tmp_path, "restore.yml", *words, succeeds=False).split())
    assert "suspend-processes --auto-scaling-group-name trading-fleet/alpha" in said
    said = play(tmp_path, "restore.yml", *words, "-e", "trading_engine_group_suspended=true")
    assert "would be stopped, and started on the state" in said


def test_a_run_that_starts_late_does_not_take_a_tuned_host_for_one_without_a_layout(tmp_path: Path) -> None:
    late = "Units | Find state directories that are symbolic links"
    said = play(tmp_path, "configure.yml", "--start-at-task", late, succeeds=False)
    assert "the CPU layout is not known, because the tasks that work it out were skipped" in said
