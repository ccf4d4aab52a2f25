# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that compare a trading host's state and measured figures with its SLO targets: one row per target.

The roles `slo` and `tuning_benchmark` use them. The functions only compute, and read nothing from the host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, str]

MET = "met"
MISSED = "missed"
NOT_MEASURED = "not measured"

LATENCIES = ("avg", "p95", "p99")
FEED = "feed p99"
LATE_US = 200.0  # the generator is on time up to this p99 of its lateness


def row(name: str, target: str, measured: str, met: bool | None, note: str = "") -> Row:
    """Return one row of the verdict's table: a target, its measured value, and whether the target was met.

    `met` is None for a value that was not measured.
    """
    verdict = NOT_MEASURED if met is None else MET if met else MISSED
    return {"name": name, "target": target, "measured": measured, "verdict": verdict, "note": note}


def state_rows(state: dict[str, Any]) -> list[Row]:
    """Return the rows about the host's state, from the result of the module trading_host_info.

    There is one row for each systemd unit, and one for the health check.
    """
    rows = [row(unit, "active, enabled", seen, seen == "active, enabled") for unit, seen in state["units"].items()]
    if state.get("compiled") is not None and rows:
        rows[0]["note"] = f"the engine in force is {'compiled' if state['compiled'] else 'not compiled'}"
    health = state["health"]
    well = health["status"] == 200
    answer = str(health["status"] or "no answer")
    return [*rows, row("health", "200", answer, well, "" if well else f"health says {health['text'].strip()[:500]}")]


def cpu_percent(looks: list[list[dict[str, Any]]], figures: dict[str, Any], on_host: bool) -> float:
    """Return the host's CPU use under load without the load generator's share, in percent of all its CPUs.

    `looks` are pairs of readings: one before and one after each load. The CPU time between the two readings is divided
    by the time in which orders were sent. So CPU time of the readings, or of work after the last order, can only raise
    the result. The generator's time is subtracted when the generator ran on the host and the readings cover the whole
    machine.
    """
    used_s = 0.0
    for before, after in looks:
        used_s += sum(busy_s - before["cpu_busy_s"].get(part, 0.0) for part, busy_s in after["cpu_busy_s"].items())
    if on_host and looks[-1][1]["cpu_scope"] == "machine":
        used_s -= figures["generator"]["cpu_s"]
    percent: float = 100 * max(used_s, 0.0) / (figures["generator"]["offered_s"] * looks[-1][1]["cpus"])
    return percent


def target_texts(targets: dict[str, float]) -> dict[str, str]:
    """Return a dictionary: the name of each target that needs load → its limit as text, such as "< 500 µs"."""
    texts = {
        "avg": f"< {targets['avg_us']:g} µs",
        "p95": f"< {targets['p95_us']:g} µs",
        "p99": f"< {targets['p99_us']:g} µs",
        FEED: f"< {targets['feed_p99_us']:g} µs" if "feed_p99_us" in targets else "",
        "throughput": f"≥ {targets['throughput_per_s']:g}/s",
        "errors": "0",
        "rejects": "0",
        "cpu": f"< {targets['cpu_percent']:g} %",
    }
    return {name: text for name, text in texts.items() if text}


def too_little_undisturbed(load: dict[str, Any]) -> str:
    """Return why the undisturbed time is too short for a verdict, or an empty text when it is long enough.

    Time is undisturbed when nothing outside of the host's programs took away or slowed its CPUs.
    """
    disturbance = load["figures"]["disturbance"]
    slices, undisturbed_s = disturbance["slices"], disturbance["undisturbed_s"]
    undisturbed = slices - disturbance["set_aside"]
    if undisturbed_s >= load["wanted_s"] and 3 * undisturbed >= slices:
        return ""
    causes = ", ".join(f"{cause} in {count}" for cause, count in disturbance["causes"].items())
    return (
        f"the machine left {undisturbed_s:g} s of {slices / 10:g} s undisturbed, too little for a verdict, "
        f"which needs {load['wanted_s']:g} s and a third of all slices; of {slices} slices of 100 ms: {causes}"
    )


def sets_aside(load: dict[str, Any]) -> bool:
    """Return whether the figures leave out the times in which something disturbed the machine's CPUs."""
    return bool(load["disturbed"] == "set_aside" and load["figures"]["disturbance"]["set_aside"])


def latencies_met(targets: dict[str, float], figures: dict[str, Any]) -> bool:
    """Return whether every latency is below its target. Latencies count from the time at which an order was due."""
    latency_us = figures["latency_corrected_us"]
    return bool(latency_us) and all(latency_us[name] < targets[f"{name}_us"] for name in LATENCIES)


