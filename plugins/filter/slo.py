# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over a trading host: one row a target, from what was seen and measured. Pure: values in, rows out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, str]

MET, MISSED, NOT_MEASURED = "met", "missed", "not measured"


def row(name: str, target: str, measured: str, met: bool | None) -> Row:
    """Return one line of the table; `met` is None for what could not be or was not measured."""
    verdict = NOT_MEASURED if met is None else MET if met else MISSED
    return {"name": name, "target": target, "measured": measured, "verdict": verdict}


def state_rows(state: dict[str, Any]) -> list[Row]:
    """Return the rows of what lowlatency.trading.trading_host_info saw."""
    rows = [row(unit, "active, enabled", seen, seen == "active, enabled") for unit, seen in state["units"].items()]
    health = state["health"]
    said = str(health["status"]) if health["status"] == 200 else f"{health['status']}: {health['text'].strip()[:300]}"
    return [*rows, row("health", "200", said, health["status"] == 200)]


def cpu_percent(before: dict[str, Any], after: dict[str, Any], figures: dict[str, Any], on_host: bool) -> float:
    """Return the host's CPU use under load without the generator's share, in percent of all its CPUs.

    All CPU time between the two looks is set against the time of the load alone, so the looks themselves can only
    make it worse. The generator's time is part of it when it ran on the host and the whole machine was counted.
    """
    used_s = sum(busy_s - before["cpu_busy_s"].get(part, 0.0) for part, busy_s in after["cpu_busy_s"].items())
    if on_host and after["cpu_scope"] == "machine":
        used_s -= figures["generator"]["cpu_s"]
    percent: float = 100 * max(used_s, 0.0) / (figures["generator"]["wall_s"] * after["cpus"])
    return percent


def load_rows(targets: dict[str, float], load: dict[str, Any] | None) -> list[Row]:
    """Return the rows of the load. `load` has figures, before, after and on_host; None: there was none.

    A void run leaves every row of it not measured, with the reason in the first.
    """
    texts = {
        "avg": f"< {targets['avg_us']:g} µs",
        "p95": f"< {targets['p95_us']:g} µs",
        "p99": f"< {targets['p99_us']:g} µs",
        "throughput": f"≥ {targets['throughput_per_s']:g}/s",
        "errors": "0",
        "rejects": "0",
        "cpu": f"< {targets['cpu_percent']:g} %",
    }
    if load is None:
        return [row(name, target, "no load was put on", None) for name, target in texts.items()]
    figures = load["figures"]
    if figures["void"]:
        return [row(name, target, f"void: {figures['void_reason']}", None) for name, target in texts.items()]
    latency_us = figures["latency_corrected_us"]
    rows = []
    for name in ("avg", "p95", "p99"):
        if latency_us:
            value_us = latency_us[name]
            rows.append(row(name, texts[name], f"{value_us:.0f} µs", value_us < targets[f"{name}_us"]))
        else:
            rows.append(row(name, texts[name], "no order was answered", False))
    throughput_per_s = figures["throughput_per_s"]
    answered = f"{throughput_per_s:.0f}/s"
    rows.append(row("throughput", texts["throughput"], answered, throughput_per_s >= targets["throughput_per_s"]))
    for name in ("errors", "rejects"):
        total, details = figures[f"{name}_total"], ", ".join(f"{count} {what}" for what, count in figures[name].items())
        rows.append(row(name, "0", str(total) + (f" ({details})" if details else ""), total == 0))
    percent = cpu_percent(load["before"], load["after"], figures, load["on_host"])
    generator_s, wall_s = figures["generator"]["cpu_s"], figures["generator"]["wall_s"]
    shown = f"{percent:.0f} % (generator beside it: {100 * generator_s / wall_s:.0f} % of one CPU)"
    return [*rows, row("cpu", texts["cpu"], shown, percent < targets["cpu_percent"])]


def slo_rows(targets: dict[str, float], state: dict[str, Any], load: dict[str, Any] | None) -> list[Row]:
    """Return the whole verdict, one row a target."""
    used = state["memory_percent"]
    memory = row("memory", f"< {targets['memory_percent']:g} %", f"{used:.0f} %", used < targets["memory_percent"])
    return [*state_rows(state), *load_rows(targets, load), memory]


def slo_table(rows: list[Row]) -> list[str]:
    """Return the rows as lines of one table for a terminal."""
    lines = [{"name": "", "target": "target", "measured": "measured", "verdict": "verdict"}, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in ("name", "target")}
    marks = {MET: "✓ met", MISSED: "✗ MISSED", NOT_MEASURED: "- not measured"}
    return [
        f"{line['name']:<{widths['name']}}  {line['target']:<{widths['target']}}  "
        f"{marks.get(line['verdict'], line['verdict']):<14}  {line['measured']}".rstrip()
        for line in lines
    ]


def slo_missed(rows: list[Row], load_wanted: bool) -> list[str]:
    """Return what keeps the verdict from being a pass, one text a row; empty for a pass.

    What was not measured is no pass either, unless no load was wanted.
    """
    bad = {MISSED, NOT_MEASURED} if load_wanted else {MISSED}
    return [f"{line['name']} {line['measured']} (target {line['target']})" for line in rows if line["verdict"] in bad]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"slo_rows": slo_rows, "slo_table": slo_table, "slo_missed": slo_missed}
