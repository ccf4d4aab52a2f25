"""Some changes of partitions are refused before anything changes.

All other changes are made in the right order.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.collection.plays import HERE, LOAD, of_role

ROOT = Path(__file__).parents[3]
ROLE = ROOT / "roles/trading_engine"
# A fake partition.yml. The real file sets an engine up. This one records the engine's name, and whether the engine
# still needs a restart. For an engine in `failing_here`, it ends the play on the host.
STAND_IN: list[dict[str, Any]] = [
    {
        "name": "Partition | Note the partition",
        "ansible.builtin.set_fact": {
            "touched": "{{ touched | default([]) + [__trading_engine_partition] }}",
            "trading_engine_restart_required": "{{ __trading_engine_partition in behind | default([])"
            " or trading_engine_restart_required }}",
        },
    },
    {
        "name": "Partition | Lose the host",
        "ansible.builtin.meta": "end_host",
        "when": "__trading_engine_partition in failing_here | default([])",
    },
]


def had(symbols: list[str], orders: object = 0, *, answers: bool = True, enabled: bool = True) -> dict[str, Any]:
    """Return what the role reads from an engine before it changes partitions.

    These are the engine's symbols, the number of its open orders, and whether its unit is enabled.
    """
    text = "".join(f'[[symbol]]\nname = "{symbol}"\n' for symbol in symbols)
    gauges = {} if orders is None else {"open_orders": orders}
    return {
        "content": base64.b64encode(text.encode()).decode(),
        "book": {"rc": 0 if answers else 1, "stdout": json.dumps({"gauges": gauges}) if answers else ""},
        "enabled": {"rc": 0 if enabled else 1},
    }


def host(name: str, engines: dict[str, dict[str, Any]], wanted: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """Return the variables of a host that has the engines `engines`.

    The user declares the partitions `wanted` for this host.
    """
    found = [{"item": engine, **of} for engine, of in engines.items()]
    return {
        "trading_partitions": [
            {"name": partition, "symbols": symbols, "hosts": [name]} for partition, symbols in wanted.items()
        ],
        "__trading_engine_configured": {
            "results": [{"item": each["item"], "content": each["content"]} for each in found]
        },
        "__trading_engine_books": {"results": [{"item": each["item"], **each["book"]} for each in found]},
        "__trading_engine_enabled": {"results": [{"item": each["item"], **each["enabled"]} for each in found]},
        "__trading_engine_units_there": {"files": []},
        "ansible_connection": "local",
        **more,
    }


BOTH = {"alpha": ["TEST", "AAPL"], "beta": ["MSFT"]}
MOVED = {"alpha": ["TEST"], "beta": ["MSFT", "AAPL"]}
EXCHANGED = {"alpha": ["TEST", "MSFT"], "beta": ["AAPL"]}


def two(orders: object = 0, **told: bool) -> dict[str, dict[str, Any]]:
    return {"alpha": had(BOTH["alpha"], orders, **told), "beta": had(BOTH["beta"], 2)}


HOSTS = {
    "empty": host("empty", two(0), MOVED),
    "open": host("open", two(2), MOVED),
    "untold": host("untold", two(None), MOVED),
    "down": host("down", two(answers=False), MOVED),
    "disabled": host("disabled", two(answers=False, enabled=False), MOVED),
    "kept": host("kept", two(2), BOTH),
    "exchanged": host("exchanged", {"alpha": had(BOTH["alpha"]), "beta": had(["MSFT"])}, EXCHANGED),
    "one": host("one", {"": had(["TEST", "AAPL", "MSFT"])}, BOTH),
    "one-open": host("one-open", {"": had(["TEST", "AAPL", "MSFT"], 1)}, BOTH),
    "more": host("more", two(2), {**BOTH, "gamma": ["IBM"]}),
    "connected": host("connected", two(0), MOVED, behind=["alpha"]),
    "connected-kept": host("connected-kept", two(0), BOTH, behind=["alpha"]),
}
# Hosts that only one of the plays below examines.
HOSTS |= {
    "asked-more": host("asked-more", two(2), {**BOTH, "gamma": ["IBM"]}),
    "asked-empty": host("asked-empty", two(0), MOVED),
    "reverse": host("reverse", {"alpha": had(["TEST"]), "beta": had(["MSFT", "AAPL"])}, BOTH),
    # The first gives up a symbol, but cannot restart its engine because of a client. The second gets the symbol.
    "giver": host("giver", {"alpha": had(["TEST", "AAPL"])}, {"alpha": ["TEST"]}, behind=["alpha"]),
    "taker": host("taker", {"beta": had(["MSFT"])}, {"beta": ["MSFT", "AAPL"]}),
    "commands": host("commands", two(0), MOVED),
    "recorded": host("recorded", two(0), MOVED),
}
# The hosts whose change may be refused.
ASKED = ("empty", "open", "untold", "down", "disabled", "kept", "exchanged", "one", "one-open", "more")


# Partitions on two hosts. In the first list the hosts have numbers, and in the second list they have names. The
# inventory has fewer hosts than the number of the second host.
NUMBERED = [
    {"name": "alpha", "symbols": ["TEST", "AAPL"], "hosts": [1]},
    {"name": "beta", "symbols": ["MSFT"], "hosts": [99]},
]
NAMED = [{**NUMBERED[0], "hosts": ["host-1"]}, {**NUMBERED[1], "hosts": ["host-2"]}]
VERIFIED = ("host-1", "host-2")
HOSTS |= {name: {"ansible_connection": "local", "trading_partitions": NAMED} for name in VERIFIED}
# Command lines that a user gives. Only those of the first entry are right for a partition.
ENGINE = "/opt/trading/current/bin/trading-engine"
COMMANDS: list[dict[str, Any]] = [
    {},
    {"trading_engine_reload_command": [ENGINE, "admin", "reload"]},
    {"trading_status_command": [ENGINE, "status", "--config", "/etc/trading/engine.toml"]},
]
Told = dict[str, dict[str, Any]]
# The pattern of a play's hosts, its tasks, and the role whose defaults and variables the tasks use.
Play = tuple[str, list[dict[str, Any]], Path]
# Hosts that do not take part in a play. The role would look at all hosts, but each play of this test has only a few.
LEFT = "{{ ansible_play_hosts_all | difference(ansible_play_hosts) }}"


def refusals() -> list[dict[str, Any]]:
    """Return the tasks that can refuse a change. The play continues after a refusal, whose result is stored."""
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/partitions_open.yml").read_text(encoding="utf-8"))
    kept = [task for task in read if "ansible.builtin.assert" in task]
    for number, task in enumerate(kept):
        assert task.pop("any_errors_fatal"), "what one host is refused, no other may do"
        task.update({"ignore_errors": True, "register": f"said_{number}"})
    return kept


def setting_up() -> list[dict[str, Any]]:
    """Return the tasks that set partitions up.

    Tasks that import other files are left out. Those files query engines and remove them.
    """
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/partitions.yml").read_text(encoding="utf-8"))
    return [task for task in read if "ansible.builtin.import_tasks" not in task]


def asking_all(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a block with these tasks, which behave as if the play had all hosts of the environment."""
    return {"name": "Do", "block": tasks, "vars": {"__trading_engine_unasked": LEFT}}


