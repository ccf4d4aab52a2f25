"""A lost host is rebuilt with a release. This release is chosen before the rebuild creates anything."""

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

from tests.unit.roles.templates import ROOT

ROLE = ROOT / "roles/aws_backup"
OLD, OWN, GONE = "a" * 16, "b" * 16, "c" * 16
DECIDED = (
    "Lost | Note the lost host's release and the archive that is installed",
    "Lost | Check that the controller has the release that the lost host ran",
)


def case(release: str, ran: str, own: str = OWN) -> dict[str, Any]:
    """Return the role's variables about a lost host.

    `release` is the user's choice. `ran` is the release that the lost host ran. `own` is the release that the
    controller has.
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


LOCAL = {"ansible_connection": "local"}
Hosts = dict[str, dict[str, Any]]


def note(content: str) -> dict[str, Any]:
    """Return a task that prints this content, so that the test can read it from the output."""
    return {"name": "Note what was said", "ansible.builtin.debug": {"msg": content}}


def decisions(_folder: Path) -> tuple[list[dict[str, Any]], Hosts]:
    """Return the tasks that choose the release for a rebuild, and one host for each entry of CASES."""
    tasks = [task for task in yaml.safe_load((ROLE / "tasks/lost.yml").read_text()) if task["name"] in DECIDED]
    assert len(tasks) == len(DECIDED)
    noted = {
        "archive": "{{ aws_backup_rebuild.archive }}",
        "with": "{{ __aws_backup_rebuilt_with }}",
        "refused": "{{ ansible_failed_result.msg | default('') }}",
    }
    noting = {**note("{{ noted }}"), "vars": {"noted": noted}}
    of_role = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    block = {"name": "Decide", "block": [*tasks, noting], "rescue": [noting], "vars": of_role}
    return [block], {name: {"aws_backup_lost_host": "trading-demo-1", **variables} for name, variables in CASES.items()}


def drills(_folder: Path) -> tuple[list[dict[str, Any]], Hosts]:
    """Return the task with which a drill reads a host's release, and one host for each possible answer."""
    (block,) = yaml.safe_load((ROLE / "tasks/shipped.yml").read_text())
    looked, check = block["block"][-2:]
    assert looked["register"] == "__aws_backup_looked"
    noting = note("{{ (ansible_failed_result | default({})).msg | default('') }}")
    variables = {
        f"drill-{name}": {"__aws_backup_looked": {"release": ran, "controller_release": OWN if ran else ""}}
        for name, ran in (("own", OWN), ("other", OLD), ("untold", ""))
    }
    hosts = {name: {"aws_backup_lost_host": name, **of} for name, of in variables.items()}
    return [{"name": "Check", "block": [check, noting], "rescue": [noting]}], hosts


def wheels(folder: Path) -> tuple[list[dict[str, Any]], Hosts]:
    """Return the tasks that store the wheels of releases, and a host with three releases.

    One release is installed, one is new, and one was removed.
    """
    kept = folder / "wheels"
    kept.mkdir()
    for release in (OLD, OWN):
        (folder / "releases" / release).mkdir(parents=True)
    for release in (OLD, GONE):
        (kept / f"{release}.tar").touch()
    (folder / "new.tar").touch()
    text = (ROOT / "roles/journal_backup/tasks/wheels.yml").read_text().replace("/opt/trading", str(folder))
    tasks = yaml.safe_load(text.replace("owner: root", "").replace("group: root", ""))  # the test may not run as root
    return tasks, {"wheels": {"journal_backup_wheels": f"{folder}/new.tar", "journal_backup_release": OWN}}


