"""Playbooks for hosts say in check mode what they would do, on a host that has nothing yet as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def play(tmp_path: Path, name: str, *arguments: str) -> str:
    """Run a playbook in check mode with this machine for its host, and return what it said; it ends with success."""
    inventory = tmp_path / "inventory.ini"
    inventory.write_text(
        f"[trading]\nhost-1 ansible_connection=local ansible_become=false ansible_python_interpreter={sys.executable}\n"
    )
    words = ["-i", str(inventory), "--check", "-e", f"trading_backup_dir={tmp_path}", *arguments]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_FORCE_COLOR": "0"}
    program = [Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / name]
    done = subprocess.run(
        [*program, *words], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_backup_says_where_the_archive_would_be(tmp_path: Path) -> None:
    assert f"fetched to {tmp_path}/host-1.tar.gz" in play(tmp_path, "backup.yml")
    assert not (tmp_path / "host-1.tar.gz").exists()


def test_a_restore_says_what_would_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "host-1.tar.gz").write_bytes(b"")
    said = play(tmp_path, "restore.yml", "-e", "trading_engine_restore_confirm=host-1")
    assert "would be stopped, and started on the state" in said
