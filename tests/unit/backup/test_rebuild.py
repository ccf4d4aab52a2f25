"""The release with which a lost host is rebuilt is chosen before the rebuild creates anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.templates import ROOT

ROLE = ROOT / "roles/aws_backup"
OLD, OWN = "a" * 16, "b" * 16
DECIDED = (
    "Lost | Note the lost host's release and the archive that is installed",
    "Lost | Check that the controller has the release that the lost host ran",
)


def case(release: str, ran: str, own: str = OWN) -> dict[str, Any]:
    """Return the role's variables about a lost host.

    `release` is the user's choice. `ran` is the release that the lost host ran. `own` is the controller's release.
    """
    archive = f"/rebuilds/{ran}.tar" if ran else ""
    found = {"release": ran, "controller_release": own, "release_archive": archive, "release_sha256": "0" * 64}
    return {
        "aws_backup_release": release,
        "aws_backup_rebuild": {"folder": "/rebuilds"},
        "__aws_backup_fetched": {"results": [{"instance": "i-1", **found}]},
    }


CASES = {
    "same": case("same", OWN),
    "other": case("same", OLD),
    "of-unknown-kind": case("same", OLD, ""),
    "not-told": case("same", "", ""),
    "from-bucket": case("bucket", OLD),
    "forged-name": case("bucket", OWN),
    "controllers": case("controller", "", ""),
    "packed": {**case("same", ""), "__aws_backup_fetched": {"results": []}},
}


def run_play(folder: Path, play: dict[str, Any], hosts: dict[str, Any]) -> None:
    """Run a play on these hosts, all of which are this machine. The test fails when the play fails."""
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    program = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", f"{folder}/hosts.yml"]
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    environment = {**os.environ, **collections, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    run = subprocess.run([*program, f"{folder}/play.yml"], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Run all cases in one run of Ansible. Return what was decided in each case."""
    folder = tmp_path_factory.mktemp("rebuild")
    tasks = [task for task in yaml.safe_load((ROLE / "tasks/lost.yml").read_text()) if task["name"] in DECIDED]
    assert len(tasks) == len(DECIDED)
    noted = {
        "archive": "{{ aws_backup_rebuild.archive }}",
        "with": "{{ __aws_backup_rebuilt_with }}",
        "refused": "{{ ansible_failed_result.msg | default('') }}",
    }
    note = {
        "name": "Note what was decided",
        "ansible.builtin.copy": {"content": "{{ noted | to_json }}", "dest": f"{folder}/{{{{ inventory_hostname }}}}"},
        "vars": {"noted": noted},
    }
    play = {
        "name": "Decide",
        "hosts": "all",
        "gather_facts": False,
        "vars": {"aws_backup_lost_host": "trading-demo-1"},
        "vars_files": [str(ROLE / "vars/main.yml")],
        "tasks": [{"name": "Decide", "block": [*tasks, note], "rescue": [note]}],
    }
    hosts = {name: {"ansible_connection": "local", **variables} for name, variables in CASES.items()}
    run_play(folder, play, hosts)
    return {name: json.loads((folder / name).read_text()) for name in CASES}


@pytest.mark.parametrize(
    ("name", "archive", "said"),
    [
        ("same", "", f"release {OWN} of the controller, which the lost host ran"),
        ("not-told", "", "because the bucket does not have the wheels"),
        ("packed", "", "because the bucket does not have the wheels"),
        ("from-bucket", f"/rebuilds/{OLD}.tar", f"release {OLD} from the bucket, which the lost host ran"),
        ("forged-name", "", f"release {OWN} of the controller"),
        ("controllers", "", "because aws_backup_release says so"),
    ],
)
def test_the_controllers_release_is_taken_unless_another_is_asked_for(
    decided: dict[str, dict[str, str]], name: str, archive: str, said: str
) -> None:
    assert (decided[name]["refused"], decided[name]["archive"]) == ("", archive)
    assert said in decided[name]["with"]


@pytest.mark.parametrize(("name", "own"), [("other", OWN), ("of-unknown-kind", "another one")])
def test_another_release_stops_the_rebuild_before_anything_is_made(
    decided: dict[str, dict[str, str]], name: str, own: str
) -> None:
    refused = decided[name]["refused"]
    assert f"ran release {OLD}, and the controller has {own}, so nothing was made" in refused
    for way in ("aws_backup_release=bucket", "aws_backup_release=controller", f"SHA-256 {'0' * 64}"):
        assert way in refused


