"""Readings are what is read about a host, from the output of programs and from /proc.

When there is no output, the readings are empty.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lowlatency.trading.plugins.filter.ways import ports_denied, ports_let_in
from ansible_collections.lowlatency.trading.plugins.module_utils.diagnosis import answers, load
from ansible_collections.lowlatency.trading.plugins.modules import host_readings_info, tcp_answers_info

# Output of the program ss in iproute2 6.1.
SOCKETS = """LISTEN 0      128          0.0.0.0:9001       0.0.0.0:*    users:(("trading-engine",pid=812,fd=9))
LISTEN 0      128             [::]:22            [::]:*
LISTEN 0      128    127.0.0.1%lo:53         0.0.0.0:*    users:(("odd \\"name",pid=3,fd=1))
"""


def test_who_listens_where() -> None:
    found = answers.listeners(SOCKETS)
    assert found["9001"] == [{"address": "0.0.0.0", "process": "trading-engine", "pid": 812}]
    assert found["22"] == [{"address": "[::]", "process": "", "pid": 0}]
    assert found["53"][0]["pid"] == 3


def test_a_units_state() -> None:
    text = "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=2\nNRestarts=4\nMainPID=0\nOther=1\n"
    found = answers.unit(text)
    assert found == {
        "load": "loaded",
        "active": "failed",
        "result": "exit-code",
        "status": 2,
        "restarts": 4,
        "pid": 0,
    }
    assert answers.unit("") == {}


RESTARTED = """{"INVOCATION_ID": "a", "_SYSTEMD_INVOCATION_ID": "of systemd", "MESSAGE": "Starting"}
{"_SYSTEMD_INVOCATION_ID": "b", "MESSAGE": "No module named 'uvloop'"}
{"INVOCATION_ID": "b", "MESSAGE": "Failed with result 'exit-code'."}
-- Boot --
{"INVOCATION_ID": "c", "MESSAGE": "Starting"}
"""


def test_the_newest_runs_of_a_unit() -> None:
    assert answers.newest_runs(RESTARTED, 2) == ["c", "b"]
    assert answers.newest_runs("", 2) == []


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        # Two units that are activating: one waits for its next start, and one is starting.
        ("ActiveState=activating\nSubState=auto-restart\nNRestarts=3\nInvocationID=b\n", ["c", "b"]),
        ("ActiveState=activating\nSubState=start\nNRestarts=3\nInvocationID=c\n", ["c", "b"]),
        # Three more units: one starts for the first time, one has failed and is not started again, and one runs.
        ("ActiveState=activating\nSubState=start\nNRestarts=0\nInvocationID=c\n", ["c"]),
        ("ActiveState=failed\nSubState=failed\nNRestarts=3\nInvocationID=b\n", ["b"]),
        ("ActiveState=active\nSubState=running\nNRestarts=3\nInvocationID=c\n", ["c"]),
        ("", []),
    ],
)
def test_of_a_unit_that_is_started_again_the_run_before_is_read_as_well(
    monkeypatch: pytest.MonkeyPatch, state: str, wanted: list[str]
) -> None:
    asked: list[tuple[str, ...]] = []

    def say(self: host_readings_info.Host, *command: str) -> str:
        asked.append(command)
        return state if command[0] == "systemctl" else RESTARTED if "--output=json" in command else "a line\n"

    monkeypatch.setattr(host_readings_info.Host, "say", say)
    found = host_readings_info.Host(None).unit("trading-engine.service")
    assert found["log"] == ["a line"]
    words = asked[-1]
    assert [word.partition("=")[2] for word in words if word.startswith("INVOCATION_ID=")] == wanted
    assert ("--unit=trading-engine.service" in words) == (not wanted)


def test_what_delays_packets_and_which_allowance_was_exceeded() -> None:
    qdiscs = '[{"kind":"mq","dev":"ens5"},{"kind":"netem","dev":"ens6","options":{"delay":{"delay":0.01}}}]'
    assert answers.delays(qdiscs) == {"ens6": 'netem {"delay": {"delay": 0.01}}'}
    assert answers.delays('Object "qdisc" is unknown') == {}
    statistics = (
        "NIC statistics:\n     tx_timeout: 0\n     pps_allowance_exceeded: 17\n     bw_in_allowance_exceeded: 0\n"
    )
    assert answers.allowances(statistics) == {"pps_allowance_exceeded": 17, "bw_in_allowance_exceeded": 0}


def test_the_clock_as_chrony_reports_it() -> None:
    # Output of chronyc 4.3 with the option -c. The first host has no time source, and the second uses the one of AWS.
    lost = "00000000,,0,0.0,-412.000000000,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n"
    found = answers.clock(lost)
    assert (found["offset_s"], found["synchronised"]) == (-412.0, False)
    kept = "A9FEA97B,169.254.169.123,4,1795448948.1,0.000001200,0.0,0.0,1.0,0.0,0.1,0.0003,0.0002,16.2,Normal\n"
    assert answers.clock(kept)["source"] == "169.254.169.123"
    assert answers.clock(kept)["synchronised"] is True
    assert answers.clock("506 Cannot talk to daemon\n") == {}


def test_what_a_firewall_refused() -> None:
    text = '{"nftables": [{"metainfo": {}}, {"counter": {"name": "unknown_source", "packets": 5, "bytes": 300}}]}'
    assert answers.refused(text) == {"unknown_source": 5}
    assert answers.refused("") == {}


def test_a_process_that_takes_a_processor_is_seen_with_its_name_and_where_it_may_run() -> None:
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b'odd) (\\xfc', 0, 0, 0)\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as hog:
        try:
            assert hog.stdout is not None
            hog.stdout.readline()
            before, begun_s = load.look(), time.monotonic()
            while load.look().processes[hog.pid].ticks <= before.processes[hog.pid].ticks:
                assert hog.poll() is None
            after = load.look()
            found = load.difference(before, after, time.monotonic() - begun_s, 100)
        finally:
            hog.kill()
    assert after.processes[hog.pid].name == "odd) (\udcfc"
    assert after.processes[hog.pid].cpus
    assert set(found["cpus"]) == {str(cpu) for cpu in before.cpus}
    assert hog.pid in [process["pid"] for process in found["processes"]]


def test_a_list_of_processors() -> None:
    assert load.numbers_of("0-2,5") == [0, 1, 2, 5]
    assert load.numbers_of("") == []


def test_a_setting_that_is_not_in_force_is_named(tmp_path: Path) -> None:
    (tmp_path / "net/core").mkdir(parents=True)
    (tmp_path / "net/core/busy_poll").write_text("0\n")
    (tmp_path / "net/core/range").write_text("1\t2\n")
    knobs = [
        {"name": "net.core.busy_poll", "status": "in_force", "value": "50"},
        {"name": "net.core.range", "status": "in_force", "value": "1 2"},
        {"name": "net.core.busy_poll", "status": "unsupported", "value": "9"},
        {"name": "cpu_governor", "status": "in_force", "value": "performance"},
        {"name": "net.core.missing", "status": "in_force", "value": "1"},
        {"name": "net.core.higher", "status": "in_force", "value": "1", "reason": "the host has more already"},
    ]
    (tmp_path / "net/core/higher").write_text("2\n")
    assert host_readings_info.governor_of({"knobs": knobs}) == "performance"
    assert host_readings_info.governor_of({}) == ""
    assert host_readings_info.drift({"knobs": knobs}, tmp_path) == ["net.core.busy_poll is 0 instead of 50"]


def test_a_host_is_read_whatever_it_lacks(
    run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_readings_info, "_TUNING_REPORT", Path("/nonexistent"))
    report = run_module(
        "host_readings_info", units=["nonsense.service"], places=["/", "/nonexistent"], seconds=0,
        status_command=["/nonexistent/trading-engine"],
        status_commands={"alpha": ["echo", '{"failure": ""}'], "beta": ["/nonexistent/trading-engine"]},
    )  # fmt: skip
    readings = report["readings"]
    assert not report["changed"]
    assert 0 <= readings["places"]["/"]["free"] <= 1
    assert readings["places"]["/nonexistent"] == {}
    assert (readings["engine"], readings["drift"]) == ({}, [])
    assert readings["engines"] == {"alpha": {"failure": ""}, "beta": {}}


def test_a_port_that_refuses_is_told_from_one_that_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        ports = [server.getsockname()[1], taken.getsockname()[1]]
        answered = tcp_answers_info.observe("127.0.0.1", ports)
    assert list(answered.values()) == ["open", "refused"]
    assert "not known" in tcp_answers_info.answer("host.invalid", 1)


def test_a_port_to_which_packets_are_dropped_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(*_arguments: object, **_named: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", dropped)
    assert tcp_answers_info.observe("192.0.2.1", [9001]) == {"9001": "silent"}


def test_which_ports_security_groups_let_in() -> None:
    groups = [
        {"ip_permissions": [{"ip_protocol": "tcp", "from_port": 22, "to_port": 22}]},
        {"ip_permissions": [{"ip_protocol": "udp", "from_port": 9001, "to_port": 9001}]},
        {"ip_permissions": [{"ip_protocol": "tcp", "from_port": 8000, "to_port": 8010}]},
    ]
    assert ports_let_in(groups, [22, 8000, 9001]) == ["22", "8000"]
    assert ports_let_in([{"ip_permissions": [{"ip_protocol": "-1"}]}], [22]) == ["22"]
    assert ports_let_in([], [22]) == []


def test_the_acls_lowest_rule_decides() -> None:
    acl = {
        "ingress": [
            [100, "all", "allow", "0.0.0.0/0", None, None, None, None],
            [90, "tcp", "deny", "0.0.0.0/0", None, None, 9001, 9002],
            [80, "tcp", "deny", "198.51.100.0/24", None, None, 22, 22],
        ]
    }
    assert ports_denied([acl], [22, 8000, 9001]) == ["9001"]
    assert ports_denied([], [22]) == []
