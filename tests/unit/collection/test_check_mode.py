"""In check mode, the playbooks report what they would change on a host. This also works on a new host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]


# No task may become root on the controller. A task that tries it gets an error.
GROUP_VARS = """\
ansible_become: true
ansible_become_exe: /nonexistent/sudo
"""


def run(folder: Path, hosts: dict[str, dict[str, Any]], *arguments: str) -> str:
    """Run playbooks in check mode and return the output. The run must fail on at least one host.

    All hosts are this machine. `hosts` has their variables.
    """
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    trading = {"hosts": {name: local | variables for name, variables in hosts.items()}}
    (folder / "inventory.json").write_text(json.dumps({"trading": trading}))
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(GROUP_VARS)
    words = ["-i", "inventory.json", "--check", "-e", f"trading_backup_dir={folder}", *arguments]
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "1",
        "ANSIBLE_NOCOLOR": "1",
    }
    program = [str(Path(sys.executable).with_name("ansible-playbook")), *words]
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


def said(output: str, host: str) -> str:
    """Return what a run printed for this host, with spaces in place of line breaks."""
    result = rf"^(?:ok|failed|fatal): \[{host}\][^\n]*? => (\{{$.*?^\}}|[^\n]*$)"
    texts = re.findall(result, output, flags=re.MULTILINE | re.DOTALL)
    return " ".join("\n".join(texts).split())


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the playbooks backup and restore in one run. Return the folder with the archives, and the output.

    Auto Scaling groups launch two of the three hosts. One of these two groups is suspended.
    """
    folder = tmp_path_factory.mktemp("copied")
    symbols = [{"name": "TEST", "reference_price": "1.00"}]

    def member(name: str) -> dict[str, Any]:
        partition = {"name": "alpha", "symbols": ["TEST"], "hosts": [name]}
        fleet = {"trading_fleet": True, "trading_environment": "fleet", "trading_engine_symbols": symbols}
        return {**fleet, "trading_partitions": [partition]}

    hosts: dict[str, dict[str, Any]] = {
        "alone": {},
        "launched": member("launched"),
        "suspended": member("suspended") | {"trading_engine_group_suspended": True},
    }
    for name in hosts:
        (folder / f"{name}.tar.gz").touch()
    confirmed = {name: variables | {"trading_engine_restore_confirm": name} for name, variables in hosts.items()}
    playbooks = [str(ROOT / f"playbooks/{name}.yml") for name in ("backup", "restore")]
    return folder, run(folder, confirmed, *playbooks)


def test_a_backup_says_where_the_archive_would_be(copied: tuple[Path, str]) -> None:
    folder, output = copied
    for host in ("alone", "launched", "suspended"):
        assert f"fetched to {folder}/{host}.tar.gz" in said(output, host)
        assert (folder / f"{host}.tar.gz").read_bytes() == b""


def test_a_restore_says_what_would_be_replaced(copied: tuple[Path, str]) -> None:
    assert "would be stopped, and started on the state" in said(copied[1], "alone")


def test_a_restore_wants_the_group_suspended_that_would_replace_the_host(copied: tuple[Path, str]) -> None:
    refused = said(copied[1], "launched")
    assert "suspend-processes --auto-scaling-group-name trading-fleet/alpha" in refused
    assert "would be stopped" not in refused
    assert "would be stopped, and started on the state" in said(copied[1], "suspended")


def test_a_run_that_starts_late_does_not_take_a_tuned_host_for_one_without_a_layout(tmp_path: Path) -> None:
    late = "Units | Find state directories that are symbolic links"
    configure = yaml.safe_load((ROOT / "playbooks/configure.yml").read_text(encoding="utf-8"))[0]
    roles = configure["roles"][:3]
    assert [role["role"].rpartition(".")[2] for role in roles] == ["os_tuning", "hardening", "trading_engine"]
    play = {name: configure[name] for name in ("hosts", "become", "gather_facts", "gather_subset")}
    (tmp_path / "late.yml").write_text(yaml.safe_dump([{**play, "roles": roles[::2]}]), encoding="utf-8")
    output = run(tmp_path, {"host-1": {}}, "late.yml", "--start-at-task", late)
    assert "the CPU layout is not known, because the tasks that work it out were skipped" in said(output, "host-1")