def test_a_drill_refuses_a_host_of_another_release_before_it_is_lost(tmp_path: Path) -> None:
    (block,) = yaml.safe_load((ROLE / "tasks/shipped.yml").read_text())
    looked, check = block["block"][-2:]
    assert looked["register"] == "__aws_backup_looked"
    said = {"content": "{{ (ansible_failed_result | default({})).msg | default('') }}"}
    note = {"name": "Note", "ansible.builtin.copy": {**said, "dest": f"{tmp_path}/{{{{ inventory_hostname }}}}"}}
    tasks = [{"name": "Check", "block": [check, note], "rescue": [note]}]
    variables = {
        name: {"__aws_backup_looked": {"release": ran, "controller_release": OWN if ran else ""}}
        for name, ran in (("own", OWN), ("other", OLD), ("untold", ""))
    }
    local = {"ansible_connection": "local"}
    hosts = {name: {**local, "aws_backup_lost_host": name, **of} for name, of in variables.items()}
    run_play(tmp_path, {"name": "Check", "hosts": "all", "gather_facts": False, "tasks": tasks}, hosts)
    assert [(tmp_path / name).read_text() for name in ("own", "untold")] == ["", ""]
    refused = f"other runs release {OLD}, and the controller has {OWN}, with which it would not be built again"
    assert (tmp_path / "other").read_text().startswith(refused)


def test_nothing_is_made_before_that_is_decided() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/rebuild.yml").read_text())
    assert plays[0]["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "lost"
    assert plays[1]["ansible.builtin.import_playbook"] == "provision.yml"


def test_the_wheels_of_each_installed_release_stay_for_a_rollback(tmp_path: Path) -> None:
    """A new series contains only files that exist when it begins. A rollback needs the wheels of an earlier release."""
    wheels, new, gone = tmp_path / "wheels", "b" * 16, "c" * 16
    wheels.mkdir()
    for release in (OLD, new):
        (tmp_path / "releases" / release).mkdir(parents=True)
    for release in (OLD, gone):
        (wheels / f"{release}.tar").touch()
    (tmp_path / "new.tar").touch()
    text = (ROOT / "roles/journal_backup/tasks/wheels.yml").read_text().replace("/opt/trading", str(tmp_path))
    tasks = yaml.safe_load(text.replace("owner: root", "").replace("group: root", ""))  # the test may not run as root
    variables = {"journal_backup_wheels": f"{tmp_path}/new.tar", "journal_backup_release": new}
    play = {"name": "Keep wheels", "hosts": "all", "gather_facts": False, "tasks": tasks}
    run_play(tmp_path, play, {"host": {"ansible_connection": "local", **variables}})
    assert sorted(path.stem for path in wheels.iterdir()) == [OLD, new]


@pytest.mark.parametrize("proved", [True, False])
def test_a_state_that_is_refused_comes_with_what_to_do(tmp_path: Path, proved: bool) -> None:
    tasks = yaml.safe_load((ROOT / "roles/trading_engine/tasks/restore.yml").read_text())
    unpacking = next(task for task in tasks if "rescue" in task)
    (refusal,) = [task for task in unpacking["rescue"] if "ansible.builtin.fail" in task]
    said = {"content": "{{ ansible_failed_result.msg }}", "dest": f"{tmp_path}/said"}
    note = {"name": "Note what was said", "ansible.builtin.copy": said}
    result = {"failed": not proved, "results": []}
    asked = [] if proved else [{"name": "Ask", "ansible.builtin.set_fact": {"__trading_engine_compared": result}}]
    broken = {"name": "Refuse", "ansible.builtin.fail": {"msg": "000000000006.snapshot is not what it implies"}}
    refused = {"name": "Restore", "block": [broken], "rescue": [refusal]}
    play = {"name": "Restore", "hosts": "all", "gather_facts": False}
    play |= {"tasks": [*asked, {"name": "Restore", "block": [refused], "rescue": [note]}]}
    run_play(tmp_path, play, {"host": {"ansible_connection": "local", "trading_engine_partitions": []}})
    text = (tmp_path / "said").read_text()
    assert text.startswith("host is as it was, with the engine running: 000000000006.snapshot is not what it implies")
    ways = ("docs/disaster-recovery.md", """-e '{"trading_engine_check_state_command": []}' goes on""")
    assert [way in text for way in ways] == [not proved] * 2
