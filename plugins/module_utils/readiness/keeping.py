# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges for metrics, logs, alarms, backup, drill, drift, cost and documents (see answers.py).

Each judge's docstring states the condition under which its line of files/readiness.yml is "met".
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
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
    taken,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.readiness.running import health_check

_DAY_S = 86400
_OLDEST_DRILL_S = 90 * _DAY_S
_TRIAL_QUEUE = re.compile(r"-trial-[0-9a-f]{8}$")
# The host sends these metrics every minute, with or without orders.
_ALWAYS = ("EngineUp", "Throughput", "MemoryUsed", "DiskUsed")


def _seconds(text: Any) -> float:
    """Return a time given as ISO 8601 text as Unix time in seconds. Without a time zone the text is read as UTC.

    Raises ValueError for any other text.
    """
    moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def metrics(readings: Readings) -> Answer:
    """Judge whether CloudWatch has recent samples of every metric that the host always sends."""
    found: dict[str, float | None] = taken(readings, "published")["metrics"]
    ages = {name: age_s for name, age_s in found.items() if age_s is not None}
    problems = [f"CloudWatch has no sample of {name}" for name in _ALWAYS if name not in ages]
    quiet = sorted(set(found) - set(ages) - set(_ALWAYS))
    said = [f"{len(ages)} of {len(found)} metrics, the newest sample {hours(min(ages.values()))} old"] if ages else []
    return of(problems, said + ([f"without a sample: {', '.join(quiet)}"] if quiet else []))


def logs(readings: Readings) -> Answer:
    """Judge whether the log group in CloudWatch has the newest line of each unit's log on the host."""
    published = taken(readings, "published")
    found: dict[str, bool] = published["lines"]
    older: list[str] = published.get("older", [])
    if not found:
        return Answer(NOT_DONE, ("no unit has said anything that could be looked for",))
    problems = [
        f"the newest line of {unit} is not in the log group"
        for unit, is_there in found.items()
        if not is_there and unit not in older
    ]
    unsent = [unit for unit, is_there in found.items() if not is_there and unit in older]
    if unsent and not problems:
        return Answer(NOT_DONE, (f"said nothing since the agent was started: {', '.join(unsent)}",))
    return of(problems, [f"the newest line of {', '.join(found)} is in the log group"])


def alarm(readings: Readings) -> Answer:
    """Judge whether a subscriber received a message when an alarm was triggered for a trial."""
    found = taken(readings, "alarm")
    if not found["acted"]:
        return Answer(FAILED, (f"{found['composite']} told nobody within {found['seconds']:.0f} s",))
    if not found["received"]:
        return Answer(FAILED, (f"{found['composite']} acted, and the topic's subscriber received nothing",))
    return Answer(MET, (f"{found['composite']} was received after {found['seconds']:.0f} s",))


def _of_a_trial(subscription: dict[str, Any]) -> bool:
    """Return whether the subscriber is a temporary queue that a killed run of the module alarm_trial left behind."""
    return subscription.get("protocol") == "sqs" and bool(_TRIAL_QUEUE.search(subscription["endpoint"]))


def subscribers(readings: Readings) -> Answer:
    """Judge whether the alarms' topic has a subscriber, and whether all subscribers have confirmed."""
    topic: list[dict[str, Any]] = taken(readings, "topic")["subscriptions"]
    found = [one for one in topic if not _of_a_trial(one)]
    waiting = sorted(one["endpoint"] for one in found if not one["subscription_arn"].startswith("arn:"))
    told = sorted(one["endpoint"] for one in found if one["subscription_arn"].startswith("arn:"))
    problems = [f"has not followed the link in AWS's mail: {endpoint}" for endpoint in waiting]
    problems += [] if told or waiting else ["nobody subscribes to the alarms"]
    return of(problems, [f"told of alarms: {', '.join(told)}"])


