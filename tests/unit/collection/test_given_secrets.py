"""A secret that cannot be read ends a run before the run changes anything. No run prints a secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tls import made

ROOT = Path(__file__).parents[3]
PLANTED = "planted-token-of-the-test"
PLAYBOOKS = ("site.yml", "configure.yml")
ROLES = ("lowlatency.trading.trading_engine : ", "lowlatency.trading.telemetry : ")


def run(
    folder: Path, playbook: str, *arguments: str, hosts: tuple[str, ...] = ("host-1",)
) -> subprocess.CompletedProcess[str]:
    """Run a playbook in check mode and return the finished process. All these hosts are this machine."""
    inventory = folder / "inventory.ini"
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    inventory.write_text("\n".join(["[trading]", *(f"{host} {local}" for host in hosts), ""]), encoding="utf-8")
    words = ["ansible-playbook", "-i", str(inventory), "--check", *arguments, str(ROOT / "playbooks" / playbook)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder)


def assert_first(output: str) -> None:
    """Check that the run changed nothing. It may only have collected facts and checked secrets."""
    tasks = [line.partition("[")[2] for line in output.splitlines() if line.startswith("TASK [")]
    others = [task for task in tasks if not task.startswith("Gathering Facts")]
    assert others
    checks = [task for task in others if task.startswith(ROLES) and re.search("ecrets|Tls material", task)]
    assert others == checks
    assert "changed=0" in output.partition("PLAY RECAP")[2]


def encrypted(folder: Path, name: str) -> Path:
    """Write a file group_vars/all.yml with one encrypted variable, and return its path.

    The file with the password is deleted, so the variable cannot be decrypted.
    """
    password = folder / "password"
    password.write_text("of the vault", encoding="utf-8")
    command = ["ansible-vault", "encrypt_string", "--vault-password-file", str(password), "--stdin-name", name]
    done = subprocess.run(command, input=PLANTED, capture_output=True, text=True, check=True)
    password.unlink()
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text(done.stdout, encoding="utf-8")
    return folder / "group_vars/all.yml"


@pytest.mark.parametrize("playbook", PLAYBOOKS)
@pytest.mark.parametrize("name", ["telemetry_token", "trading_telemetry_certificate"])
def test_a_missing_vault_password_is_told_before_anything_else_happens(
    tmp_path: Path, playbook: str, name: str
) -> None:
    encrypted(tmp_path, name)
    done = run(tmp_path, playbook)
    assert done.returncode != 0
    assert "no vault secrets found" in done.stdout + done.stderr
    assert_first(done.stdout)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_a_file_that_is_not_there_is_told_as_early(tmp_path: Path, playbook: str) -> None:
    given = {"trading_engine_passwords": {"BENCH": "{{ lookup('ansible.builtin.file', '/no/such/file') }}"}}
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(json.dumps(given), encoding="utf-8")
    done = run(tmp_path, playbook)
    assert done.returncode != 0
    assert "/no/such/file" in done.stdout + done.stderr
    assert_first(done.stdout)


def test_a_certificate_of_telemetry_that_cannot_be_used_is_told_as_early(tmp_path: Path) -> None:
    pair = made("ended", days=-1)
    given = {"expired": pair.certificate_pem + pair.key_pem, "named": "/etc/ssl/telemetry.pem"}
    (tmp_path / "host_vars").mkdir()
    for host, certificate in given.items():
        variables = json.dumps({"trading_telemetry_certificate": certificate})
        (tmp_path / f"host_vars/{host}.yml").write_text(variables, encoding="utf-8")
    done = run(tmp_path, "configure.yml", hosts=tuple(given))
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "certificate has expired on" in " ".join(output.split())
    assert "is no PEM text" in " ".join(output.split())
    assert pair.key_pem.splitlines()[1] not in output
    assert_first(done.stdout)
