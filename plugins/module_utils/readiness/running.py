# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges for operation: services, restarts, figures, clock, certificates, disk, updates (see answers.py).

Each judge's docstring states the condition under which its line of files/readiness.yml is "met".
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.lowlatency.trading.plugins.module_utils.readiness.answers import (
    FAILED,
    MET,
    NOT_DONE,
    Answer,
    NotTakenError,
    Readings,
    hours,
    of,
    of_each_partition,
    taken,
)

_DAY_S = 86400
_LEAST_FREE = 0.15
_MOST_OFF_S = 0.001
_MOST_NAMES = 8
_OLDEST_LIST_S = 7 * _DAY_S
_WORST_LAST = ("ok", "degraded", "failing")


def _checks(readings: Readings) -> dict[str, dict[str, str]]:
    """Return a dictionary: check → (status, reason), for each check of the host's /health.

    When several partitions have a check of the same name, return the worst status and the reasons for it. Raises
    NotTakenError when /health does not answer with checks.
    """
    health = taken(readings, "state")["health"]
    try:
        found: dict[str, dict[str, str]] = {}
        for check in json.loads(health["text"])["checks"]:
            other = found.get(check["name"], check)
            if other is not check and other["status"] == check["status"]:
                found[check["name"]] = {**check, "reason": f"{other['reason']}; {check['reason']}"}
            else:
                found[check["name"]] = max(other, check, key=lambda one: _WORST_LAST.index(one["status"]))
        return found
    except (ValueError, KeyError, TypeError) as error:
        raise NotTakenError(f"/health does not say: it answered {health['status']}") from error


def health_check(readings: Readings, name: str) -> dict[str, str] | None:
    """Return one check of /health, or None if /health has no such check.

    Raises NotTakenError when the engine is down, because /health then has no other checks.
    """
    checks = _checks(readings)
    if name not in checks and checks.get("engine", {}).get("status") == "failing":
        raise NotTakenError("/health says no more while the engine is down")
    return checks.get(name)


def _check(readings: Readings, name: str) -> dict[str, str]:
    check = health_check(readings, name)
    if check is None:
        raise NotTakenError(f"/health says nothing of {name}")
    return check


def services(readings: Readings) -> Answer:
    """Judge whether every unit is active and starts with the host, and /health answers 200."""
    state = taken(readings, "state")
    problems = [f"{unit} is {found}" for unit, found in state["units"].items() if found != "active, enabled"]
    if state["health"]["status"] != 200:
        problems.append(f"/health answers {state['health']['status'] or state['health']['text']}")
    names = ", ".join(unit.removesuffix(".service") for unit in state["units"])
    return of(problems, [f"active and enabled: {names}; /health is 200"])


def killed(readings: Readings) -> Answer:
    """Judge whether systemd restarted every unit whose processes were killed in a trial."""
    found = taken(readings, "killed")
    problems = [f"{unit}: {one['problem']}" for unit, one in found["units"].items() if one["problem"]]
    back = [f"{unit.removesuffix('.service')} after {one['seconds']:.1f} s" for unit, one in found["units"].items()]
    return of(problems, [f"back: {', '.join(back)}"])


@of_each_partition("report")
def figures(readings: Readings) -> Answer:
    """Judge whether the newest report of the playbook verify.yml is younger than a day and has no missed target."""
    found = taken(readings, "report")
    if not found["exists"]:
        return Answer(NOT_DONE, (f"there is no report {found['path']}",))
    rows: list[dict[str, str]] = json.loads(found["text"])["verdict"]
    age_s = float(found["age_seconds"])
    if age_s > _DAY_S:
        return Answer(NOT_DONE, (f"the report is {hours(age_s)} old, more than a day",))
    missed = [
        f"{row['name']} {row['measured']} instead of {row['target']}" for row in rows if row["verdict"] == "missed"
    ]
    if missed:
        return Answer(FAILED, tuple(missed), _used(rows))
    blank = [row["name"] for row in rows if row["verdict"] != "met"]
    if blank or not rows:
        return Answer(NOT_DONE, (f"not measured: {', '.join(blank) or 'anything'}",), _used(rows))
    told = ("avg", "p95", "p99", "throughput")
    said = ", ".join(f"{row['name']} {row['measured']}" for row in rows if row["name"] in told)
    return Answer(MET, (f"{said}, {hours(age_s)} ago",), _used(rows))