def generator_note(figures: dict[str, Any]) -> str:
    """Return why a late load generator may have caused a missed latency, or an empty text when it was on time."""
    late_us = figures["lateness_us"]["p99"]
    if late_us <= LATE_US:
        return ""
    return (
        f"the generator itself was late, p99 {late_us:.0f} µs; give it a CPU of its own, or run it on another machine"
    )


def latency_rows(targets: dict[str, float], load: dict[str, Any]) -> list[Row]:
    """Return one row for each latency target.

    Latency is counted from the time at which an order was due. So a late generator or a disturbed machine can only
    increase it. A figure below its target is therefore met in any case. A figure above its target may have another
    cause than the engine.
    """
    figures, texts = load["figures"], target_texts(targets)
    whole_us = figures["latency_corrected_us"]
    if not whole_us:
        return [row(name, texts[name], "no answer", False) for name in LATENCIES]
    aside = sets_aside(load) and not latencies_met(targets, figures)
    reason = too_little_undisturbed(load) if aside else ""
    if reason:
        return [
            row(
                name,
                texts[name],
                f"{whole_us[name]:.0f} µs",
                True if whole_us[name] < targets[f"{name}_us"] else None,
                reason,
            )
            for name in LATENCIES
        ]
    judged = figures["undisturbed"] if aside else figures
    if not judged["latency_corrected_us"]:
        return [row(name, texts[name], "no answer", False) for name in LATENCIES]
    note = aside_note(load) if aside else ""
    rows = []
    for name in LATENCIES:
        value_us, raw_us = judged["latency_corrected_us"][name], judged["latency_raw_us"][name]
        met: bool | None = value_us < targets[f"{name}_us"]
        late = ""
        if not met and raw_us < targets[f"{name}_us"]:
            late = generator_note(judged)
            met = None if late else False
        rows.append(row(name, texts[name], f"{value_us:.0f} µs", met, late or note))
    return rows


def judges_feed(targets: dict[str, float], figures: dict[str, Any]) -> bool:
    """Return whether market data gets a verdict.

    It gets no verdict on a host without a feed. It also gets none when the load generator is too old to measure the
    feed.
    """
    return "feed_p99_us" in targets and "feed_us" in figures


def feed_met(targets: dict[str, float], figures: dict[str, Any]) -> bool:
    """Return whether market data met its target over the whole time of the load.

    The target limits the time from the engine's reply to the market data about the same order. Also return True when
    market data gets no verdict.
    """
    if not judges_feed(targets, figures):
        return True
    return bool(figures["feed_us"]) and figures["feed_us"]["p99"] < targets["feed_p99_us"]


def feed_row(targets: dict[str, float], load: dict[str, Any]) -> Row:
    """Return the table's row for market data.

    The kernel timestamps both the reply and the market data. So a late load generator cannot be the reason for a missed
    target.
    """
    figures, text = load["figures"], target_texts(targets)[FEED]
    judged, note = figures["feed_us"], ""
    if judged and sets_aside(load) and not feed_met(targets, figures):
        reason = too_little_undisturbed(load)
        if reason:
            return row(FEED, text, f"{judged['p99']:.0f} µs", None, reason)
        note = aside_note(load)
        judged = figures["undisturbed"]["feed_us"]
    if not judged:
        unseen = "the market saw none of the orders: `journalctl -u trading-feed` says why"
        return row(FEED, text, "nothing seen", False, unseen)
    return row(FEED, text, f"{judged['p99']:.0f} µs", judged["p99"] < targets["feed_p99_us"], note)


def aside_note(load: dict[str, Any]) -> str:
    """Return a note that says which part of the time the latencies cover, and what the latencies of all time are."""
    figures = load["figures"]
    disturbance, whole_us = figures["disturbance"], figures["latency_corrected_us"]
    others = ", ".join(f"{name} {whole_us[name]:.0f}" for name in LATENCIES)
    share = 100 * disturbance["set_aside"] / disturbance["slices"]
    return (
        f"latencies are those of the {disturbance['undisturbed_s']:g} s that the machine left undisturbed, "
        f"{share:.0f} % of the time was disturbed; over all of it: {others} µs"
    )