def numbered(file: str) -> list[dict[str, Any]]:
    """Return the first check of a file twice, with two lists of partitions.

    In the first list, the hosts of a partition have numbers. In the second list, they have names.
    """
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / f"tasks/{file}.yml").read_text(encoding="utf-8"))
    checks = [task for task in read if "ansible.builtin.assert" in task]
    return [
        {**task, "ignore_errors": True, "register": f"said_{name}", "vars": {"trading_partitions": of}}
        for task in checks[:1]
        for name, of in (("numbered", NUMBERED), ("named", NAMED))
    ]


def commands() -> list[dict[str, Any]]:
    """Return the task that checks the command lines, once for each entry of COMMANDS."""
    (check, *_rest) = yaml.safe_load((ROLE / "tasks/partition.yml").read_text(encoding="utf-8"))
    return [
        {
            **check,
            "ignore_errors": True,
            "register": f"said_{number}",
            "vars": {**more, "__trading_engine_partition": "alpha"},
        }
        for number, more in enumerate(COMMANDS)
    ]


def recorded() -> list[dict[str, Any]]:
    """Return tasks that record for two engines whether a restart is needed: first yes, then no.

    The task that starts an engine has a pattern of units, `not_beside`. Further tasks store this pattern, once for each
    value of `trading_partitions_left`.
    """
    units: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/units.yml").read_text(encoding="utf-8"))
    (record,) = (task for task in units if "whether the engine still needs a restart" in task["name"])
    (start,) = (task for task in units if task["name"].startswith("Units | Start the engine"))
    beside = start["lowlatency.trading.fresh_unit"]["not_beside"]
    plays = [
        {**record, "vars": {"__trading_engine_unit": {"restart_required": late}, "__trading_engine_partition": name}}
        for name, late in (("alpha", True), ("beta", False))
    ]
    plays += [
        {
            "name": "Keep the pattern",
            "ansible.builtin.set_fact": {f"said_{left}": beside, "touched_last": left},
            "vars": {"trading_partitions": [], "trading_partitions_left": left},
        }
        for left in ("refuse", "remove")
    ]
    keep = {"name": "Keep", "ansible.builtin.set_fact": {"touched": "{{ trading_engine_restart_required }}"}}
    return [*plays, keep]