def _number(text: str) -> float | None:
    try:
        return float(text.strip("<≥ ").split(" ")[0].split("/")[0])
    except ValueError:
        return None


def _used(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return a dictionary: row with an upper limit → the part of the limit that is used (1 means all of it)."""
    shares = {}
    for row in rows:
        limit, value = _number(row["target"]), _number(row["measured"])
        if row["target"].startswith("<") and limit and value is not None:
            shares[row["name"]] = value / limit
    return shares


def clock(readings: Readings) -> Answer:
    """Judge whether chrony is synchronised with an offset below one millisecond.

    /health must not report a problem of the clock either.
    """
    found = taken(readings, "host")["readings"]["clock"]
    if not found:
        return Answer(NOT_DONE, ("chrony does not answer on this host",))
    problems = [] if found["synchronised"] else [f"chrony is not synchronised, source {found['source'] or 'none'}"]
    offset_s = abs(float(found["offset_s"]))
    if offset_s >= _MOST_OFF_S:
        problems.append(f"the clock is {offset_s * 1e3:.1f} ms off")
    if not problems:
        check = health_check(readings, "clock") or {}
        problems += [f"/health: {check['reason']}"] if check.get("status", "ok") != "ok" else []
    said = f"{offset_s * 1e6:.0f} µs off, source {found['source']}"
    return of(problems, [said], {"clock offset": offset_s / _MOST_OFF_S})


def certificates(readings: Readings) -> Answer:
    """Judge whether all certificates are valid for at least 30 more days, according to /health."""
    check = health_check(readings, "certificate")
    if check is None:
        return Answer(MET, ("no certificate is served",))
    return of([] if check["status"] == "ok" else [check["reason"]], [check["reason"]])


def disk(readings: Readings) -> Answer:
    """Judge whether every file system has free space and is writable."""
    places = taken(readings, "host")["readings"]["places"]
    problems, shares = [], {}
    for path, one in places.items():
        if one:
            shares[f"disk {path}"] = 1 - float(one["free"])
            scarce = {"of its room": one["free"], "of its inodes": one["free_inodes"]}
            problems += [f"{path} has {100 * n:.0f} % {what} free" for what, n in scarce.items() if n < _LEAST_FREE]
            problems += [f"{path} is read-only"] if one["read_only"] else []
    if not shares:
        raise NotTakenError("no file system was looked at")
    least = min(float(one["free"]) for one in places.values() if one)
    return of(problems, [f"{100 * least:.0f} % free at least"], shares)


def journal(readings: Readings) -> Answer:
    """Judge whether enough of the journal's disk space is left, according to /health."""
    check = _check(readings, "journal_space")
    return of([] if check["status"] == "ok" else [check["reason"]], [check["reason"]])


def updates(readings: Readings) -> Answer:
    """Judge whether no security update is pending, and no installed update needs a reboot."""
    found = taken(readings, "updates")
    if found["age_seconds"] is None or found["age_seconds"] > _OLDEST_LIST_S:
        age = "were never read" if found["age_seconds"] is None else f"are {hours(found['age_seconds'])} old"
        return Answer(NOT_DONE, (f"the lists of packages {age}",))
    waiting = found["security"]
    names = f"{', '.join(waiting[:_MOST_NAMES])}{' and more' if len(waiting) > _MOST_NAMES else ''}"
    problems = [f"{len(waiting)} security updates wait: {names}"] if waiting else []
    problems += ["an update that was installed waits for a reboot"] if found["reboot"] else []
    others = len(found["others"])
    return of(problems, [f"no security update waits; {others} other{'' if others == 1 else 's'}"])
