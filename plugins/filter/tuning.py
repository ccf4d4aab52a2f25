# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the tuning benchmark: they plan its runs, and judge from the results whether a knob helps.

A knob is one setting of kernel, CPU, network card or service. A subject is a knob or a group of knobs.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

from ansible_collections.lowlatency.trading.plugins.filter.slo import LATE_US
from ansible_collections.lowlatency.trading.plugins.module_utils.statistics import verdict

# Each metric of a run, and the keys under which a run's result has it. All are in microseconds; smaller is better.
METRICS = {
    "round trip avg": ("load", "latency_corrected_us", "avg"),
    "round trip p50": ("load", "latency_corrected_us", "p50"),
    "round trip p99": ("load", "latency_corrected_us", "p99"),
    "round trip p99.9": ("load", "latency_corrected_us", "p999"),
    "timer p50": ("timer", "lateness_us", "p50"),
    "timer p99": ("timer", "lateness_us", "p99"),
    "timer p99.9": ("timer", "lateness_us", "p999"),
}
WITH = "with"
WITHOUT = "without"


def tuning_report(knobs: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the tuning report that the host stores: its knobs, each with a status.

    The report does not depend on whether this run or an earlier one set a knob. The statuses "applied" and "already"
    both become "in_force". So a run that changes nothing on the host returns the same report. A knob that covers many
    things, such as interrupts, gets one entry per status.
    """
    entries: dict[tuple[str, str], dict[str, str]] = {}
    for knob in knobs:
        status = "in_force" if knob["status"] in ("applied", "already") else knob["status"]
        if status == "restored":
            continue
        kept = {field: knob[field] for field in ("name", "value", "previous", "reason", "overridden_by")}
        earlier = entries.get((knob["name"], status))
        if earlier:
            for field in ("value", "previous"):
                words = {*earlier[field].split(", "), *kept[field].split(", ")} - {""}
                kept[field] = ", ".join(sorted(words))
            kept["reason"] = ""
        entries[knob["name"], status] = {**kept, "status": status}
    # The reason in an entry that covers many things counts them as set by this run or before it. Drop it, because the
    # report must not depend on that.
    summaries = {name for name, status in entries if status != "in_force"}
    for (name, status), entry in entries.items():
        if status == "in_force" and name in summaries:
            entry["reason"] = ""
    return list(entries.values())


def tuning_differing(knobs: list[dict[str, Any]]) -> list[str]:
    """Return the names of the knobs whose value differs from the value before the tuning, each name once."""
    return list(dict.fromkeys(knob["name"] for knob in knobs if knob["value"] != knob["previous"]))


def tuning_schedule(subjects: list[str], pairs: int, seed: int) -> list[dict[str, Any]]:
    """Return all runs of the benchmark in order. Each pair of runs measures one subject, with and without it.

    Chance decides which run of a pair comes first. Subjects take turns, so that a slow change of the host's speed
    affects all subjects alike. An entry is {"subject": name, "pair": number, "variant": "with" or "without"}.
    """
    lot = random.Random(seed)  # noqa: S311 (no secret: the seed is in the report, so that a schedule can be repeated)
    return [
        {"subject": subject, "pair": pair, "variant": variant}
        for pair in range(pairs)
        for subject in subjects
        for variant in lot.sample([WITH, WITHOUT], 2)
    ]


def tuning_pairs_needed(subjects: list[str]) -> int:
    """Return how many pairs of runs each subject needs before any comparison can reach a verdict."""
    return verdict.pairs_needed(len(subjects) * len(METRICS))


def tuning_verdicts(observations: list[dict[str, Any]], subjects: list[str]) -> list[dict[str, Any]]:
    """Return one row for each subject and metric, with the verdict and the figures that it is based on.

    An observation is an entry of the schedule. Its keys ``load`` and ``timer`` have the figures of its run. Times are
    in microseconds. A run with the subject and a run without it are a pair. If the generator was late in one of the
    two, the pair does not count for the metrics of the round trip.
    """
    found = {(o["subject"], o["pair"], o["variant"]): o for o in observations}
    families: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for subject in subjects:
        for metric in METRICS:
            both = [
                (_figure(o, metric), _figure(found.get((subject, pair, WITHOUT)), metric))
                for (name, pair, variant), o in found.items()
                if name == subject and variant == WITH
            ]
            families[subject, metric] = [(a, b) for a, b in both if a and b]
    verdicts = verdict.judge({f"{subject}\n{metric}": pairs for (subject, metric), pairs in families.items()})
    return [
        {
            "subject": subject,
            "metric": metric,
            **dataclasses.asdict(verdicts[f"{subject}\n{metric}"]),
            "with_us": [a for a, _b in pairs],
            "without_us": [b for _a, b in pairs],
        }
        for (subject, metric), pairs in families.items()
    ]


def _figure(observation: dict[str, Any] | None, metric: str) -> float | None:
    source, table, name = METRICS[metric]
    figures = observation.get(source) if observation else None
    if not figures or (source == "load" and _spoilt(figures)):
        return None
    return float(figures[table][name])


def _spoilt(figures: dict[str, Any]) -> bool:
    """Return whether the figures of a run's load are unusable.

    They are unusable when the load was interrupted, or when its generator was late.
    """
    return bool(figures["interrupted"] or figures["lateness_us"]["p99"] > LATE_US)


def tuning_veto(rows: list[dict[str, Any]]) -> list[str]:
    """Return, sorted, the subjects that made a metric worse and no metric better. The user should not apply these."""
    worse = {row["subject"] for row in rows if row["verdict"] == verdict.WORSE}
    helped = {row["subject"] for row in rows if row["verdict"] == verdict.HELPED}
    return sorted(worse - helped)


class FilterModule:
    """The class that Ansible loads to find the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "tuning_report": tuning_report,
            "tuning_differing": tuning_differing,
            "tuning_schedule": tuning_schedule,
            "tuning_pairs_needed": tuning_pairs_needed,
            "tuning_verdicts": tuning_verdicts,
            "tuning_veto": tuning_veto,
        }
