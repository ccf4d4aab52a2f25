"""A release is deployed to a host with several engines.

All engines try the release before the first of them is stopped. If one engine fails, all engines keep their earlier
release.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.collection.test_partitions_open import ROLE, Told, host, run, said

BOTH = {"alpha": ["TEST", "AAPL"], "beta": ["MSFT"]}
FILES = ("deploy_partitions", "deploy_engine", "deploy_trial")
OLDEST = "0000000000000000"
OLD = "1111111111111111"
NEW = "2222222222222222"
NOTE = "{{ touched | default([]) + [%s] }}"


def noted(what: str, **task: Any) -> dict[str, Any]:
    return {**task, "ansible.builtin.set_fact": {"touched": NOTE % what}}


def stand_in(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Replace those parts of a task that need a real host, and return the task.

    In the replaced parts, one engine fails. The host's variable `failing` has the name of this engine. Each host has
    its own folder in `folder`.
    """
    kept = {key: value for key, value in task.items() if key in ("name", "loop", "when", "check_mode", "register")}
    unit = "__trading_engine_part.unit"
    if "lowlatency.trading.release_switch" in task:
        if task.get("check_mode"):
            return noted(f"'asked ' ~ {unit}", name=task["name"])
        script = f"""cd {folder}/{{{{ inventory_hostname }}}}
            [ {{{{ {unit} }}}} != {{{{ failing }}}} ] || {{ ln -sfn {{{{ left }}}} current; exit 1; }}
            [ $(readlink current) = releases/{NEW} ] || ln -sfn $(readlink current) previous
            ln -sfn releases/{NEW} current"""
        # Unlike the module shell, this one starts no Python.
        return {**kept, "ansible.builtin.raw": script, "changed_when": f"{unit} not in ahead"}
    if "lowlatency.trading.release_trial" in task:
        tried = noted(f"'tried ' ~ {unit}", name=task["name"])
        running = f"{{{{ '{NEW}' if {unit} in ahead else '{OLD}' }}}}"
        tried["ansible.builtin.set_fact"]["__trading_engine_trial"] = {"records": 7, "running": running}
        return tried
    if "lowlatency.trading.fresh_unit" in task:
        feed = "__trading_engine_part.feed_unit"
        return noted(feed, name=task["name"], failed_when=f"{feed} == failing")
    if "ansible.builtin.systemd_service" in task:
        return {**kept, **noted("'restarted ' ~ item")}
    for module in {"ansible.builtin.stat", "ansible.builtin.file"} & set(task):
        task[module]["path"] = task[module]["path"].replace("/opt/trading", f"{folder}/{{{{ inventory_hostname }}}}")
    return task