def load_rows(targets: dict[str, float], load: dict[str, Any]) -> list[Row]:
    """Return the rows of all targets that need load.

    `load` is empty when no load ran; then every target is "not measured". Otherwise it has these keys:
    - figures: the result of the module order_figures.
    - looks: pairs of the host's readings, one before and one after each load.
    - on_host: whether the load generator ran on the host.
    - disturbed: "count" includes disturbed time in the figures, "set_aside" excludes it.
    - wanted_s: the undisturbed time in seconds that a verdict needs.
    - unwatched: why the CPUs were not watched for disturbances, or an empty text when they were.
    """
    texts = target_texts(targets)
    if not load:
        return [row(name, target, "no load", None) for name, target in texts.items()]
    figures = load["figures"]
    if figures["interrupted"]:
        return [row(name, target, "interrupted", None, "the load was interrupted") for name, target in texts.items()]
    rows = latency_rows(targets, load)
    if judges_feed(targets, figures):
        rows.append(feed_row(targets, load))
    throughput_per_s = figures["throughput_per_s"]
    enough: bool | None = throughput_per_s >= targets["throughput_per_s"]
    remarks = [*figures["disturbance"]["remarks"], *([load["unwatched"]] if load["unwatched"] else [])]
    if not enough and sets_aside(load):
        enough = None
        remarks.append("on a machine that was disturbed less throughput shows nothing")
    rows.append(row("throughput", texts["throughput"], f"{throughput_per_s:.0f}/s", enough, "; ".join(remarks)))
    for name in ("errors", "rejects"):
        total = figures[f"{name}_total"]
        note = ", ".join(f"{count} {what}" for what, count in figures[name].items())
        rows.append(row(name, texts[name], str(total), total == 0, f"{name}, {note}" if note else ""))
    percent = cpu_percent(load["looks"], figures, load["on_host"])
    own_percent = 100 * figures["generator"]["cpu_s"] / figures["generator"]["wall_s"]
    note = f"the generator used {own_percent:.0f} % of one CPU, which is not part of cpu"
    rows.append(row("cpu", texts["cpu"], f"{percent:.0f} %", percent < targets["cpu_percent"], note))
    return rows


def slo_needs_more(targets: dict[str, float], load: dict[str, Any]) -> bool:
    """Return whether a further load could lead to a verdict.

    That is so when a figure of the whole time misses its target, and the undisturbed time is too short for a verdict.
    """
    figures = load["figures"]
    if figures["interrupted"] or not sets_aside(load):
        return False
    if latencies_met(targets, figures) and feed_met(targets, figures):
        return False
    return bool(too_little_undisturbed(load))


def slo_rows(targets: dict[str, float], state: dict[str, Any], load: dict[str, Any]) -> list[Row]:
    """Return all rows of the verdict's table: one for each unit, one for the health check, and one for each target.

    `state` is the result of the module trading_host_info. `load` is described at load_rows.
    """
    used = state["memory_percent"]
    memory = row("memory", f"< {targets['memory_percent']:g} %", f"{used:.0f} %", used < targets["memory_percent"])
    return [*state_rows(state), *load_rows(targets, load), memory]


def notes(rows: list[Row]) -> list[str]:
    """Return the notes of the rows without duplicates."""
    return list(dict.fromkeys(line["note"] for line in rows if line["note"]))


def slo_table(rows: list[Row]) -> list[str]:
    """Return the rows as lines of a table for a terminal of 80 columns, followed by each note once."""
    lines = [{"name": "what", "target": "target", "measured": "measured", "verdict": "verdict"}, *rows]
    widths = {key: max(len(line[key]) for line in lines) for key in ("name", "target", "measured")}
    table = []
    for line in lines:
        columns = [f"{line[key]:<{width}}" for key, width in widths.items()]
        verdict = line["verdict"].upper() if line["verdict"] == MISSED else line["verdict"]
        table.append("  ".join([*columns, verdict]))
    return [*table, *(f"({note})" for note in notes(rows))]


def slo_missed(rows: list[Row]) -> list[str]:
    """Return one text for each missed target, with its measured value, followed by the notes.

    The list is empty when no target is missed.
    """
    missed = [line for line in rows if line["verdict"] == MISSED]
    said = [f"missed {line['name']}, {line['measured']} instead of {line['target']}" for line in missed]
    return [*said, *notes(missed)]


def slo_unmeasured(rows: list[Row]) -> list[str]:
    """Return a list with one text that names all targets without a verdict, followed by the notes.

    The list is empty when all targets have a verdict.
    """
    blank = [line for line in rows if line["verdict"] == NOT_MEASURED]
    said = [f"not measured {', '.join(line['name'] for line in blank)}"] if blank else []
    return [*said, *notes(blank)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "slo_rows": slo_rows,
            "slo_table": slo_table,
            "slo_missed": slo_missed,
            "slo_unmeasured": slo_unmeasured,
            "slo_needs_more": slo_needs_more,
        }
