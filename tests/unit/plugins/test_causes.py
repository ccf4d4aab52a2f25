"""The diagnosis names the cause of each fault first. It names no cause for a host without a fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.filter.causes import causes_table, likely_causes

Readings = dict[str, Any]


def unit(pid: int, **changes: Any) -> dict[str, Any]:
    """Return what the diagnosis reads about a running systemd unit. `changes` replaces some of these values."""
    running = {"load": "loaded", "active": "active", "sub": "running", "result": "success", "status": 0, "restarts": 0}
    return {**running, "pid": pid, "enabled": "enabled", "log": [], **changes}


def failed(*log: str) -> dict[str, Any]:
    return unit(0, active="activating", sub="auto-restart", result="exit-code", status=2, restarts=7, log=list(log))


HEALTHY: Readings = {
    "units": {
        "trading-engine.service": unit(10),
        "trading-feed.service": unit(11),
        "telemetry.service": unit(12),
        "trading-publish.service": unit(13),
    },
    "wanted_ports": {"trading-engine.service": 9001, "trading-feed.service": 9002, "telemetry.service": "8000"},
    "places": {"/var/lib/trading": {"free": 0.5, "free_inodes": 0.9, "read_only": False}, "/nowhere": {}},
    "ports": {
        "22": [{"address": "0.0.0.0", "process": "sshd", "pid": 1}],
        "8000": [{"address": "0.0.0.0", "process": "python3", "pid": 12}],
        "9001": [{"address": "0.0.0.0", "process": "python3", "pid": 10}],
        "9002": [{"address": "0.0.0.0", "process": "python3", "pid": 11}],
    },
    "ways": {"22": "open", "8000": "open", "9001": "open", "9002": "open"},
    "client_ports": ["9001", "9002"],
    "refused_before": {"unknown_source": 3},
    "firewall": {"loaded": True, "refused": {"unknown_source": 3}},
    "cpus": {"0": {"user": 0.1, "steal": 0.0, "softirq": 0.01}, "1": {"user": 0.3, "steal": 0.001, "softirq": 0.02}},
    "cpus_of": {"trading-engine.service": [1]},
    "processes": [
        {"pid": 10, "name": "trading-engine", "cpu": 0.6, "bytes_per_s": 90 << 20, "last_cpu": 1, "cpus": [1]},
        {"pid": 99, "name": "backup", "cpu": 0.4, "bytes_per_s": 0, "last_cpu": 0, "cpus": [0]},
    ],
    "links": {"ens5": {"delay": "", "exceeded": {"bw_in_allowance_exceeded": 0}}},
    "clock": {"source": "169.254.169.123", "offset_s": 0.000012, "dispersion_s": 0.0002, "synchronised": True},
    "kernel_log": [],
    "drift": [],
    "files": [],
    "tuned_governor": "performance",
    "governors": {"0": "performance", "1": "performance"},
    "engine": {"failure": "", "counters": {"stalls_gc": 0}, "gauges": {"stall_max_ns": 0}},
}

ENGINE = "trading-engine.service"


def set_engine(*log: str) -> Callable[[Readings], None]:
    def plant(host: Readings) -> None:
        host["units"][ENGINE] = failed(*log)
        del host["ports"]["9001"]
        host["engine"] = {}

    return plant


def publisher(*log: str) -> Callable[[Readings], None]:
    return lambda host: host["units"]["trading-publish.service"].update(log=list(log))


def full_disk(host: Readings) -> None:
    set_engine("/var/lib/trading/journal: No space left on device")(host)
    host["places"]["/var/lib/trading"]["free"] = 0.0


def taken_port(host: Readings) -> None:
    set_engine("0.0.0.0:9001: Address already in use")(host)
    host["ports"]["9001"] = [{"address": "0.0.0.0", "process": "nc", "pid": 77}]


def closed_firewall(host: Readings) -> None:
    host["ways"]["8000"] = "silent"
    host["firewall"]["refused"]["unknown_source"] = 6


def closed_group(host: Readings) -> None:
    host["ways"]["9001"] = "silent"
    host["ports_of_group"] = ["22", "8000"]


def closed_acl(host: Readings) -> None:
    closed_group(host)
    host["ports_denied"] = ["9001"]


def hog(host: Readings) -> None:
    host["processes"].append({"pid": 5, "name": "sh", "cpu": 0.98, "bytes_per_s": 0, "last_cpu": 1, "cpus": [1]})


def delayed(host: Readings) -> None:
    host["links"]["ens5"]["delay"] = 'netem {"delay": {"delay": 0.01}}'


def clock_off(host: Readings) -> None:
    host["clock"] = {"source": "", "offset_s": -412.0, "dispersion_s": 1.0, "synchronised": False}


def stopped(host: Readings) -> None:
    host["units"][ENGINE] = unit(0, active="inactive", sub="dead")
    del host["ports"]["9001"]
    host["ways"]["9001"] = "refused"
    host["engine"] = {}


def drifted(host: Readings) -> None:
    host["drift"] = ["net.core.busy_poll is 0 instead of 50"]


def slow_governor(host: Readings) -> None:
    host["governors"]["1"] = "powersave"


def on_loopback(host: Readings) -> None:
    host["ports"]["8000"] = [{"address": "127.0.0.1", "process": "python3", "pid": 12}]
    host["ways"]["8000"] = "refused"


def latched(host: Readings) -> None:
    host["engine"]["failure"] = "journal write: [Errno 28] No space left on device"


def dropped_before(host: Readings) -> None:
    host["ways"]["8000"] = "silent"
    host["ports_of_group"] = ["8000"]


def stolen(host: Readings) -> None:
    host["cpus"]["1"]["steal"] = 0.12


def interrupts(host: Readings) -> None:
    host["cpus"]["1"]["softirq"] = 0.4


def exceeded(host: Readings) -> None:
    host["links"]["ens5"]["exceeded"]["bw_in_allowance_exceeded"] = 12


def busy_disk(host: Readings) -> None:
    host["processes"][1]["bytes_per_s"] = 200 << 20


def out_of_memory(host: Readings) -> None:
    host["kernel_log"] = ["Out of memory: Killed process 812 (python3)"]


def failed_device(host: Readings) -> None:
    host["kernel_log"] = ["EXT4-fs error (device nvme1n1): ext4_journal_check_start"]
    host["places"]["/var/lib/trading"]["read_only"] = True


def stalls(host: Readings) -> None:
    host["engine"].update(counters={"stalls_gc": 3}, gauges={"stall_max_ns": 4_200_000})


def event(what: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"logical_resource_id": what, "resource_status": status, "resource_status_reason": reason}


def stack(*newest_first: dict[str, Any]) -> Callable[[Readings], None]:
    """Return a function that adds events of a CloudFormation stack to what was read about a host.

    The events also contain an earlier attempt, which failed for another reason.
    """
    begun = event("trading-demo", "CREATE_IN_PROGRESS", "User Initiated")
    earlier = event("Vpc", "CREATE_FAILED", "an earlier attempt's reason")
    return lambda host: host.update(stack_name="trading-demo", stack_events=[*newest_first, begun, earlier])


CANCELLED = event("Subnet", "CREATE_FAILED", "Resource creation cancelled")
REFUSED = event("Role", "CREATE_FAILED", "User is not authorized to perform: iam:CreateRole on resource: role/x")
FULL = event("Host", "CREATE_FAILED", "You have requested more vCPU capacity than (VcpuLimitExceeded)")
BROKEN = event("Bucket", "CREATE_FAILED", "trading-demo already exists")


def used_up(host: Readings) -> None:
    row = {"name": "vcpus", "code": "L-1216C47A", "counts": "vCPUs of running standard on-demand instances"}
    host["quotas"] = [
        {**row, "limit": 5.0, "used": 5, "left": 0},
        {**row, "code": "L-1", "limit": 5.0, "used": 4, "left": 1},
    ]


FAULTS: list[tuple[str, str, Callable[[Readings], None], str]] = [
    ("does not start", "a disk is full", full_disk, "0.0% of the room is free"),
    (
        "does not start",
        "files have other owners or modes than declared",
        set_engine("/etc/trading/engine.toml: Permission denied"),
        "Permission denied",
    ),
    ("does not start", "another program has the port", taken_port, "nc (77) listens on 0.0.0.0:9001"),
    ("cannot connect", "the host's firewall refuses the controller's network", closed_firewall, "3 (unknown_source)"),
    ("cannot connect", "the security group does not let port 9001 in", closed_group, "lets in 22, 8000"),
    ("cannot connect", "the subnet's network ACL refuses port 9001", closed_acl, "denies TCP 9001"),
    ("high latency", "another process takes the engine's CPU", hog, "sh (5) takes 98% of a CPU"),
    ("high latency", "packets are held back on purpose", delayed, "netem"),
    ("deployment failed", "the clock is off", clock_off, "-412.000 s, not synchronised, source none"),
    (
        "does not start",
        "the journal is damaged",
        set_engine("000000000001.journal, offset 958: damaged record, with 10539 bytes after it."),
        "offset 958",
    ),
    (
        "does not start",
        "the release is not whole",
        set_engine("ModuleNotFoundError: No module named 'uvloop'"),
        "uvloop",
    ),
    ("cannot connect", "trading-engine.service is stopped", stopped, "is inactive (dead)"),
    (
        "deployment failed",
        "the host does not reach the AWS endpoint",
        publisher("Could not connect to the endpoint URL: https://monitoring.us-east-9.amazonaws.com/"),
        "us-east-9",
    ),
    (
        "deployment failed",
        "AWS refuses the host's role",
        publisher("An error occurred (AccessDenied) when calling the PutMetricData operation"),
        "AccessDenied",
    ),
    (
        "deployment failed",
        "AWS refuses the host's role",
        publisher("1 periods wait, next try in 1 s: Unable to locate credentials"),
        "Unable to locate",
    ),
    ("high latency", "the tuning is not in force", drifted, "net.core.busy_poll"),
    ("high latency", "the tuning is not in force", slow_governor, "CPU 1: powersave instead of performance"),
    ("cannot connect", "port 8000 listens on loopback alone", on_loopback, "127.0.0.1:8000"),
    ("cannot connect", "the engine has failed and answers nobody", latched, "No space left on device"),
    ("cannot connect", "something before the host drops packets to port 8000", dropped_before, "refused nothing"),
    ("high latency", "the hypervisor takes processor time", stolen, "CPU 1: 12.0% stolen"),
    ("high latency", "interrupts take processor time", interrupts, "CPU 1: 40.0%"),
    ("high latency", "the instance's network allowance was exceeded", exceeded, "bw_in_allowance_exceeded 12"),
    ("high latency", "another process keeps the disk busy", busy_disk, "backup (99) moves 210 MB/s"),
    ("high latency", "the kernel ended processes for memory", out_of_memory, "Killed process 812"),
    ("does not start", "a disk or its file system has failed", failed_device, "mounted read-only"),
    ("high latency", "the engine made others wait", stalls, "3 by gc"),
    (
        "deployment failed",
        "the stack's resources were refused for want of a permission",
        stack(event("trading-demo", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed"), CANCELLED, REFUSED),
        "Role CREATE_FAILED: User is not authorized to perform: iam:CreateRole",
    ),
    (
        "deployment failed",
        "the stack needs more than the account or the zone has",
        stack(CANCELLED, FULL),
        "VcpuLimitExceeded",
    ),
    ("deployment failed", "resources of the stack failed", stack(BROKEN), "Bucket CREATE_FAILED: trading-demo already"),
    ("deployment failed", "nothing is left of the quota L-1216C47A", used_up, "5 of 5 are used in this region"),
]


def test_a_host_without_a_fault_has_no_cause() -> None:
    assert likely_causes(HEALTHY) == []
    assert causes_table([]) == ["nothing that was looked at is out of order"]


@pytest.mark.parametrize(("symptom", "name", "plant", "line"), FAULTS, ids=[fault[1] for fault in FAULTS])
def test_a_planted_fault_is_named_first(symptom: str, name: str, plant: Callable[[Readings], None], line: str) -> None:
    host = copy.deepcopy(HEALTHY)
    plant(host)
    first = likely_causes(host, symptom)[0]
    assert first["name"] == name
    assert any(line in each for each in first["lines"]), first["lines"]
    table = causes_table(likely_causes(host))
    assert f"  1. {name}" in table
    assert f"     -> {first['do']}" in table


def test_a_port_of_clients_that_is_closed_to_the_controller_is_a_hint_only() -> None:
    host = copy.deepcopy(HEALTHY)
    stopped(host)
    host["ways"]["9002"] = "silent"
    host["ports_of_group"] = ["22", "8000"]
    found = likely_causes(host, "cannot connect")
    assert [cause["name"] for cause in found] == [
        "trading-engine.service is stopped",
        "the security group does not let port 9002 in",
    ]


def test_a_governor_that_nobody_set_is_none_of_ours() -> None:
    host = copy.deepcopy(HEALTHY)
    slow_governor(host)
    host["tuned_governor"] = ""
    assert likely_causes(host) == []


def test_what_an_earlier_attempt_at_the_stack_said_is_history() -> None:
    host = copy.deepcopy(HEALTHY)
    stack(event("trading-demo", "CREATE_COMPLETE"))(host)
    assert likely_causes(host) == []


def test_the_first_failure_of_a_stack_is_said_first_and_each_kind_apart() -> None:
    host = copy.deepcopy(HEALTHY)
    stack(event("B", "CREATE_FAILED", "second"), REFUSED, event("A", "CREATE_FAILED", "first"))(host)
    found = {cause["name"]: cause["lines"] for cause in likely_causes(host, "deployment failed")}
    assert found["resources of the stack failed"] == ("A CREATE_FAILED: first", "B CREATE_FAILED: second")
    assert len(found) == 2


def test_nothing_is_known_of_a_host_that_answers_nothing() -> None:
    assert likely_causes({}) == []


def test_a_symptom_that_is_none_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="'slow' is no symptom; there are high latency, does not start"):
        likely_causes(HEALTHY, "slow")


def test_what_stands_in_the_log_of_a_unit_that_runs_is_history() -> None:
    host = copy.deepcopy(HEALTHY)
    host["units"][ENGINE]["log"] = ["000000000001.journal, offset 958: damaged record"]
    assert likely_causes(host) == []


def two_engines() -> Readings:
    """Return what was read about a host without a fault. The host has two partitions and two CPUs."""
    host = copy.deepcopy(HEALTHY)
    units = host["units"]
    for kind, alpha, beta in (("engine", 10, 20), ("feed", 11, 21)):
        units[f"trading-{kind}@alpha.service"] = units.pop(f"trading-{kind}.service")
        units[f"trading-{kind}@beta.service"] = unit(beta)
        assert units[f"trading-{kind}@alpha.service"]["pid"] == alpha
    host["wanted_ports"] = {
        "telemetry.service": "8000",
        **{f"trading-{kind}@{name}.service": port for (kind, name), port in ENGINE_PORTS.items()},
    }
    host["ports"] |= {
        str(port): [{"address": "0.0.0.0", "process": "python3", "pid": units[f"trading-{kind}@{name}.service"]["pid"]}]
        for (kind, name), port in ENGINE_PORTS.items()
    }
    busy = {"pid": 20, "name": "trading-engine", "cpu": 0.9, "bytes_per_s": 90 << 20, "last_cpu": 1, "cpus": [0]}
    host["processes"].append(busy)
    return {
        **host,
        "partitions": ["alpha", "beta"],
        "cpus_of": {"trading-engine@alpha.service": [1], "trading-engine@beta.service": [0]},
        "engine": {},
        "engines": {"alpha": HEALTHY["engine"], "beta": copy.deepcopy(HEALTHY["engine"])},
    }


ENGINE_PORTS = {("engine", "alpha"): 9001, ("feed", "alpha"): 9002, ("engine", "beta"): 9011, ("feed", "beta"): 9012}


def of_two(plant: Callable[[Readings], object]) -> list[dict[str, Any]]:
    host = two_engines()
    plant(host)
    return likely_causes(host)


def test_two_healthy_engines_have_no_cause_and_one_is_no_stranger_to_the_other() -> None:
    host = two_engines()
    host["processes"] = [process for process in host["processes"] if process["pid"] in (10, 20)]
    assert likely_causes(host) == []


def test_a_cause_of_one_engine_names_its_partition_and_unit() -> None:
    stopped = unit(0, active="inactive", sub="dead", enabled="disabled")
    host = two_engines()
    host["processes"] = host["processes"][:1]
    host["units"]["trading-engine@beta.service"] = stopped
    host["ports"]["9011"] = [{"address": "0.0.0.0", "process": "nc", "pid": 77}]
    host["engines"]["alpha"] = {"failure": "fdatasync: no space"}
    found = {cause["name"]: cause for cause in likely_causes(host)}
    assert list(found) == [
        "beta: another program has the port",
        "alpha: the engine has failed and answers nobody",
        "beta: trading-engine@beta.service is stopped",
    ]
    assert found["beta: another program has the port"]["lines"] == ("nc (77) listens on 0.0.0.0:9011",)
    assert found["beta: trading-engine@beta.service is stopped"]["do"] == (
        "systemctl enable --now trading-engine@beta.service"
    )


def test_a_cause_of_the_host_is_told_once() -> None:
    def fill(host: Readings) -> None:
        host["places"]["/var/lib/trading"]["free"] = 0.001
        host["processes"] = host["processes"][:1]

    assert [cause["name"] for cause in of_two(fill)] == ["a disk is full"]


def test_of_a_host_with_one_partition_nothing_has_a_name_before_it() -> None:
    def leave(host: Readings) -> None:
        host["partitions"] = ["alpha"]
        host["processes"] = host["processes"][:1]
        host["units"]["trading-feed@alpha.service"].update(active="inactive", sub="dead")

    assert [cause["name"] for cause in of_two(leave)] == ["trading-feed@alpha.service is stopped"]
