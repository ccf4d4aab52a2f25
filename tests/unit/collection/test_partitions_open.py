"""Some changes of partitions are refused before anything changes. All other changes are made in the right order."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    """Return what the role reads from an engine.

    These are its symbols, the number of its open orders, and whether its unit is enabled.
    """
    text = "".join(f'[[symbol]]\nname = "{symbol}"\n' for symbol in symbols)
    gauges = {} if orders is None else {"open_orders": orders}
    return {
        "content": base64.b64encode(text.encode()).decode(),
        "book": {"rc": 0 if answers else 1, "stdout": json.dumps({"gauges": gauges}) if answers else ""},
        "enabled": {"rc": 0 if enabled else 1},
    }


def host(name: str, engines: dict[str, dict[str, Any]], wanted: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    """Return the variables of a host. It has the engines `engines`, and the user declares the partitions `wanted`."""
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
# Two hosts. The first gives up a symbol, but cannot restart its engine because of a client. The second gets the symbol.
PAIR = {
    "giver": host("giver", {"alpha": had(["TEST", "AAPL"])}, {"alpha": ["TEST"]}, behind=["alpha"]),
    "taker": host("taker", {"beta": had(["MSFT"])}, {"beta": ["MSFT", "AAPL"]}),
}


# Partitions on two hosts. In the first list the hosts have numbers, and in the second list they have names.
NUMBERED = [
    {"name": "alpha", "symbols": ["TEST", "AAPL"], "hosts": [1]},
    {"name": "beta", "symbols": ["MSFT"], "hosts": [2]},
]
NAMED = [{**NUMBERED[0], "hosts": ["host-1"]}, {**NUMBERED[1], "hosts": ["host-2"]}]
Told = dict[str, dict[str, Any]]


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

    Imported tasks are left out, because they query engines and remove them.
    """
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/partitions.yml").read_text(encoding="utf-8"))
    return [task for task in read if "ansible.builtin.import_tasks" not in task]


