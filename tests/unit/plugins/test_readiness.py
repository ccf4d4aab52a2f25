"""The lines of the readiness checklist.

The lines are computed from readings, that is, from what modules have read. Without a fault a line is "met", and with
its fault it is "failed". It is "not done" when the reading that it needs is missing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.lowlatency.trading.plugins.filter.readiness import (
    journal_lines,
    readiness_lines,
    readiness_open,
    readiness_table,
)

LINES = yaml.safe_load((Path(__file__).parents[3] / "files/readiness.yml").read_text(encoding="utf-8"))
IDS = [line["id"] for line in LINES]
NOW = 1_796_000_000.0
DAY_S = 86400
Readings = dict[str, Any]
Plant = Callable[[Readings, Readings], object]
"""A function that changes readings. Its arguments are the environment's readings and the host's readings."""


def health(**reasons: str) -> str:
    """Return the answer of /health as JSON.

    `reasons` has a reason for each check that is degraded. All other checks are ok.
    """
    names = ("engine", "journal", "journal_space", "clock", "certificate", "backup")
    good = {"journal_space": "12 % of the budget used", "certificate": "2, good for 30 days", "backup": "9 s behind"}
    checks = [
        {
            "name": name,
            "status": "degraded" if name in reasons else "ok",
            "reason": reasons.get(name) or good.get(name, ""),
        }
        for name in names
    ]
    return json.dumps({"status": "ok", "age_s": 0.1, "checks": checks})


def rule(port: int, *cidrs: str, **more: Any) -> dict[str, Any]:
    ranges = [{"cidr_ip": cidr} for cidr in cidrs]
    return {"ip_protocol": "tcp", "from_port": port, "to_port": port, "ip_ranges": ranges, **more}


def answer(with_token: int = 200, without: int = 401, said: str = "") -> dict[str, Any]:
    return {"with": with_token, "without": without, "said": said}


GENERATORS = {"user_id_group_pairs": [{"group_id": "sg-gen"}]}
HOST_GROUP = {
    "group_name": "trading-demo-host",
    "group_id": "sg-host",
    "ip_permissions": [
        rule(22, "198.51.100.7/32"),
        rule(8000, "198.51.100.7/32"),
        rule(9001, "203.0.113.0/24", **GENERATORS),
        rule(9002, "203.0.113.0/24", **GENERATORS),
    ],
}
ENVIRONMENT: Readings = {
    "network": {
        "group": "trading-demo-host",
        "generator_group": "trading-demo-generator",
        "groups": [HOST_GROUP, {"group_name": "trading-demo-generator", "group_id": "sg-gen", "ip_permissions": []}],
        "declared": [
            {"ports": [22, 8000], "cidrs": ["198.51.100.7/32"]},
            {"ports": [9001, 9002], "cidrs": ["203.0.113.0/24"]},
        ],
        "denied": [],
    },
    "topic": {"subscriptions": [{"endpoint": "ops@example.com", "subscription_arn": "arn:aws:sns:x:1:t:2"}]},
    "cost": {
        "month_usd": 36.5,
        "hour_usd": 0.05,
        "budget_usd": 40,
        "launched": ["2026-11-01T00:00:00+00:00", "2026-11-02T00:00:00+00:00"],
        "now": 1_793_491_200.0 + 100 * 3600,
    },
    "drill": {
        "path": "/s/drill-demo.json",
        "exists": True,
        "text": '{"at": "2026-11-30T04:26:40Z", "rto_seconds": 94.2, "rpo_seconds": 3,'
        ' "promised_rpo_seconds": 60, "lost_older_than_promised": 0}',
        "now": NOW + 2 * DAY_S,
    },
    "documents": {"pages": 19, "named": 40, "unknown_playbooks": [], "unknown_variables": []},
    "drift": {"outcome": "ok", "seconds": 40.0, "changes": [], "tasks": [{"outcome": "ok"}] * 7, "message": ""},
}
UNITS = ("trading-engine.service", "trading-feed.service", "telemetry.service", "trading-publish.service")
HOST: Readings = {
    "state": {
        "units": dict.fromkeys(UNITS, "active, enabled"),
        "health": {"status": 200, "text": health()},
        "sessions_open": 0,
    },
    "host": {
        "readings": {
            "ports": {
                "22": [{"address": "0.0.0.0"}, {"address": "[::]"}],
                "8000": [{"address": "0.0.0.0"}],
                "9001": [{"address": "0.0.0.0"}],
                "9002": [{"address": "*"}],
                "5355": [{"address": "127.0.0.53%lo"}],
            },
            "firewall": {"loaded": True, "refused": {}},
            "clock": {"offset_s": -0.00001, "synchronised": True, "source": "169.254.169.123"},
            "places": {"/var/lib/trading": {"free": 0.6, "free_inodes": 0.9, "read_only": False}, "/nowhere": {}},
        }
    },
    "ports": {"operators": [22, 8000], "clients": [9001, 9002], "firewall": True},
    "ways": {"answers": {"22": "open", "8000": "open", "9001": "open", "9002": "silent", "5355": "silent"}},
    "page": {
        "asks_for_token": True,
        "token_declared": True,
        "answers": {"/": answer(), "/metrics": answer(), "/health": answer(without=200)},
    },
    "feed": {
        "accepted": True,
        "answer": "login accepted",
        "session": "S1",
        "sequence": 7,
        "target": "203.0.113.9:9002",
    },
    "updates": {"security": [], "others": ["vim"], "reboot": False, "age_seconds": 3600.0},
    "people": {
        "declared": [{"name": "anna", "role": "deployer"}, {"name": "bert", "role": "observer"}],
        "made": ["anna", "bert", "carl"],
        "accounts": ["root", "anna", "bert"],
        "members": {
            "trading-observer": ["anna", "bert"],
            "trading-operator": ["anna"],
            "trading-deployer": ["anna"],
        },
    },
    "report": {
        "path": "/s/reports/demo-1.json",
        "exists": True,
        "age_seconds": 3600.0,
        "text": json.dumps(
            {
                "verdict": [
                    {"name": "health", "target": "200", "measured": "200", "verdict": "met", "note": ""},
                    {"name": "avg", "target": "< 500 µs", "measured": "125 µs", "verdict": "met", "note": ""},
                    {"name": "throughput", "target": "≥ 10000/s", "measured": "10499/s", "verdict": "met", "note": ""},
                ]
            }
        ),
    },
    "archive": {"path": "/s/backups/demo-1.tar.gz", "exists": False, "age_seconds": 0.0, "promised_seconds": DAY_S},
    "published": {
        "metrics": {
            "EngineUp": 42.0,
            "Throughput": 42.0,
            "MemoryUsed": 40.0,
            "DiskUsed": 42.0,
            "JournalSecondsLeft": None,
        },
        "lines": {"trading-engine": True, "telemetry": True},
    },
    "killed": {"units": {unit: {"seconds": 1.2, "problem": ""} for unit in UNITS}},
    "alarm": {"acted": True, "received": True, "seconds": 9.0, "composite": "trading-demo/demo-1/promise"},
}


def judged(plant: Plant | None = None) -> dict[str, dict[str, Any]]:
    """Compute the checklist from readings without a fault. Return its lines by their ids.

    `plant` can first add a fault to the readings.
    """
    environment, host = copy.deepcopy(ENVIRONMENT), copy.deepcopy(HOST)
    if plant:
        plant(environment, host)
    return {row["id"]: row for row in readiness_lines({"environment": environment, "hosts": {"demo-1": host}}, LINES)}


def states(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["state"] for name, row in rows.items()}


def test_everything_is_met_where_nothing_is_wrong() -> None:
    rows = judged()
    assert {name: row["evidence"] for name, row in rows.items() if row["state"] != "met"} == {}
    assert readiness_open(list(rows.values())) == []


def put(of: str, *path: str, value: Any) -> Plant:
    """Return a function that sets one value in the readings.

    `of` tells whose readings are changed: "environment" or "host". `path` has the keys that lead to the value.
    """

    def plant(environment: Readings, host: Readings) -> None:
        place = environment if of == "environment" else host
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return plant


def unhealthy(**reasons: str) -> Plant:
    return put("host", "state", "health", "text", value=health(**reasons))


def report(verdict: str) -> Plant:
    row = {"name": "p99", "target": "< 2000 µs", "measured": "2345 µs", "verdict": verdict, "note": ""}
    return put("host", "report", "text", value=json.dumps({"verdict": [row]}))


def archived(exists: bool, age_s: float = 0.0) -> Plant:
    def plant(_environment: Readings, host: Readings) -> None:
        host["state"]["health"]["text"] = health().replace('"backup"', '"other"')
        host["archive"].update(exists=exists, age_seconds=age_s)

    return plant


def drilled(**figures: int) -> Plant:
    record = json.loads(ENVIRONMENT["drill"]["text"])
    return put("environment", "drill", "text", value=json.dumps({**record, **figures}))


def group(*rules: dict[str, Any]) -> Plant:
    return lambda environment, _host: environment["network"]["groups"][0]["ip_permissions"].extend(rules)


TRIAL_QUEUE = {
    "endpoint": "arn:aws:sqs:us-east-1:1:trading-demo-trial-0badf00d",
    "protocol": "sqs",
    "subscription_arn": "arn:aws:sns:x:1:t:3",
}
FAULTS: list[tuple[str, Plant, str]] = [
    ("security_group", group(rule(9001, "0.0.0.0/0")), "port 9001 is open to 0.0.0.0/0, which nobody declared"),
    ("security_group", group(rule(22, user_id_group_pairs=[{"group_id": "sg-x"}])), "port 22 is open to sg-x"),
    ("security_group", group({**rule(0, "10.0.0.0/8"), "to_port": 65535}), "port 0 to 65535 is open to 10.0.0.0/8"),
    (
        "security_group",
        group({"ip_protocol": "-1", "ip_ranges": [{"cidr_ip": "10.0.0.0/8"}]}),
        "port everything is open",
    ),
    (
        "security_group",
        lambda environment, _host: environment["network"]["groups"][0]["ip_permissions"].pop(0),
        "port 22 is declared for 198.51.100.7/32, and not open",
    ),
    ("security_group", put("environment", "network", "denied", value=["8000"]), "a network ACL denies port 8000"),
    ("security_group", put("environment", "network", "groups", value=[]), "there is no security group"),
    ("ports", put("host", "ways", "answers", "8000", value="silent"), "port 8000 is silent from the controller"),
    ("ports", put("host", "ways", "answers", "9001", value="refused"), "port 9001 refuses"),
    ("ports", put("host", "ways", "answers", "5355", value="open"), "port 5355 answers the controller"),
    ("firewall", put("host", "host", "readings", "firewall", "loaded", value=False), "is not loaded"),
    ("firewall", put("host", "ports", "firewall", value=False), "hardening_firewall is false"),
    (
        "firewall",
        put("host", "host", "readings", "ports", "9002", value=[{"address": "127.0.0.1"}]),
        "nobody listens on port 9002 for other hosts",
    ),
    ("services", put("host", "state", "units", UNITS[1], value="active, disabled"), "is active, disabled"),
    ("services", put("host", "state", "health", "status", value=503), "/health answers 503"),
    (
        "killed",
        put("host", "killed", "units", UNITS[0], value={"seconds": 30.0, "problem": "not back after 30 s"}),
        "not back after 30 s",
    ),
    ("page", put("host", "page", "answers", "/metrics", value=answer(0, 0, "timed out")), "/metrics answers timed out"),
    ("page", put("host", "page", "answers", "/", value=answer(without=200)), "/ answers 200 without the token"),
    ("page", put("host", "page", "asks_for_token", value=False), "the host has no token"),
    ("feed", lambda _e, host: host["feed"].update(accepted=False, answer="login rejected: A"), "login rejected: A"),
    ("figures", report("missed"), "p99 2345 µs instead of < 2000 µs"),
    ("clock", put("host", "host", "readings", "clock", "offset_s", value=0.04), "40.0 ms off"),
    ("clock", put("host", "host", "readings", "clock", "synchronised", value=False), "not synchronised"),
    ("clock", unhealthy(clock="the wall clock was stepped"), "the wall clock was stepped"),
    ("certificates", unhealthy(certificate="host.pem ends in 9 days"), "host.pem ends in 9 days"),
    ("disk", put("host", "host", "readings", "places", "/var/lib/trading", "free", value=0.04), "4 % of its room free"),
    ("disk", put("host", "host", "readings", "places", "/var/lib/trading", "free_inodes", value=0.0), "inodes"),
    ("disk", put("host", "host", "readings", "places", "/var/lib/trading", "read_only", value=True), "read-only"),
    ("journal", unhealthy(journal_space="85 % of the journal's budget used"), "85 %"),
    ("updates", put("host", "updates", "security", value=["openssl"]), "1 security updates wait: openssl"),
    ("updates", put("host", "updates", "reboot", value=True), "waits for a reboot"),
    ("people", put("host", "people", "accounts", value=["root", "anna"]), "bert has no account"),
    ("people", put("host", "people", "accounts", value=["anna", "bert", "carl"]), "carl has an account, and is not in"),
    ("people", put("host", "people", "members", "trading-operator", value=["anna", "bert"]), "bert (observer) is in"),
    (
        "people",
        put("host", "people", "members", "trading-operator", value=["anna", "eve"]),
        "eve is in trading-operator",
    ),
    ("metrics", put("host", "published", "metrics", "EngineUp", value=None), "no sample of EngineUp"),
    ("logs", put("host", "published", "lines", "telemetry", value=False), "the newest line of telemetry is not in"),
    ("alarm", put("host", "alarm", "acted", value=False), "told nobody within 9 s"),
    ("alarm", put("host", "alarm", "received", value=False), "received nothing"),
    (
        "subscribers",
        lambda environment, _host: environment["topic"]["subscriptions"].append(
            {"endpoint": "new@example.com", "subscription_arn": "PendingConfirmation"}
        ),
        "has not followed the link in AWS's mail: new@example.com",
    ),
    ("subscribers", put("environment", "topic", "subscriptions", value=[]), "nobody subscribes"),
    ("subscribers", put("environment", "topic", "subscriptions", value=[TRIAL_QUEUE]), "nobody subscribes"),
    ("backup", unhealthy(backup="900 s behind"), "900 s behind"),
    ("backup", archived(exists=False), "there is no backup"),
    ("backup", archived(exists=True, age_s=2.5 * DAY_S), "is 2 days old, promised are 24 hours"),
    ("drill", put("environment", "drill", "now", value=NOW + 91 * DAY_S), "the last drill was 91 days ago"),
    ("drill", drilled(rpo_seconds=61), "RPO 61 s, promised are 60 s"),
    ("drill", drilled(lost_older_than_promised=2), "2 lost orders were older than the promised 60 s"),
    (
        "drift",
        put("environment", "drift", "changes", value=[{"host": "demo-1", "task": "Files | Set it"}]),
        "demo-1: Files | Set it",
    ),
    ("cost", put("environment", "cost", "budget_usd", value=30), "more than the budget of 30"),
    ("documents", put("environment", "documents", "unknown_variables", value=["trading_clent_cidrs"]), "no role reads"),
    ("documents", put("environment", "documents", "unknown_playbooks", value=["gone (docs/a.md)"]), "is no playbook"),
]


@pytest.mark.parametrize(("line", "plant", "said"), FAULTS, ids=[f"{line}: {said}" for line, _, said in FAULTS])
def test_a_fault_fails_its_line_and_no_other(line: str, plant: Plant, said: str) -> None:
    rows = judged(plant)
    assert [name for name, state in states(rows).items() if state != "met"] == [line]
    assert rows[line]["state"] == "failed"
    assert said in "; ".join(rows[line]["evidence"])


def test_every_line_has_a_fault() -> None:
    assert sorted({line for line, _, _ in FAULTS}) == sorted(IDS)


UNDONE: list[tuple[str, Plant, str]] = [
    (
        "security_group",
        put("environment", "network", "declared", value=[{"ports": [22], "cidrs": []}]),
        "this run was given neither",
    ),
    ("feed", lambda _e, host: host["feed"].update(accepted=False, answer="silent"), "is it in trading_client_cidrs?"),
    ("figures", put("host", "report", "exists", value=False), "there is no report /s/reports/demo-1.json"),
    ("figures", put("host", "report", "age_seconds", value=25 * 3600), "25 hours old"),
    ("figures", report("not measured"), "not measured: p99"),
    ("figures", put("host", "report", "text", value='{"verdict": []}'), "not measured"),
    ("figures", put("host", "report", "text", value="{"), "not understood"),
    ("clock", put("host", "host", "readings", "clock", value={}), "chrony does not answer"),
    ("disk", put("host", "host", "readings", "places", value={"/nowhere": {}}), "no file system"),
    ("updates", put("host", "updates", "age_seconds", value=None), "were never read"),
    ("updates", put("host", "updates", "age_seconds", value=8.0 * DAY_S), "are 8 days old"),
    ("logs", put("host", "published", "lines", value={}), "no unit has said anything"),
    (
        "logs",
        lambda _e, host: host["published"].update(lines={"telemetry": False}, older=["telemetry"]),
        "said nothing since the agent was started: telemetry",
    ),
    ("drill", put("environment", "drill", "exists", value=False), "no drill is on record, in /s/drill-demo.json"),
    ("drill", put("environment", "drill", "text", value='{"at": "2026-11-30"}'), "no record of a drill"),
    ("drift", put("environment", "drift", "outcome", value="limit"), "had not ended after 40 s"),
    ("drift", put("environment", "drift", "outcome", value="failed"), "ended early"),
    ("drift", put("environment", "drift", "tasks", value=[{"outcome": "skipped"}]), "looked at nothing"),
    ("documents", put("environment", "documents", "pages", value=0), "not installed"),
    ("cost", put("environment", "cost", "launched", value=[]), "no host of this environment"),
]


@pytest.mark.parametrize(("line", "plant", "said"), UNDONE, ids=[f"{line}: {said}" for line, _, said in UNDONE])
def test_what_was_not_measured_is_not_done(line: str, plant: Plant, said: str) -> None:
    rows = judged(plant)
    assert [name for name, state in states(rows).items() if state != "met"] == [line]
    assert rows[line]["state"] == "not done"
    assert said in "; ".join(rows[line]["evidence"])


def test_the_cost_so_far_is_that_of_each_host_since_its_own_start() -> None:
    # One host has run for 100 hours, and the other for 76. An hour of both hosts costs 0.05 USD.
    (said,) = judged()["cost"]["evidence"]
    assert said == "at most 4.40 USD since the hosts were started, 36.50 a month, by list prices"


@pytest.mark.parametrize("host", [{"readings": {"ports": {}}}, {"failed": True, "msg": "no ss"}], ids=str)
def test_where_it_is_not_known_who_listens_no_other_port_was_tried(host: Readings) -> None:
    assert judged(put("host", "host", value=host))["ports"]["state"] == "not done"


def test_a_group_without_members_has_no_stranger_in_it() -> None:
    rows = judged(lambda _e, host: host["people"].update(declared=[], made=[], members={"trading-operator": [""]}))
    assert rows["people"]["state"] == "met", rows["people"]["evidence"]


def test_without_health_certificates_and_journal_are_not_known() -> None:
    rows = judged(
        put(
            "host",
            "state",
            "health",
            value={"status": 503, "text": '{"checks": [{"name": "engine", "status": "failing"}]}'},
        )
    )
    assert {name: rows[name]["state"] for name in ("services", "certificates", "journal", "backup", "clock")} == {
        "services": "failed",
        "certificates": "not done",
        "journal": "not done",
        "backup": "not done",
        "clock": "not done",
    }


@pytest.mark.parametrize(
    "reading",
    [
        None,
        {},
        {"failed": True, "msg": "no such file"},
        {"skipped": True},
        {"unreachable": True},
        {"problem": "why"},
        {"x": 1},
    ],
    ids=str,
)
def test_no_line_is_met_without_its_reading(reading: object) -> None:
    environment = dict.fromkeys(ENVIRONMENT, reading)
    rows = readiness_lines({"environment": environment, "hosts": {"demo-1": dict.fromkeys(HOST, reading)}}, LINES)
    assert {row["state"] for row in rows} == {"not done"}
    assert all(row["evidence"] and row["evidence"][0] for row in rows)


def test_a_host_that_does_not_answer_and_no_host_at_all_are_not_done() -> None:
    away = readiness_lines({"environment": ENVIRONMENT, "hosts": {"demo-1": {"problem": "timed out"}}}, LINES)
    nobody = readiness_lines({"environment": ENVIRONMENT, "hosts": {}}, LINES)
    for rows, said in ((away, "timed out"), (nobody, "the inventory has no trading host")):
        of_host = [row for row in rows if row["where"]]
        assert len(of_host) == sum(line["of"] == "host" for line in LINES)
        assert {(row["state"], *row["evidence"]) for row in of_host} == {("not done", said)}


def divided(alpha: dict[str, Any], beta: dict[str, Any], reading: str) -> Plant:
    """Return a function that turns a host's reading into the reading of a host with two partitions.

    `reading` is the name of the reading. `alpha` and `beta` replace values of the two partitions.
    """

    def plant(_environment: Readings, host: Readings) -> None:
        host[reading] = {"partitions": {"alpha": {**host[reading], **alpha}, "beta": {**host[reading], **beta}}}

    return plant


REFUSED = {"accepted": False, "answer": "login rejected: A"}


@pytest.mark.parametrize(
    ("line", "plant", "state", "evidence"),
    [
        ("feed", divided({}, {"target": "203.0.113.9:9012"}, "feed"), "met", ["alpha: logged in to 203.0.113.9:9002"]),
        ("feed", divided({}, REFUSED, "feed"), "failed", ["beta: 203.0.113.9:9002: login rejected: A"]),
        ("figures", divided({}, {"exists": False}, "report"), "not done", ["beta: there is no report /s/reports"]),
        ("figures", divided({"exists": False}, {"age_seconds": 90000.0}, "report"), "not done", ["alpha: ", "beta: "]),
    ],
)
def test_each_partition_is_judged_and_the_worst_counts(
    line: str, plant: Plant, state: str, evidence: list[str]
) -> None:
    row = judged(plant)[line]
    assert (row["state"], len(row["evidence"])) == (state, len(evidence))
    assert all(found.startswith(said) for found, said in zip(row["evidence"], evidence, strict=True))


def test_what_each_partition_uses_of_a_limit_is_told_by_its_name() -> None:
    row = judged(divided({}, {}, "report"))["figures"]
    assert list(row["shares"]) == ["alpha: avg", "beta: avg"]
    (said,) = row["evidence"]
    assert said.startswith("alpha: avg 125")
    assert "; beta: avg 125" in said


@pytest.mark.parametrize(("worse", "better"), [("alpha", "beta"), ("beta", "alpha")])
def test_of_the_checks_of_two_partitions_the_worst_is_taken(worse: str, better: str) -> None:
    checks = json.loads(health())["checks"]
    kept = [check for check in checks if check["name"] != "journal_space"]
    space = {"name": "journal_space", "status": "ok", "reason": f"{better}: 12 % used"}
    both = [{**space, "status": "degraded", "reason": f"{worse}: 85 % used"}, space]
    ordered = sorted(both, key=lambda check: str(check["reason"]))
    plant = put("host", "state", "health", "text", value=json.dumps({"checks": [*kept, *ordered]}))
    assert judged(plant)["journal"]["evidence"] == [f"{worse}: 85 % used"]
    other = {**space, "reason": "x"}
    good = put("host", "state", "health", "text", value=json.dumps({"checks": [*kept, space, other]}))
    assert judged(good)["journal"]["evidence"] == [f"{better}: 12 % used; x"]


def test_a_line_without_a_judge_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no judge for the line nonsense"):
        readiness_lines({"environment": {}, "hosts": {}}, [{**LINES[0], "id": "nonsense"}])


def test_every_line_says_what_it_asks_and_what_to_do() -> None:
    for line in LINES:
        assert {"id", "of", "question", "by", "do"} <= set(line) <= {"id", "of", "question", "by", "do", "disturbs"}
        assert line["of"] in ("host", "environment")
        assert line["question"].endswith("?")


def test_the_table_fits_and_says_what_to_do_where_something_is_open() -> None:
    rows = list(judged(lambda _e, host: host.update(killed={"problem": "it disturbs"}, updates={})).values())
    table = readiness_table(rows)
    assert max(map(len, table)) <= 70
    assert "NOT DONE  killed: demo-1" in table
    assert "met       clock: demo-1" in table
    assert sum("->" in line for line in table) == 2
    assert table[-1] == "21 met, 0 failed, 2 not done"
    assert readiness_open(rows) == ["2 not done: killed of demo-1, updates of demo-1"]


def test_the_newest_line_of_each_unit_is_taken_from_what_journalctl_prints() -> None:
    printed = json.dumps({"__REALTIME_TIMESTAMP": "1796000000123456", "MESSAGE": "listening"})
    empty = json.dumps({"__REALTIME_TIMESTAMP": "1796000000123456", "MESSAGE": " "})
    binary = json.dumps({"__REALTIME_TIMESTAMP": "1796000000123456", "MESSAGE": [255, 1]})
    results = [
        {"item": "telemetry", "stdout_lines": ["-- no entries --", printed]},
        {"item": "trading-feed", "stdout_lines": ["-- No entries --"]},
        {"item": "trading-engine", "stdout_lines": [binary]},
        {"item": "trading-publish", "stdout_lines": [empty]},
    ]
    assert journal_lines(results) == [{"unit": "telemetry", "milliseconds": 1796000000123, "text": "listening"}]
