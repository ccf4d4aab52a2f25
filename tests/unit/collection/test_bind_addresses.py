"""Engine, feed and telemetry listen at the addresses that the user gives. The host's own programs connect there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SHOWN = (
    ("health", "slo_health_url"),
    ("orders", "__slo_loopback[slo_local_address] | default(slo_local_address)"),
    ("engine", "trading_engine_address"),
    ("telemetry", "telemetry_address"),
)


def rendered(folder: Path, variables: dict[str, Any]) -> tuple[dict[str, str], str]:
    """Render the roles' files with these variables. Return the files by name, and the output of Ansible."""
    files = [ROOT / "roles" / name for name in ("trading_engine/defaults", "telemetry/defaults", "slo/defaults")]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "vars_files": [str(path / "main.yml") for path in (*files, ROOT / "roles/slo/vars")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": json.dumps({name: f"{{{{ {value} }}}}" for name, value in SHOWN}),
                    "dest": str(folder / "shown.json"),
                }
            }
        ],
    }
    (folder / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(variables), str(folder / "play.json")],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    shown: dict[str, str] = json.loads((folder / "shown.json").read_text(encoding="utf-8"))
    return shown, said


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("http://127.0.0.1:8000/health", "127.0.0.1", "0.0.0.0", "0.0.0.0")),
        (
            {"trading_order_address": "10.0.1.5", "trading_telemetry_address": "10.0.1.6"},
            ("http://10.0.1.6:8000/health", "10.0.1.5", "10.0.1.5", "10.0.1.6"),
        ),
        (
            {"trading_order_address": "::", "trading_telemetry_address": "fd00::5", "trading_telemetry_port": 8001},
            ("http://[fd00::5]:8001/health", "::1", "::", "fd00::5"),
        ),
    ],
    ids=["all", "one", "ipv6"],
)
def test_what_asks_on_the_host_follows_the_shared_addresses(
    tmp_path: Path, given: dict[str, Any], expected: tuple[str, ...]
) -> None:
    shown, said = rendered(tmp_path, given)
    assert tuple(shown[name] for name, _value in SHOWN) == expected
    assert "rename it" not in said


def test_an_address_that_a_role_alone_was_given_is_followed_and_warned_of(tmp_path: Path) -> None:
    shown, said = rendered(tmp_path, {"trading_engine_address": "10.0.1.5", "telemetry_address": "127.0.0.1"})
    assert (shown["orders"], shown["health"]) == ("10.0.1.5", "http://127.0.0.1:8000/health")
    assert "telemetry_address is now trading_telemetry_address: rename it" in " ".join(said.split())