def run(
    folder: Path, hosts: dict[str, dict[str, Any]], *plays: tuple[str, list[dict[str, Any]]], role: Path = ROLE
) -> Told:
    """Run the tasks of each play on its hosts. Return, for each host, the variables that the tasks have set."""
    read = {"gather_facts": False, "vars_files": [str(role / part / "main.yml") for part in ("defaults", "vars")]}
    playbook = [{**read, "name": f"Play {of}", "hosts": of, "tasks": tasks} for of, tasks in plays]
    names = "(groups.trading + ['localhost'])"
    known = (
        f"{names} | map('extract', hostvars) | map('dict2items') | map('selectattr', 'key', 'match', 'said|touched')"
    )
    told = f"{{{{ dict({names} | zip({known} | map('items2dict'))) | to_json }}}}"
    show = {"name": "Show", "ansible.builtin.debug": {"msg": told}}  # a module would take longer
    playbook.append({"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [show]})
    (folder / "partition.yml").write_text(yaml.safe_dump(STAND_IN), encoding="utf-8")
    (folder / "play.yml").write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
    (folder / "hosts.yml").write_text(yaml.safe_dump({"trading": {"hosts": hosts}}), encoding="utf-8")
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
def all_asked(tmp_path_factory: pytest.TempPathFactory) -> Told:
    # Each host examines the variables of all hosts, so fewer hosts save much time.
    asked = {name: of for name, of in HOSTS.items() if not name.startswith("connected")}
    return run(tmp_path_factory.mktemp("all"), asked, ("trading", refusals()))


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
def test_a_symbol_leaves_an_empty_book_alone(all_asked: Told, name: str, refused: list[str]) -> None:
    told = said(all_asked[name])
    assert len(told) == len(refused), told
    assert all(words in text for words, text in zip(refused, told, strict=True)), told


def test_a_run_for_some_hosts_brings_them_no_symbol_that_another_may_trade(tmp_path: Path) -> None:
    told = run(tmp_path, {name: HOSTS[name] for name in ("more", "kept", "empty")}, ("trading:!kept", refusals()))
    (refused,) = said(told["more"])
    assert "more would get IBM, and kept, which may trade that, was not asked: run without --limit" in refused
    assert said(told["empty"]) == [], "what moves between the engines of one host moves nowhere else"


def test_whoever_gets_a_symbol_comes_last_and_only_when_nobody_goes_on_with_that(tmp_path: Path) -> None:
    reverse = host("reverse", {"alpha": had(["TEST"]), "beta": had(["MSFT", "AAPL"])}, BOTH)
    hosts = {"reverse": reverse, **{name: HOSTS[name] for name in ("empty", "connected", "connected-kept", "one")}}
    plays = ("reverse", "empty", "one", "connected:connected-kept")
    told = run(tmp_path, hosts, *((of, setting_up()) for of in plays))
    assert told["reverse"]["touched"] == ["beta", "alpha"]
    assert told["empty"]["touched"] == ["alpha", "beta"]
    assert told["connected"]["touched"] == ["alpha"], "its engine trades AAPL still"
    assert told["connected-kept"]["touched"] == ["alpha", "beta"], "nobody gets anything"
    assert told["one"]["touched"] == ["alpha", "beta"]


def test_a_symbol_waits_for_the_engine_of_another_host(tmp_path: Path) -> None:
    told = run(tmp_path, PAIR, ("trading", setting_up()))
    assert told["giver"]["touched"] == ["alpha"]
    assert "touched" not in told["taker"]


def test_a_number_is_nobody_s_while_a_host_does_not_answer_and_no_obstacle_before_it_is_made(tmp_path: Path) -> None:
    read: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/partitions_checked.yml").read_text(encoding="utf-8"))
    checks = [
        {**task, "ignore_errors": True, "register": f"said_{name}", "vars": {"trading_partitions": of}}
        for task in read
        for name, of in (("numbered", NUMBERED), ("named", NAMED))
    ]
    secrets: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks/secrets.yml").read_text(encoding="utf-8"))[:1]
    before = [
        {**task, **{key: check[key] for key in ("ignore_errors", "register", "vars")}}
        for task, check in zip(secrets, checks, strict=False)
    ]
    told = run(tmp_path, {"host-2": {"ansible_connection": "local"}}, ("trading", checks), ("localhost", before))
    (refused,) = said(told["host-2"])
    assert "trading_partitions: partition beta is on host 2, which is none of host-2" in refused
    assert said(told["localhost"]) == []


def test_each_command_has_the_file_of_the_partition(tmp_path: Path) -> None:
    (check, *_rest) = yaml.safe_load((ROLE / "tasks/partition.yml").read_text(encoding="utf-8"))
    engine = "/opt/trading/current/bin/trading-engine"
    given: list[dict[str, Any]] = [
        {},
        {"trading_engine_reload_command": [engine, "admin", "reload"]},
        {"trading_status_command": [engine, "status", "--config", "/etc/trading/engine.toml"]},
    ]
    checks = [
        {
            **check,
            "ignore_errors": True,
            "register": f"said_{number}",
            "vars": {**more, "__trading_engine_partition": "alpha"},
        }
        for number, more in enumerate(given)
    ]
    told = run(tmp_path, {"empty": HOSTS["empty"]}, ("trading", checks))["empty"]
    assert [told[f"said_{number}"]["failed"] for number in range(len(given))] == [False, True, True]
    assert "/etc/trading/engine-alpha.toml: with partitions each command line" in told["said_1"]["msg"]


def test_one_engine_that_needs_a_restart_is_not_forgotten_for_the_next_and_none_refuses_those_that_go(
    tmp_path: Path,
) -> None:
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
    told = run(tmp_path, {"empty": HOSTS["empty"]}, ("trading", [*plays, keep]))["empty"]
    assert told == {"touched": True, "said_refuse": "trading-engine@*.service", "touched_last": "remove"}


def test_verify_of_one_partition_passes_by_hosts_that_do_not_have_that(tmp_path: Path) -> None:
    slo = ROOT / "roles/slo"
    (check, *_rest) = yaml.safe_load((slo / "tasks/partitions.yml").read_text(encoding="utf-8"))
    asked = [
        {**check, "ignore_errors": True, "register": f"said_{name}", "vars": {"slo_partition": name}}
        for name in ("alpha", "beta", "gamma")
    ]
    hosts = {name: {"ansible_connection": "local", "trading_partitions": NAMED} for name in ("host-1", "host-2")}
    told = run(tmp_path, hosts, ("trading", asked), role=slo)
    failed = {name: [key for key, of in told[name].items() if of.get("failed")] for name in hosts}
    assert failed == {"host-1": ["said_gamma"], "host-2": ["said_gamma"]}


def test_a_dry_run_reads_units_configuration_and_book_and_refuses_what_is_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "units/trading-engine@alpha.service").touch()
    (tmp_path / "etc/trading").mkdir(parents=True)
    (tmp_path / "etc/trading/engine-alpha.toml").write_text('[[symbol]]\nname = "TEST"\n', encoding="utf-8")
    for name, text in (("engine", """echo '{"gauges": {"open_orders": 2}}'"""), ("systemctl", "echo enabled")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    text = (ROLE / "tasks/partitions_open.yml").read_text(encoding="utf-8")
    for real, stand_in in (
        ("/etc/systemd/system", f"{tmp_path}/units"),
        (
            "{{ (item | lowlatency.trading.partition_names).config }}",
            f"{tmp_path}{{{{ (item | lowlatency.trading.partition_names).config }}}}",
        ),
        ("/opt/trading/current/bin/trading-engine", f"{tmp_path}/engine"),
        ("[systemctl,", f"[{tmp_path}/systemctl,"),
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
    gone.update({"check_mode": True, "register": "said_gone"})
    left = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "trading_partitions": [],
        "trading_partitions_left": "remove",
    }
    told = run(tmp_path, {"left": left}, ("trading", [*tasks, gone]))["left"]
    (refused,) = said({"said_open": told["said_open"]})
    assert "trading-engine@alpha.service of left is to give up TEST, and its book is open (2 orders)" in refused
    assert [each["item"] for each in told["said_gone"]["results"]] == [
        "/etc/systemd/system/trading-feed@alpha.service",
        "/etc/systemd/system/trading-engine@alpha.service",
        "/etc/trading/engine-alpha.toml",
        "/etc/trading/accounts-alpha.toml",
    ]
