"""A secret that cannot be read ends a run before the run changes anything. No run prints a secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tls import made

ROOT = Path(__file__).parents[3]
# A value as the vault writes it: in hexadecimal digits, those of the salt, of the check, and of the encrypted text.
# There is no password for it, so nobody finds out that it was not encrypted.
SEALED = f"!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {'0a'.join('30' * 32 for _ in range(3))}\n"
ROLES = ("lowlatency.trading.trading_engine : ", "lowlatency.trading.telemetry : ")


def run(folder: Path, playbook: str, cases: dict[str, str]) -> str:
    """Run a playbook in check mode and return its output. The run must fail.

    Each case is a host with its variables, in YAML. All hosts are this machine.
    """
    inventory = folder / "inventory.ini"
    local = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    inventory.write_text("\n".join(["[trading]", *(f"{host} {local}" for host in cases), ""]), encoding="utf-8")
    (folder / "host_vars").mkdir()
    for host, variables in cases.items():
        (folder / f"host_vars/{host}.yml").write_text(variables, encoding="utf-8")
    words = ["ansible-playbook", "-i", str(inventory), "--check", str(ROOT / "playbooks" / playbook)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder)
    assert done.returncode != 0
    assert_first(done.stdout)
    return done.stdout + done.stderr


def assert_first(output: str) -> None:
    """Check that the run changed nothing. It may only have collected facts and checked secrets."""
    tasks = [line.partition("[")[2] for line in output.splitlines() if line.startswith("TASK [")]
    others = [task for task in tasks if not task.startswith("Gathering Facts")]
    assert others
    checks = [task for task in others if task.startswith(ROLES) and re.search("ecrets|Tls material", task)]
    assert others == checks
    assert "changed=0" in output.partition("PLAY RECAP")[2]


CERTIFICATE = made("ended", days=-1)
CASES = {
    "token": f"telemetry_token: {SEALED}",
    "certificate": f"trading_telemetry_certificate: {SEALED}",
    "password": """trading_engine_passwords: {BENCH: "{{ lookup('ansible.builtin.file', '/no/such/file') }}"}""",
    "expired": json.dumps({"trading_telemetry_certificate": CERTIFICATE.certificate_pem + CERTIFICATE.key_pem}),
    "named": json.dumps({"trading_telemetry_certificate": "/etc/ssl/telemetry.pem"}),
}


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run configure.yml for one host for each case, all in one run. Return the output."""
    return run(tmp_path_factory.mktemp("configured"), "configure.yml", CASES)


def told(output: str, host: str) -> str:
    """Return the error message with which the run ended for this host."""
    (said,) = re.findall(rf"^fatal: \[{host}\]: FAILED! => .*$", output, flags=re.MULTILINE)
    return str(said)


@pytest.mark.parametrize("host", ["token", "certificate"])
def test_a_missing_vault_password_is_told_before_anything_else_happens(configured: str, host: str) -> None:
    assert "no vault secrets found" in told(configured, host), configured


def test_a_file_that_is_not_there_is_told_as_early(configured: str) -> None:
    assert "/no/such/file" in told(configured, "password"), configured


def test_a_certificate_of_telemetry_that_cannot_be_used_is_told_as_early(configured: str) -> None:
    assert "certificate has expired on" in told(configured, "expired"), configured
    assert "is no PEM text" in told(configured, "named"), configured
    assert CERTIFICATE.key_pem.splitlines()[1] not in configured


def test_a_site_checks_the_same_secrets_before_it_creates_anything(tmp_path: Path) -> None:
    """site.yml checks the same secrets as configure.yml, before anything else.

    The last of these checks fails here. The earlier checks have then run, and nothing else has.
    """
    output = run(tmp_path, "site.yml", {"localhost": CASES["certificate"]})
    assert "no vault secrets found" in told(output, "localhost"), output
    site, configure = (yaml.safe_load((ROOT / f"playbooks/{name}.yml").read_text()) for name in ("site", "configure"))
    checks = [task["ansible.builtin.import_role"] for task in site[0]["tasks"]]
    assert checks == [task.get("ansible.builtin.import_role") for task in configure[0]["pre_tasks"][: len(checks)]]
    assert [check["name"].rpartition(".")[2] for check in checks] == ["trading_engine", "telemetry"]