def refusals(_folder: Path) -> tuple[list[dict[str, Any]], Hosts]:
    """Return the tasks that refuse a restored state, and two hosts.

    For one of the hosts, the comparison of the state has failed.
    """
    tasks = yaml.safe_load((ROOT / "roles/trading_engine/tasks/restore.yml").read_text())
    unpacking = next(task for task in tasks if "rescue" in task)
    (refusal,) = [task for task in unpacking["rescue"] if "ansible.builtin.fail" in task]
    noting = note("{{ ansible_failed_result.msg }}")
    broken = {"name": "Refuse", "ansible.builtin.fail": {"msg": "000000000006.snapshot is not what it implies"}}
    refused = {"name": "Restore", "block": [broken], "rescue": [refusal]}
    hosts: Hosts = {name: {"trading_engine_partitions": []} for name in ("state-proved", "state-not-proved")}
    hosts["state-not-proved"]["__trading_engine_compared"] = {"failed": True, "results": []}
    return [{"name": "Restore", "block": [refused], "rescue": [noting]}], hosts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rebuild")


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    """Run the tasks of all tests in one run of Ansible, with one play for each kind. All hosts are this machine.

    Return, for each host, the content that its tasks printed last.
    """
    plays, inventory = [], {}
    for kind in (decisions, drills, wheels, refusals):
        tasks, hosts = kind(folder)
        plays.append({"name": "Decide", "hosts": kind.__name__, "gather_facts": False, "tasks": tasks})
        inventory[kind.__name__] = {"hosts": {name: LOCAL | variables for name, variables in hosts.items()}}
    (folder / "plays.yml").write_text(yaml.safe_dump(plays))
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    program = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "plays.yml"]
    ansible = {"COLLECTIONS_PATH": str(ROOT / "collections"), "PYTHON_INTERPRETER": sys.executable, "NOCOLOR": "1"}
    environment = os.environ | {f"ANSIBLE_{name}": value for name, value in ansible.items()}
    run = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    noted = re.findall(r"^ok: \[([\w-]+)\] => (\{$.*?^\})", run.stdout, flags=re.MULTILINE | re.DOTALL)
    return {host: json.loads(result)["msg"] for host, result in noted}


@pytest.mark.parametrize(
    ("name", "archive", "built_with"),
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
    said: dict[str, Any], name: str, archive: str, built_with: str
) -> None:
    assert (said[name]["refused"], said[name]["archive"]) == ("", archive)
    assert built_with in said[name]["with"]


@pytest.mark.parametrize(("name", "own"), [("other", OWN), ("of-unknown-kind", "another one")])
def test_another_release_stops_the_rebuild_before_anything_is_made(said: dict[str, Any], name: str, own: str) -> None:
    refused = said[name]["refused"]
    assert f"ran release {OLD}, and the controller has {own}, so nothing was made" in refused
    for way in ("aws_backup_release=bucket", "aws_backup_release=controller", f"SHA-256 {'0' * 64}"):
        assert way in refused


def test_a_drill_refuses_a_host_of_another_release_before_it_is_lost(said: dict[str, Any]) -> None:
    assert [said[f"drill-{name}"] for name in ("own", "untold")] == ["", ""]
    refused = f"drill-other runs release {OLD}, and the controller has {OWN}, with which it would not be built again"
    assert said["drill-other"].startswith(refused)


def test_nothing_is_made_before_that_is_decided() -> None:
    plays = yaml.safe_load((ROOT / "playbooks/rebuild.yml").read_text())
    assert plays[0]["tasks"][0]["ansible.builtin.import_role"]["tasks_from"] == "lost"
    assert plays[1]["ansible.builtin.import_playbook"] == "provision.yml"


@pytest.mark.usefixtures("said")
def test_the_wheels_of_each_installed_release_stay_for_a_rollback(folder: Path) -> None:
    """The host keeps the wheels of each installed release.

    A rollback needs the wheels of an earlier release. A new series in the bucket contains only files that exist on the
    host when the series begins.
    """
    assert sorted(path.stem for path in (folder / "wheels").iterdir()) == [OLD, OWN]


@pytest.mark.parametrize("host", ["state-proved", "state-not-proved"])
def test_a_state_that_is_refused_comes_with_what_to_do(said: dict[str, Any], host: str) -> None:
    unchanged = f"{host} is as it was, with the engine running: "
    assert said[host].startswith(f"{unchanged}000000000006.snapshot is not what it implies")
    ways = ("docs/disaster-recovery.md", """-e '{"trading_engine_check_state_command": []}' goes on""")
    assert [way in said[host] for way in ways] == [host == "state-not-proved"] * 2