def backup(readings: Readings) -> Answer:
    """Judge whether the host backs up its journal itself, or the archive on the controller is recent enough."""
    check = health_check(readings, "backup")
    if check:
        return of([] if check["status"] == "ok" else [check["reason"]], [check["reason"]])
    found = taken(readings, "archive")
    promised_s = float(found["promised_seconds"])
    if not found["exists"]:
        return Answer(FAILED, (f"there is no backup: no {found['path']}, and /health names none",))
    age_s = float(found["age_seconds"])
    share = {"age of the backup": age_s / promised_s}
    said = f"{found['path']} is {hours(age_s)} old"
    return of([f"{said}, promised are {hours(promised_s)}"] if age_s > promised_s else [], [said], share)


def drill(readings: Readings) -> Answer:
    """Judge whether a host was rebuilt from its backup in the last 90 days.

    The orders that were lost then must be no older than promised.
    """
    found = taken(readings, "drill")
    if not found["exists"]:
        return Answer(NOT_DONE, (f"no drill is on record, in {found['path']}",))
    try:
        record = json.loads(found["text"])
        moment_s = _seconds(record["at"])
        rto_s, rpo_s = float(record["rto_seconds"]), float(record["rpo_seconds"])
        promised_s, lost = float(record["promised_rpo_seconds"]), int(record["lost_older_than_promised"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotTakenError(f"{found['path']} is no record of a drill: {error!r}") from error
    age_s = float(found["now"]) - moment_s
    said = f"{hours(max(age_s, 0))} ago: RTO {rto_s:.0f} s, RPO {rpo_s:.0f} s"
    if age_s > _OLDEST_DRILL_S:
        return Answer(FAILED, (f"the last drill was {said}",))
    problems = [f"{said}, promised are {promised_s:.0f} s"] if rpo_s > promised_s else []
    problems += [f"{lost} lost orders were older than the promised {promised_s:.0f} s"] if lost else []
    return of(problems, [said])


def drift(readings: Readings) -> Answer:
    """Judge whether the host still is as configured: a run of site.yml in check mode would change nothing."""
    found = taken(readings, "drift")
    if found["outcome"] == "limit":
        return Answer(NOT_DONE, (f"the run in check mode had not ended after {found['seconds']:.0f} s",))
    if found["changes"]:
        return Answer(FAILED, tuple(f"{one['host']}: {one['task']}" for one in found["changes"]))
    if found["outcome"] != "ok":
        return Answer(NOT_DONE, (f"the run in check mode ended early: {found['message']}",))
    looked = sum(one["outcome"] == "ok" for one in found["tasks"])
    if not looked:
        return Answer(NOT_DONE, ("the run in check mode looked at nothing: check its inventory and tags",))
    return Answer(MET, (f"{looked} tasks in check mode would change nothing",))


def cost(readings: Readings) -> Answer:
    """Judge whether the estimated cost of a month is at most the budget.

    The evidence also says what the hosts can have cost at most since their start.
    """
    found = taken(readings, "cost")
    month, budget = float(found["month_usd"]), float(found["budget_usd"])
    launched = [_seconds(moment) for moment in found["launched"]]
    if not launched:
        raise NotTakenError("EC2 has no host of this environment")
    ages_s = [float(found["now"]) - launched_s for launched_s in launched]
    so_far = float(found["hour_usd"]) / len(ages_s) * sum(ages_s) / 3600
    said = f"at most {so_far:.2f} USD since the hosts were started, {month:.2f} a month, by list prices"
    if budget and month > budget:
        return Answer(FAILED, (f"{said}, more than the budget of {budget:g}",), {"budget": month / budget})
    return Answer(MET, (said,), {"budget": month / budget} if budget else {})


def documents(readings: Readings) -> Answer:
    """Judge whether the playbooks and variables that the documents name exist.

    The variables that the inventory sets must exist too.
    """
    found = taken(readings, "documents")
    if not found["pages"]:
        raise NotTakenError("the documents are not installed here")
    problems = [f"{name} is named, and is no playbook" for name in found["unknown_playbooks"]]
    problems += [f"{name} is set, and no role reads it" for name in found["unknown_variables"]]
    return of(problems, [f"{found['named']} commands and variables of {found['pages']} pages exist"])