def verified() -> list[dict[str, Any]]:
    """Return the task of the role slo that checks whether a partition exists, once for each of three names."""
    (check, *_rest) = yaml.safe_load((ROOT / "roles/slo/tasks/partitions.yml").read_text(encoding="utf-8"))
    return [
        {**check, "ignore_errors": True, "register": f"said_{name}", "vars": {"slo_partition": name}}
        for name in ("alpha", "beta", "gamma")
    ]


def left_by_a_dry_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a host whose only partition is to be removed, and the tasks of a check-mode run on that host.

    Files in the folder replace the unit, the configuration, the engine and systemctl. The last task only prints which
    files it would remove.
    """
    (folder / "units").mkdir()
    (folder / "units/trading-engine@alpha.service").touch()
    (folder / "etc/trading").mkdir(parents=True)
    (folder / "etc/trading/engine-alpha.toml").write_text('[[symbol]]\nname = "TEST"\n', encoding="utf-8")
    for name, text in (("engine", """echo '{"gauges": {"open_orders": 2}}'"""), ("systemctl", "echo enabled")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    text = (ROLE / "tasks/partitions_open.yml").read_text(encoding="utf-8")
    for real, stand_in in (
        ("/etc/systemd/system", f"{folder}/units"),
        (
            "{{ (item | lowlatency.trading.partition_names).config }}",
            f"{folder}{{{{ (item | lowlatency.trading.partition_names).config }}}}",
        ),
        ("/opt/trading/current/bin/trading-engine", f"{folder}/engine"),
        ("[systemctl,", f"[{folder}/systemctl,"),
    ):
        assert real in text
        text = text.replace(real, stand_in)
    tasks = yaml.safe_load(text)
    (refusal,) = (task for task in tasks if "open book" in task["name"])
    refusal.update({"ignore_errors": True, "register": "said_open"})
    for task in tasks:
        task["check_mode"] = task.get("check_mode", True)
    (gone,) = (
        task
        for task in yaml.safe_load((ROLE / "tasks/partitions_gone.yml").read_text(encoding="utf-8"))
        if "ansible.builtin.file" in task
    )
    assert gone["ansible.builtin.file"]["state"] == "absent"
    gone["ansible.builtin.debug"] = {"msg": gone.pop("ansible.builtin.file")["path"]}
    gone["register"] = "said_gone"
    left = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "trading_partitions": [],
        "trading_partitions_left": "remove",
    }
    return left, [*tasks, gone]


def run(folder: Path, hosts: dict[str, dict[str, Any]], *plays: Play) -> Told:
    """Run the tasks of each play on its hosts. Return, for each host, the variables that the tasks have set."""
    names = "(groups.trading + ['localhost'])"
    known = (
        f"{names} | map('extract', hostvars) | map('dict2items') | map('selectattr', 'key', 'match', 'said|touched')"
    )
    told = f"{{{{ dict({names} | zip({known} | map('items2dict'))) | to_json }}}}"
    show = {"name": "Show", "ansible.builtin.debug": {"msg": told}}  # a module would take longer
    playbook = [
        LOAD,
        *(
            {"name": f"Play {of}", "hosts": of, "gather_facts": False, "vars": of_role(role), "tasks": tasks}
            for of, tasks, role in plays
        ),
        {**HERE, "tasks": [show]},
    ]
    # All these files are JSON, which Ansible reads much faster than other YAML.
    for name, content in (("partition", STAND_IN), ("play", playbook), ("hosts", {"trading": {"hosts": hosts}})):
        (folder / f"{name}.yml").write_text(json.dumps(content), encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", f"{folder}/hosts.yml", f"{folder}/play.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _, shown, printed = done.stdout.rpartition("ok: [localhost] => ")
    assert shown, done.stdout + done.stderr
    read_back: Told = json.loads(json.JSONDecoder().raw_decode(printed)[0]["msg"])
    return read_back


def said(told: dict[str, Any]) -> list[str]:
    """Return the error messages of those tasks that refused a change on a host."""
    results = [
        each for key in sorted(told) if key.startswith("said_") for each in told[key].get("results", [told[key]])
    ]
    return [each["msg"] for each in results if each.get("failed")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run the plays of all tests in one run of Ansible, each on its own hosts.

    Return, for each host, the variables that the tasks have set.
    """
    folder = tmp_path_factory.mktemp("all")
    left, dry_run = left_by_a_dry_run(folder)
    plays = [
        (":".join(ASKED), [asking_all(refusals())], ROLE),
        ("asked-more:asked-empty", refusals(), ROLE),
        ("host-2", numbered("partitions_checked"), ROLE),
        ("localhost", numbered("secrets"), ROLE),
        ("commands", commands(), ROLE),
        ("recorded", recorded(), ROLE),
        ("host-1:host-2", verified(), ROOT / "roles/slo"),
        ("left", dry_run, ROLE),
        *((of, setting_up(), ROLE) for of in ("reverse", "empty", "one", "connected:connected-kept")),
        ("giver:taker", [asking_all(setting_up())], ROLE),
    ]
    return run(folder, {**HOSTS, "left": left}, *plays)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("empty", []),
        ("open", ["is to give up AAPL, and its book is open (2 orders): cancel them"]),
        ("untold", ["is to give up AAPL, and its book is open (? orders)"]),
        ("down", ["is to give up AAPL, and does not say that its book is empty: start it"]),
        ("disabled", []),
        ("kept", []),
        (
            "exchanged",
            ["partition alpha, beta of exchanged would give symbols up and get others: do one of them in this run"],
        ),
        ("one", []),
        (
            "one-open",
            ["trading-engine.service of one-open is to give up AAPL, MSFT, TEST, and its book is open (1 orders)"],
        ),
        ("more", []),
    ],
)
def test_a_symbol_leaves_an_empty_book_alone(told: Told, name: str, refused: list[str]) -> None:
    messages = said(told[name])
    assert len(messages) == len(refused), messages
    assert all(words in text for words, text in zip(refused, messages, strict=True)), messages


