"""The controller reads secrets from AWS's stores and writes them to a file. No output shows the secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Account

ROOT = Path(__file__).parents[3]
PLANTED = {
    "amazon.aws.ssm_parameter": "planted-in-parameter-store",
    "amazon.aws.secretsmanager_secret": "planted-in-secrets-manager",
}
NAME = "/trading/production/telemetry-token"


def keep(account: Account) -> None:
    """Put one secret into Parameter Store and another into Secrets Manager."""
    account.client("ssm").put_parameter(
        Name=NAME, Value=PLANTED["amazon.aws.ssm_parameter"], Type="SecureString", Overwrite=True
    )
    account.client("secretsmanager").create_secret(Name=NAME, SecretString=PLANTED["amazon.aws.secretsmanager_secret"])


@pytest.fixture(scope="module")
def kept(account: Account) -> Account:
    keep(account)
    return account


def write(account: Account, folder: Path, variable: str) -> subprocess.CompletedProcess[str]:
    """Write the variable to a file with the module secret_file. Let Ansible print as much as it can."""
    (folder / "given.json").write_text(json.dumps({"telemetry_token": variable}), encoding="utf-8")
    task = {"path": str(folder / "secrets/telemetry.token"), "value": "{{ telemetry_token }}"}
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [{"lowlatency.trading.secret_file": task}],
        }
    ]
    (folder / "play.json").write_text(json.dumps(play), encoding="utf-8")
    words = ["-i", "localhost,", "-e", f"@{folder}/given.json", "-vvv", "--diff", str(folder / "play.json")]
    return subprocess.run(
        ["ansible-playbook", *words],
        env={**account.environment, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


@pytest.mark.parametrize("lookup", sorted(PLANTED))
def test_what_the_store_has_is_written_and_not_shown(kept: Account, tmp_path: Path, lookup: str) -> None:
    done = write(kept, tmp_path, f"{{{{ lookup('{lookup}', '{NAME}', region='us-east-1') }}}}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "secrets/telemetry.token").read_text(encoding="ascii").strip() == PLANTED[lookup]
    assert PLANTED[lookup] not in done.stdout + done.stderr


@pytest.mark.parametrize("lookup", sorted(PLANTED))
def test_what_the_store_does_not_have_ends_the_run_with_its_name(kept: Account, tmp_path: Path, lookup: str) -> None:
    done = write(kept, tmp_path, f"{{{{ lookup('{lookup}', '/trading/none', region='us-east-1') }}}}")
    assert done.returncode != 0
    assert "/trading/none" in done.stdout + done.stderr
    assert not (tmp_path / "secrets").exists()
