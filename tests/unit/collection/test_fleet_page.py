"""The tasks that configure the page of many hosts.

They print no token of a host. When a host is removed from the list, they remove its files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

ROLE = Path(__file__).parents[3] / "roles/telemetry"
HOSTS = [
    {"name": "trading-1", "url": "https://10.0.1.5:8000", "token": "correct-horse-battery", "ca": "PEM of 1"},
    {"name": "trading-2", "url": "http://10.0.1.6:8000"},
]


def test_no_token_is_printed_and_none_of_a_host_that_left_stays(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "secrets").mkdir(parents=True)
    kept = ["fleet-trading-1.token", "fleet.token", "telemetry.token"]
    for name in (*kept, "fleet-trading-2.token", "fleet-gone.token"):
        (etc / "secrets" / name).touch()
    (etc / "fleet-gone.crt").touch()
    (etc / "fleet.toml").touch()
    files = [ROLE / "defaults/main.yml", tmp_path / "vars.yml"]
    read = (ROLE / "vars/main.yml").read_text(encoding="utf-8")
    files[1].write_text(read.replace("/etc/trading", str(etc)), encoding="utf-8")
    tasks = yaml.safe_load((ROLE / "tasks/fleet.yml").read_text(encoding="utf-8").replace("/etc/trading", str(etc)))
    done = [task for task in tasks if {f"ansible.builtin.{name}" for name in ("copy", "find", "file")} & set(task)]
    for task in done:
        for name in ("owner", "group"):
            task.get("ansible.builtin.copy", {}).pop(name, None)
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(path) for path in files],
        "tasks": done,
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    given = json.dumps({"telemetry_fleet_hosts": HOSTS, "ansible_python_interpreter": sys.executable})
    command = [program, "-v", "-i", "localhost,", str(tmp_path / "play.yml"), "-e", given]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert HOSTS[0]["token"] not in ran.stdout + ran.stderr
    assert (etc / "fleet-trading-1.crt").read_text(encoding="utf-8") == HOSTS[0]["ca"]
    assert sorted(path.name for path in (etc / "secrets").iterdir()) == kept
    assert sorted(path.name for path in etc.iterdir()) == ["fleet-trading-1.crt", "fleet.toml", "secrets"]


def test_a_page_goes_on_as_a_deployed_release() -> None:
    (play,) = yaml.safe_load((ROLE.parents[1] / "playbooks/deploy.yml").read_text(encoding="utf-8"))
    entered = [task.get("ansible.builtin.include_role", {}).get("tasks_from") for task in play["tasks"]]
    assert entered.index("deploy") < entered.index("fleet_released")
    look, restart = yaml.safe_load((ROLE / "tasks/fleet_released.yml").read_text(encoding="utf-8"))
    assert look["ansible.builtin.stat"]["path"].endswith(restart["lowlatency.trading.fresh_unit"]["name"])
    assert restart["when"] == f"{look['register']}.stat.exists", "most hosts have no page"
