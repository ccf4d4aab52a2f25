"""A release is deployed to a host with several engines.

All engines try the release before the first of them is stopped. If one engine fails, all engines keep their earlier
release.
"""

from __future__ import annotations

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
    """Return the task with those parts replaced that need a host. The engine `failing` fails."""
    kept = {key: value for key, value in task.items() if key in ("name", "loop", "when", "check_mode", "register")}
    unit = "__trading_engine_part.unit"
    if "lowlatency.trading.release_switch" in task:
        if task.get("check_mode"):
            return noted(f"'asked ' ~ {unit}", name=task["name"])
        script = f"""cd {folder}
            [ {{{{ {unit} }}}} != {{{{ failing }}}} ] || {{ ln -sfn {{{{ left }}}} current; exit 1; }}
            [ $(readlink current) = releases/{NEW} ] || ln -sfn $(readlink current) previous
            ln -sfn releases/{NEW} current"""
        return {**kept, "ansible.builtin.shell": script, "changed_when": f"{unit} not in ahead"}
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
        task[module]["path"] = task[module]["path"].replace("/opt/trading", str(folder))
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


def deployed(folder: Path, name: str, failing: str, left: str, ahead: tuple[str, ...] = (), **links: str) -> Told:
    """Run the tasks of a deployment on this machine. Return what they did, and their messages.

    The engine `failing` fails. Then the link `current` leads to the release `left`. The engines in `ahead` already run
    the new release. `links` are further links, each with the release to which it leads before the deployment.
    """
    links = {"current": NEW if ahead else OLD, **links}
    for link, release in links.items():
        (folder / link).symlink_to(f"releases/{release}")
    for file in FILES:
        tasks = yaml.safe_load((ROLE / f"tasks/{file}.yml").read_text(encoding="utf-8"))
        (folder / f"{file}.yml").write_text(yaml.safe_dump(written(tasks, folder), sort_keys=False), encoding="utf-8")
    trial: dict[str, Any] = {
        "name": "Try",
        "ansible.builtin.include_tasks": "deploy_trial.yml",
        "loop": ["alpha", "beta"],
        "loop_control": {"loop_var": "__trading_engine_name"},
        "vars": {"__trading_engine_partition": "{{ __trading_engine_name }}"},
    }
    deploy = {"name": "Deploy", "ansible.builtin.include_tasks": "deploy_partitions.yml"}
    of = {
        **host(name, {}, BOTH, failing=failing, left=f"releases/{left}", __trading_engine_release={"release": NEW}),
        "ansible_python_interpreter": sys.executable,
        "ahead": list(ahead),
    }
    failed = {"failed": True, "msg": "{{ ansible_failed_result.msg }}"}
    keep = {"name": "Keep", "ansible.builtin.set_fact": {"said_0": failed}}
    return run(folder, {name: of}, ("trading", [{"name": "Do", "block": [trial, deploy], "rescue": [keep]}]))


TRIED = [
    *("tried trading-engine@alpha.service", "asked trading-engine@alpha.service"),
    *("tried trading-engine@beta.service", "asked trading-engine@beta.service"),
]


def test_all_are_tried_before_one_is_stopped_and_no_feed_goes_before_its_engine(tmp_path: Path) -> None:
    told = deployed(tmp_path, "good", "none", NEW)["good"]
    assert said(told) == []
    assert told["touched"] == [*TRIED, "trading-feed@alpha.service", "trading-feed@beta.service"]


@pytest.mark.parametrize(
    ("ahead", "left", "restarted", "words"),
    [
        (
            (),
            OLD,
            ["restarted trading-engine@alpha.service", "restarted trading-feed@alpha.service"],
            "alpha ran it, and went back by a clean stop: all engines of this host run the release before",
        ),
        (
            ("trading-engine@alpha.service",),
            OLD,
            ["restarted trading-engine@alpha.service", "restarted trading-feed@alpha.service"],
            "alpha ran it, and went back by a clean stop: all engines of this host run the release before",
        ),
        ((), NEW, [], f"alpha ran it, and stays on release {NEW}: the way is forward"),
    ],
)
def test_who_runs_it_goes_back_where_another_does_not_pass(
    tmp_path: Path, ahead: tuple[str, ...], left: str, restarted: list[str], words: str
) -> None:
    told = deployed(tmp_path, "bad", "trading-engine@beta.service", left, ahead)["bad"]
    (refused,) = said(told)
    assert words in refused
    assert told["touched"] == [*TRIED, "trading-feed@alpha.service", *restarted]


def test_an_engine_whose_feed_fails_is_named_as_one_that_runs_the_release(tmp_path: Path) -> None:
    told = deployed(tmp_path, "feed", "trading-feed@beta.service", NEW)["feed"]
    (refused,) = said(told)
    assert f"alpha, beta ran it, and stays on release {NEW}: the way is forward" in refused


def test_the_release_to_go_back_to_is_the_one_that_it_was(tmp_path: Path) -> None:
    for name, previous, after in (("earlier", {"previous": OLDEST}, OLDEST), ("first", {}, "")):
        folder = tmp_path / name
        folder.mkdir()
        deployed(folder, name, "trading-engine@beta.service", OLD, (), **previous)
        link = folder / "previous"
        assert (link.readlink().name if link.is_symlink() else "") == after


def test_where_the_first_does_not_pass_nobody_else_is_touched(tmp_path: Path) -> None:
    told = deployed(tmp_path, "first", "trading-engine@alpha.service", OLD)["first"]
    assert len(said(told)) == 1
    assert "ran it" not in said(told)[0]
    assert told["touched"] == TRIED


def test_the_role_tries_each_engine_before_it_deploys() -> None:
    order = [
        task.get("ansible.builtin.include_tasks")
        for task in yaml.safe_load((ROLE / "tasks/deploy.yml").read_text(encoding="utf-8"))
    ]
    assert [file for file in order if file] == [
        *("partitions_checked.yml", "deploy_trial.yml", "deploy_partitions.yml", "deploy_engine.yml")
    ]