def test_a_run_for_some_hosts_brings_them_no_symbol_that_another_may_trade(told: Told) -> None:
    (refused,) = said(told["asked-more"])
    others = ", ".join(sorted({*HOSTS, "left"} - {"asked-more", "asked-empty"}))
    assert f"more would get IBM, and {others}, which may trade that, was not asked: run without --limit" in refused
    assert said(told["asked-empty"]) == [], "what moves between the engines of one host moves nowhere else"


def test_whoever_gets_a_symbol_comes_last_and_only_when_nobody_goes_on_with_that(told: Told) -> None:
    assert told["reverse"]["touched"] == ["beta", "alpha"]
    assert told["empty"]["touched"] == ["alpha", "beta"]
    assert told["connected"]["touched"] == ["alpha"], "its engine trades AAPL still"
    assert told["connected-kept"]["touched"] == ["alpha", "beta"], "nobody gets anything"
    assert told["one"]["touched"] == ["alpha", "beta"]


def test_a_symbol_waits_for_the_engine_of_another_host(told: Told) -> None:
    assert told["giver"]["touched"] == ["alpha"]
    assert "touched" not in told["taker"]


def test_a_number_is_nobody_s_while_a_host_does_not_answer_and_no_obstacle_before_it_is_made(told: Told) -> None:
    (refused,) = said({key: of for key, of in told["host-2"].items() if key in ("said_numbered", "said_named")})
    assert "trading_partitions: partition beta is on host 99, which is none of " in refused
    assert said(told["localhost"]) == []


def test_each_command_has_the_file_of_the_partition(told: Told) -> None:
    results = [told["commands"][f"said_{number}"] for number in range(len(COMMANDS))]
    assert [each["failed"] for each in results] == [False, True, True]
    assert "/etc/trading/engine-alpha.toml: with partitions each command line" in results[1]["msg"]


def test_one_engine_that_needs_a_restart_is_not_forgotten_for_the_next_and_none_refuses_those_that_go(
    told: Told,
) -> None:
    assert told["recorded"] == {"touched": True, "said_refuse": "trading-engine@*.service", "touched_last": "remove"}


def test_verify_of_one_partition_passes_by_hosts_that_do_not_have_that(told: Told) -> None:
    asked = {
        name: {key: told[name][f"said_{key}"]["failed"] for key in ("alpha", "beta", "gamma")} for name in VERIFIED
    }
    assert asked == {name: {"alpha": False, "beta": False, "gamma": True} for name in VERIFIED}


def test_a_dry_run_reads_units_configuration_and_book_and_refuses_what_is_to_be_removed(told: Told) -> None:
    (refused,) = said({"said_open": told["left"]["said_open"]})
    assert "trading-engine@alpha.service of left is to give up TEST, and its book is open (2 orders)" in refused
    assert [each["msg"] for each in told["left"]["said_gone"]["results"]] == [
        "/etc/systemd/system/trading-feed@alpha.service",
        "/etc/systemd/system/trading-engine@alpha.service",
        "/etc/trading/engine-alpha.toml",
        "/etc/trading/accounts-alpha.toml",
    ]