def written(tasks: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    read = []
    for task in tasks:
        for key in ("block", "rescue"):
            if key in task:
                task[key] = written(task[key], folder)
        if not task["name"].endswith("Print what the clients saw"):
            read.append(stand_in(task, folder))
    return read


def machine(
    folder: Path, name: str, failing: str, left: str, ahead: tuple[str, ...] = (), **links: str
) -> dict[str, Any]:
    """Create the release links of a simulated host, and return the host's variables for a deployment.

    The deployment of the engine `failing` fails. After that, the link `current` points to the release `left`. The
    engines in `ahead` already run the new release. `links` are further links: link's name → its release before the
    deployment.
    """
    (folder / name).mkdir()
    links = {"current": NEW if ahead else OLD, **links}
    for link, release in links.items():
        (folder / name / link).symlink_to(f"releases/{release}")
    return {
        **host(name, {}, BOTH, failing=failing, left=f"releases/{left}", __trading_engine_release={"release": NEW}),
        "ansible_python_interpreter": sys.executable,
        "ahead": list(ahead),
    }


ALPHA = "trading-engine@alpha.service"
BETA = "trading-engine@beta.service"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployed")


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    """Run the tasks of a deployment for several hosts, in one play. Return what they did, and their messages."""
    for file in FILES:
        tasks = yaml.safe_load((ROLE / f"tasks/{file}.yml").read_text(encoding="utf-8"))
        (folder / f"{file}.yml").write_text(json.dumps(written(tasks, folder)), encoding="utf-8")
    trial: dict[str, Any] = {
        "name": "Try",
        "ansible.builtin.include_tasks": "deploy_trial.yml",
        "loop": ["alpha", "beta"],
        "loop_control": {"loop_var": "__trading_engine_name"},
        "vars": {"__trading_engine_partition": "{{ __trading_engine_name }}"},
    }
    deploy = {"name": "Deploy", "ansible.builtin.include_tasks": "deploy_partitions.yml"}
    failed = {"failed": True, "msg": "{{ ansible_failed_result.msg }}"}
    keep = {"name": "Keep", "ansible.builtin.set_fact": {"said_0": failed}}
    hosts = {
        "good": machine(folder, "good", "none", NEW),
        "back": machine(folder, "back", BETA, OLD, previous=OLDEST),
        "back-ahead": machine(folder, "back-ahead", BETA, OLD, (ALPHA,)),
        "back-first": machine(folder, "back-first", BETA, OLD),
        "forward": machine(folder, "forward", BETA, NEW),
        "feed": machine(folder, "feed", "trading-feed@beta.service", NEW),
        "first": machine(folder, "first", ALPHA, OLD),
    }
    return run(folder, hosts, ("trading", [{"name": "Do", "block": [trial, deploy], "rescue": [keep]}], ROLE))


TRIED = [
    *("tried trading-engine@alpha.service", "asked trading-engine@alpha.service"),
    *("tried trading-engine@beta.service", "asked trading-engine@beta.service"),
]


def test_all_are_tried_before_one_is_stopped_and_no_feed_goes_before_its_engine(told: Told) -> None:
    assert said(told["good"]) == []
    assert told["good"]["touched"] == [*TRIED, "trading-feed@alpha.service", "trading-feed@beta.service"]


@pytest.mark.parametrize(
    ("name", "restarted", "words"),
    [
        *(
            (
                name,
                ["restarted trading-engine@alpha.service", "restarted trading-feed@alpha.service"],
                "alpha ran it, and went back by a clean stop: all engines of this host run the release before",
            )
            for name in ("back", "back-ahead")
        ),
        ("forward", [], f"alpha ran it, and stays on release {NEW}: the way is forward"),
    ],
)
def test_who_runs_it_goes_back_where_another_does_not_pass(
    told: Told, name: str, restarted: list[str], words: str
) -> None:
    (refused,) = said(told[name])
    assert words in refused
    assert told[name]["touched"] == [*TRIED, "trading-feed@alpha.service", *restarted]


def test_an_engine_whose_feed_fails_is_named_as_one_that_runs_the_release(told: Told) -> None:
    (refused,) = said(told["feed"])
    assert f"alpha, beta ran it, and stays on release {NEW}: the way is forward" in refused


def test_the_release_to_go_back_to_is_the_one_that_it_was(told: Told, folder: Path) -> None:
    for name, after in (("back", OLDEST), ("back-first", "")):
        assert len(said(told[name])) == 1
        link = folder / name / "previous"
        assert (link.readlink().name if link.is_symlink() else "") == after


def test_where_the_first_does_not_pass_nobody_else_is_touched(told: Told) -> None:
    (refused,) = said(told["first"])
    assert "ran it" not in refused
    assert told["first"]["touched"] == TRIED


def test_the_role_tries_each_engine_before_it_deploys() -> None:
    order = [
        task.get("ansible.builtin.include_tasks")
        for task in yaml.safe_load((ROLE / "tasks/deploy.yml").read_text(encoding="utf-8"))
    ]
    assert [file for file in order if file] == [
        *("partitions_checked.yml", "deploy_trial.yml", "deploy_partitions.yml", "deploy_engine.yml")
    ]
