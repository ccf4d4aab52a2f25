# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict over a trading host: one row a target, from what was seen and measured. Pure: values in, rows out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, str]

MET = "met"
MISSED = "missed"
NOT_MEASURED = "not measured"


def row(name: str, target: str, measured: str, met: bool | None, note: str = "") -> Row:
    """Return one line of the table; `met` is None for what could not be or was not measured."""
    verdict = NOT_MEASURED if met is None else MET if met else MISSED
    return {"name": name, "target": target, "measured": measured, "verdict": verdict, "note": note}


def state_rows(state: dict[str, Any]) -> list[Row]:
    """Return the rows of what lowlatency.trading.trading_host_info saw."""
    rows = [row(unit, "active, enabled", seen, seen == "active, enabled") for unit, seen in state["units"].items()]
    health = state["health"]
    well = health["status"] == 200
    answer = str(health["status"] or "no answer")
    return [*rows, row("health", "200", answer, well, "" if well else f"health says {health['text'].strip()[:500]}")]


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


def target_texts(targets: dict[str, float]) -> dict[str, str]:
    """Return the text of each target that needs load, by its name in the table."""
    return {
        "avg": f"< {targets['avg_us']:g} µs",
        "p95": f"< {targets['p95_us']:g} µs",
        "p99": f"< {targets['p99_us']:g} µs",
        "throughput": f"≥ {targets['throughput_per_s']:g}/s",
        "errors": "0",
        "rejects": "0",
        "cpu": f"< {targets['cpu_percent']:g} %",
    }


def load_rows(targets: dict[str, float], load: dict[str, Any]) -> list[Row]:
    """Return the rows of the load. `load` has figures, before, after and on_host; it is empty when there was none."""
    texts = target_texts(targets)
    if not load:
        return [row(name, target, "no load", None) for name, target in texts.items()]
    figures = load["figures"]
    if figures["void"]:
        note = f"the run is void, {figures['void_reason']}"
        return [row(name, target, "void", None, note) for name, target in texts.items()]
    latency_us = figures["latency_corrected_us"]
    rows = []
    for name in ("avg", "p95", "p99"):
        if latency_us:
            value_us = latency_us[name]
            rows.append(row(name, texts[name], f"{value_us:.0f} µs", value_us < targets[f"{name}_us"]))
        else:
            rows.append(row(name, texts[name], "no answer", False))
    throughput_per_s = figures["throughput_per_s"]
    answered = f"{throughput_per_s:.0f}/s"
    rows.append(row("throughput", texts["throughput"], answered, throughput_per_s >= targets["throughput_per_s"]))
    for name in ("errors", "rejects"):
        total = figures[f"{name}_total"]
        note = ", ".join(f"{count} {what}" for what, count in figures[name].items())
        rows.append(row(name, texts[name], str(total), total == 0, f"{name}, {note}" if note else ""))
    percent = cpu_percent(load["before"], load["after"], figures, load["on_host"])
    own_percent = 100 * figures["generator"]["cpu_s"] / figures["generator"]["wall_s"]
    note = f"the generator used {own_percent:.0f} % of one CPU, which is not part of cpu"
    return [*rows, row("cpu", texts["cpu"], f"{percent:.0f} %", percent < targets["cpu_percent"], note)]


def slo_rows(targets: dict[str, float], state: dict[str, Any], load: dict[str, Any]) -> list[Row]:
    """Return the whole verdict, one row a target."""
    used = state["memory_percent"]
    memory = row("memory", f"< {targets['memory_percent']:g} %", f"{used:.0f} %", used < targets["memory_percent"])
    return [*state_rows(state), *load_rows(targets, load), memory]


def notes(rows: list[Row]) -> list[str]:
    """Return the notes of the rows, each once."""
    return list(dict.fromkeys(line["note"] for line in rows if line["note"]))


def slo_table(rows: list[Row]) -> list[str]:
    """Return the rows as lines of one table for a terminal, narrow enough for one of 80 columns, and their notes."""
    lines = [{"name": "what", "target": "target", "measured": "measured", "verdict": "verdict"}, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in ("name", "target", "measured")}
    table = []
    for line in lines:
        columns = [f"{line[key]:<{width}}" for key, width in widths.items()]
        verdict = line["verdict"].upper() if line["verdict"] == MISSED else line["verdict"]
        table.append("  ".join([*columns, verdict]))
    return [*table, *(f"({note})" for note in notes(rows))]


def slo_missed(rows: list[Row], load_wanted: bool) -> list[str]:
    """Return what keeps the verdict from being a pass, empty for a pass.

    What was not measured is no pass either, unless no load was wanted.
    """
    missed = [line for line in rows if line["verdict"] == MISSED]
    blank = [line for line in rows if line["verdict"] == NOT_MEASURED] if load_wanted else []
    said = [f"missed {line['name']}, {line['measured']} instead of {line['target']}" for line in missed]
    if blank:
        said.append(f"not measured {', '.join(line['name'] for line in blank)}")
    return [*said, *(notes([*missed, *blank]))]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"slo_rows": slo_rows, "slo_table": slo_table, "slo_missed": slo_missed}
