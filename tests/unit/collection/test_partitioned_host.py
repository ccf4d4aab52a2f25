"""The roles write files for a host with two partitions. The engine and systemd must accept these files."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from trading_engine.settings import config, passwords

from tests.unit.collection.plays import LOAD, of_role

ROOT = Path(__file__).parents[3]
ROLES = ROOT / "roles"
PARTITIONS: list[dict[str, Any]] = [
    {"name": "alpha", "symbols": ["TEST", "AAPL"]},
    {"name": "beta", "symbols": ["MSFT"], "accounts": ["DESK1"], "feed_port": 9500},
]
UNITS = "etc/systemd/system"
WRITTEN = {
    f"trading_engine/templates/{UNITS}/trading-engine.service.j2": "engine@{}.service",
    f"trading_engine/templates/{UNITS}/trading-feed.service.j2": "feed@{}.service",
    "trading_engine/templates/etc/trading/engine.toml.j2": "engine-{}.toml",
    "telemetry/templates/etc/trading/telemetry.toml.j2": "telemetry-{}.toml",
}


SHOWN = {
    "firewall": "{{ __hardening_ports.clients }}",
    "units": "{{ __trading_engine_parts | map(attribute='unit') }}",
    "health": "{{ __slo_health_url }}",
    "measured": "{{ __slo_measured_partitions | map(attribute='unit') }}",
    "problems": "{{ __trading_engine_partition_problems if trading_partitions else [] }}",
    "preflight": "{{ __aws_preflight_partition_problems }}",
    "engines": "{{ os_tuning_engines }}",
    "slo_units": "{{ __slo_units }}",
    "network": "{{ __aws_network_client_rule.ports }}",
    "group": "{{ __aws_readiness_declared[1].ports }}",
    "ready_units": "{{ __readiness_units }}",
    "ready_logged": "{{ __readiness_logged }}",
    "ready_clients": "{{ __readiness_ports.clients }}",
    "ready_feeds": "{{ __readiness_feed_ports }}",
    "ready_commands": "{{ __readiness_status_commands }}",
    "ready_reports": "{{ __readiness_report_files | map('basename') }}",
    "people": "{{ __hardening_people_drop_in }}",
    "people_gone": "{{ __hardening_people_drop_ins }}",
    "asked": "{{ __trading_engine_questions }}",
    "looked_at": "{{ __trading_engine_units }}",
    "wanted_ports": "{{ __trading_engine_wanted_ports }}",
    "tried_ports": "{{ __trading_engine_client_ports }}",
    "ready_sessions": "{{ [__readiness_sessions, __readiness_is_idle] }}",
}
STATUS = ["/opt/trading/current/bin/trading-engine", "status", "--config"]
GIVEN = {
    "trading_engine_accounts": [{"name": "BENCH"}, {"name": "DESK1"}],
    "trading_engine_settings": {"journal": {"durability": "disk"}},
    "__trading_engine_places": {"results": []},
    "__readiness_counted": {"results": [{"sessions_open": 0}, {"sessions_open": 2}]},
    "__readiness_subscribed": {"rc": 0, "stdout_lines": []},
    "aws_preflight_type": {"cores": 2, "availability_zones": ["us-east-1a", "us-east-1b"]},
    "trading_environment": "demo",
    "trading_client_cidrs": ["203.0.113.0/24"],
}


def tasks(folder: Path, partitions: list[dict[str, Any]], planned: int = 1) -> list[dict[str, Any]]:
    """Return tasks that print the files of each partition, and the values of the expressions in SHOWN.

    Without partitions, they print the files of the only engine. `planned` is the planned number of instances.
    """
    folder.mkdir()
    variables = {"trading_partitions": partitions, "trading_instance_count": planned}
    files = [
        printed(
            {
                folder / target.format(name): f"{{{{ lookup('ansible.builtin.template', '{ROLES}/{template}') }}}}"
                for template, target in WRITTEN.items()
            },
            {**variables, "__trading_engine_partition": name},
        )
        for name in [partition["name"] for partition in partitions] or [""]
    ]
    return [*files, printed({folder / "shown.json": SHOWN}, variables)]


def printed(files: Mapping[Path, object], variables: dict[str, Any]) -> dict[str, Any]:
    """Return a task that prints the content of files. `write_printed` later writes these files.

    Modules that write files would take most of the test's time.
    """
    content = {str(path): of for path, of in files.items()}
    return {"name": "Print", "ansible.builtin.debug": {"msg": content}, "vars": variables}


def write_printed(output: str) -> None:
    """Write files. A play has printed their paths and their content, and `output` is what it has printed."""
    for text in output.split("ok: [localhost] => ")[1:]:
        for path, content in json.JSONDecoder().raw_decode(text)[0]["msg"].items():
            Path(path).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def other(folder: Path, name: str, show: dict[str, str], **variables: Any) -> dict[str, Any]:
    """Return a task that prints the values of the expressions `show`.

    `variables` are added to the usual variables, or replace them.
    """
    given = {"trading_partitions": PARTITIONS, "trading_instance_count": 1, **variables}
    return printed({folder / f"{name}.json": show}, given)


LOOSE = [{**partition, "pinned": False} for partition in PARTITIONS]
THREADS = {"engine": [1, 2, 3, 5, 6, 7], "engine_cores": [[1, 5], [2, 6], [3, 7]], "telemetry": [0, 4]}
PROBLEMS = {"problems": "{{ __trading_engine_partition_problems }}"}
CANARY = {"canary": "{{ __trading_engine_settings.canary.symbol }}"}
PREFLIGHT = {"preflight": SHOWN["preflight"]}
PLACED = [
    {**PARTITIONS[0], "hosts": ["trading-demo-1"], "zone": "us-east-1a"},
    {**PARTITIONS[1], "hosts": ["trading-demo-2"], "zone": "us-east-1b", "type": "c6g.medium"},
]
ELSEWHERE = {"trading_availability_zone": "us-east-1b", "trading_instance_type": "c6g.large"}
ONE_ENGINE = ["trading-engine.service", "trading-feed.service", "telemetry.service"]
NO_FEED = ["trading-engine.service", "telemetry.service"]


def others(folder: Path) -> list[dict[str, Any]]:
    beta = "{{ slo_partitions | selectattr('name', 'eq', 'beta') | first }}"
    return [
        other(folder, "beta", {key: SHOWN[key] for key in ("health", "slo_units")}, __slo_partition=beta),
        other(folder, "no-feed", {"units": SHOWN["slo_units"]}, __slo_partition=beta, slo_units=NO_FEED),
        other(folder, "loose", {"engines": SHOWN["engines"]}, trading_partitions=LOOSE),
        *(
            other(
                folder,
                f"threads-{name}",
                {"cpus": "{{ __trading_engine_cpus }}"},
                os_tuning_layout=THREADS,
                __trading_engine_partition=name,
            )
            for name in ("alpha", "beta")
        ),
        other(folder, "old", PROBLEMS, trading_engine_port=7001, trading_engine_canary_symbol="AAPL"),
        other(
            folder, "off", {**CANARY, **PROBLEMS}, trading_engine_canary_symbol="", __trading_engine_partition="alpha"
        ),
        other(folder, "on", CANARY, __trading_engine_partition="alpha"),
        other(folder, "placed", PREFLIGHT, trading_partitions=PLACED, trading_instance_count=2, trading_zone_count=2),
        other(folder, "misplaced", PREFLIGHT, trading_partitions=PLACED, trading_instance_count=2, **ELSEWHERE),
    ]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render all files in one play. Return the folder with the files of two hosts.

    One host has two partitions, and the other has none.
    """
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "files").symlink_to(ROLES / "trading_engine/files")
    roles = ("aws_network", "aws_preflight", "aws_readiness", "hardening", "os_tuning", "readiness", "slo")
    playbook = {
        "hosts": "trading",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "os_tuning_layout": {"engine": [2, 3], "telemetry": [1]},
            **{
                key: of for name in (*roles, "telemetry", "trading_engine") for key, of in of_role(ROLES / name).items()
            },
        },
        "tasks": [
            *tasks(folder / "two", PARTITIONS),
            *tasks(folder / "none", []),
            *tasks(folder / "planned", PARTITIONS, 2)[-1:],
            *others(folder / "two"),
        ],
    }
    (folder / "play.yml").write_text(json.dumps([LOAD, playbook]), encoding="utf-8")
    (folder / "hosts").write_text("[trading]\nlocalhost\n", encoding="utf-8")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [program, "-i", f"{folder}/hosts", "-e", json.dumps(GIVEN), f"{folder}/play.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    write_printed(done.stdout)
    return folder


@pytest.fixture
def host(hosts: Path) -> Path:
    return hosts / "two"


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def told(host: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((host / f"{name}.json").read_text(encoding="utf-8"))
    return read


def configured(host: Path, name: str) -> config.EngineConfig:
    """Return the partition's configuration as the engine reads it. The test adds an account."""
    hashed = passwords.hash_password("secret")
    (host / "accounts.toml").write_text(f'[accounts.BENCH]\npassword = "{hashed}"\n', encoding="utf-8")
    text = (host / f"engine-{name}.toml").read_text(encoding="utf-8")
    path = host / f"read-{name}.toml"
    path.write_text(text.replace(f"/etc/trading/accounts-{name}.toml", "accounts.toml"), encoding="utf-8")
    return config.read(path)


def test_each_engine_has_its_symbols_ports_and_places(host: Path) -> None:
    alpha, beta = configured(host, "alpha"), configured(host, "beta")
    assert [symbol.name for symbol in alpha.symbols] == ["TEST", "AAPL"]
    assert [symbol.name for symbol in beta.symbols] == ["MSFT"]
    assert [alpha.order_entry.port, alpha.market_data.port] == [9001, 9002]
    assert [beta.order_entry.port, beta.market_data.port] == [9011, 9500]
    assert (alpha.canary_symbol, beta.canary_symbol) == ("TEST", "")
    assert beta.journal.durability == "disk", "what is said for all engines holds for each"
    own = [
        (str(each.journal.directory), str(each.itch.directory), str(each.shared_memory), str(each.admin_socket))
        for each in (alpha, beta)
    ]
    assert own[0] == (
        "/var/lib/trading/alpha/journal",
        "/var/lib/trading/alpha/itch",
        "/run/trading/engine-alpha.shm",
        "/run/trading/admin-alpha.sock",
    )
    assert own[1] == tuple(place.replace("alpha", "beta") for place in own[0])


def test_each_engine_has_a_cpu_of_the_layout_and_the_feeds_the_telemetry_s(host: Path) -> None:
    assert "CPUAffinity=2" in lines(host / "engine@alpha.service")
    assert "CPUAffinity=3" in lines(host / "engine@beta.service")
    assert "CPUAffinity=1" in lines(host / "feed@beta.service")


def test_each_unit_runs_on_its_file_and_follows_its_engine(host: Path) -> None:
    engine, feed = lines(host / "engine@beta.service"), lines(host / "feed@beta.service")
    assert "ExecStart=/opt/trading/current/bin/trading-engine --config /etc/trading/engine-beta.toml" in engine
    assert "Wants=trading-feed@beta.service" in engine
    assert "StateDirectory=trading trading/beta trading/beta/journal trading/beta/itch" in engine
    assert not [line for line in engine if line.startswith("Alias=")], "there would be two of that name"
    assert "ExecStart=/opt/trading/current/bin/trading-feed --config /etc/trading/engine-beta.toml" in feed
    assert "After=trading-engine@beta.service" in feed
    assert "RequiresMountsFor=/var/lib/trading/beta/itch" in feed


def test_telemetry_reads_each_partition_and_none_besides(host: Path) -> None:
    read = tomllib.loads((host / "telemetry-alpha.toml").read_text(encoding="utf-8"))
    assert read["partitions"] == [
        {"name": "alpha", "path": "/run/trading/engine-alpha.shm"},
        {"name": "beta", "path": "/run/trading/engine-beta.shm"},
    ]
    assert "shared_memory" not in read


def test_firewall_and_verification_follow_the_partitions(host: Path) -> None:
    shown = json.loads((host / "shown.json").read_text(encoding="utf-8"))
    assert shown["firewall"] == [9001, 9002, 9011, 9500]
    assert sorted(shown["network"]) == shown["firewall"]
    assert shown["units"] == ["trading-engine@alpha.service", "trading-engine@beta.service"]
    assert shown["measured"] == shown["units"]
    assert shown["problems"] == []
    assert shown["health"].endswith(":8000/health")
    beta = told(host, "beta")
    assert beta["health"].endswith(":8000/health?partition=beta"), "another partition's trouble is not this one's"
    assert beta["slo_units"] == ["trading-engine@beta.service", "trading-feed@beta.service", "telemetry.service"]
    assert shown["people"] == "/etc/systemd/system/trading-engine@.service.d/people.conf"
    assert told(host, "no-feed")["units"] == ["trading-engine@beta.service", "telemetry.service"]


def test_engines_share_no_core_and_what_is_not_pinned_reserves_none(host: Path) -> None:
    assert told(host, "threads-alpha")["cpus"] == [1, 5]
    assert told(host, "threads-beta")["cpus"] == [2, 6, 3, 7]
    assert told(host, "shown")["engines"] == 2
    assert told(host, "loose")["engines"] == 0


def test_a_name_that_firewall_and_network_do_not_follow_is_refused(host: Path) -> None:
    assert told(host, "old")["problems"] == [
        "trading_engine_port, which is trading_order_port for all roles, does not know partitions yet: "
        "leave it out, or trading_partitions (docs/scale.md)",
        "trading_engine_canary_symbol, which is each partition's test_symbol, does not know partitions yet: "
        "leave it out, or trading_partitions (docs/scale.md)",
    ]


def test_the_canary_is_off_where_no_symbol_is_said_for_it(host: Path) -> None:
    assert told(host, "off") == {"canary": "", "problems": []}
    assert told(host, "on") == {"canary": "TEST"}


def test_the_plan_is_refused_where_it_has_too_few_hosts_or_cores_before_there_is_one(hosts: Path) -> None:
    backup = "trading_backup: bucket does not know partitions yet (docs/scale.md)"
    shown = json.loads((hosts / "two/shown.json").read_text(encoding="utf-8"))
    assert shown["preflight"] == [
        "host trading-demo-1 has more partitions than c6g.medium has cores for (2, one of them for everything else)",
        backup,
    ]
    shown = json.loads((hosts / "planned/shown.json").read_text(encoding="utf-8"))
    assert shown["preflight"] == [
        "partition alpha is on none of the hosts trading-demo-1, trading-demo-2",
        "partition beta is on none of the hosts trading-demo-1, trading-demo-2",
        "host trading-demo-1 has no partition",
        "host trading-demo-2 has no partition",
        backup,
    ]


def test_a_partition_s_zone_and_type_are_those_of_its_host_or_refused_before_there_is_one(host: Path) -> None:
    backup = "trading_backup: bucket does not know partitions yet (docs/scale.md)"
    assert told(host, "placed")["preflight"] == [backup]
    assert told(host, "misplaced")["preflight"] == [
        "partition beta is to be on a c6g.medium, and all hosts are c6g.large (trading_instance_type): "
        "make both the same",
        "partition alpha is to be in zone us-east-1a, and its host would be in us-east-1b "
        "(trading_availability_zone, trading_zone_count)",
        backup,
    ]


def test_readiness_asks_each_engine_and_who_is_connected_to_one_is_connected(hosts: Path) -> None:
    shown = told(hosts / "two", "shown")
    assert sorted(shown["group"]) == sorted(shown["ready_clients"]) == shown["firewall"]
    assert shown["ready_feeds"] == [9002, 9500]
    assert shown["ready_commands"] == [[*STATUS, f"/etc/trading/engine-{name}.toml"] for name in ("alpha", "beta")]
    assert shown["ready_units"] == [
        *("trading-engine@alpha.service", "trading-engine@beta.service"),
        *("trading-feed@alpha.service", "trading-feed@beta.service", "telemetry.service"),
    ]
    assert shown["ready_logged"] == [unit.removesuffix(".service") for unit in shown["ready_units"]]
    assert shown["ready_reports"] == ["localhost-alpha.json", "localhost-beta.json"]
    assert shown["ready_sessions"] == [2, False]
    one = told(hosts / "none", "shown")
    assert one["ready_commands"] == [[*STATUS, "/etc/trading/engine.toml"]]
    assert one["ready_units"] == ONE_ENGINE
    assert one["ready_logged"] == ["trading-engine", "trading-feed", "telemetry"]
    assert (one["group"], one["ready_clients"], one["ready_feeds"]) == ([9001, 9002], [9001, 9002], [9002])
    assert one["ready_reports"] == ["localhost.json"]


def test_a_diagnosis_asks_each_engine(hosts: Path) -> None:
    shown = told(hosts / "two", "shown")
    assert shown["looked_at"] == [*shown["ready_units"], "trading-publish.service"]
    assert shown["wanted_ports"] == {
        "telemetry.service": 8000,
        "trading-engine@alpha.service": 9001,
        "trading-engine@beta.service": 9011,
        "trading-feed@alpha.service": 9002,
        "trading-feed@beta.service": 9500,
    }
    assert sorted(shown["tried_ports"]) == shown["firewall"]
    engine = STATUS[0]
    files = ["/etc/trading/engine-alpha.toml", "/etc/trading/engine-beta.toml"]
    for file in files:
        assert [*STATUS, file] in shown["asked"]
        assert [engine, "check-config", file] in shown["asked"]
    (cat,) = (command for command in shown["asked"] if command[0] == "cat" and "/etc/trading/slo.toml" in command)
    assert cat[1:3] == files
    one = told(hosts / "none", "shown")
    assert one["asked"][5:9] == [
        ["systemctl", "status", "--no-pager", "--full", *one["looked_at"]],
        [*STATUS, "/etc/trading/engine.toml"],
        [engine, "check-config", "/etc/trading/engine.toml"],
        [
            *("cat", "/etc/trading/engine.toml", "/etc/trading/telemetry.toml", "/etc/trading/slo.toml"),
            *("/etc/trading/slo_feed.toml", "/var/lib/os-tuning.json"),
        ],
    ]
    assert len(one["asked"]) == 14
    assert one["looked_at"] == [*one["ready_units"], "trading-publish.service"]
    assert one["tried_ports"] == [9001, 9002]
    assert one["wanted_ports"] == dict(zip(ONE_ENGINE, (9001, 9002, 8000), strict=True))


def test_without_partitions_the_files_are_those_of_one_engine(hosts: Path) -> None:
    host = hosts / "none"
    for path in sorted((Path(__file__).parent / "one_engine").iterdir()):
        assert (host / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), path.name
    shown = json.loads((host / "shown.json").read_text(encoding="utf-8"))
    assert shown["firewall"] == [9001, 9002]
    assert (shown["units"], shown["measured"]) == (["trading-engine.service"], [])
    assert shown["people"] == "/etc/systemd/system/trading-engine.service.d/people.conf"
    assert shown["people_gone"] == told(hosts / "two", "shown")["people_gone"], "a host may have had the other"
    assert len(set(shown["people_gone"])) == 2
    assert shown["engines"] == 1
