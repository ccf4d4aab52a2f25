"""From a recording to figures: exact percentiles of every measured order, and whether the run may count at all."""

import math
from collections.abc import Sequence
from typing import Any

from trading_bench.generator import Recording

VOID_LATENESS_P99_US = 200.0
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
CURVE_PERCENTILES = (
    0.0,
    10.0,
    25.0,
    50.0,
    75.0,
    90.0,
    95.0,
    97.5,
    99.0,
    99.5,
    99.75,
    99.9,
    99.95,
    99.99,
    99.999,
    100.0,
)
SLICE_NS = 100_000_000

Summary = dict[str, Any]


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Nearest rank: the smallest value that at least `percent` % of the ordered values do not exceed."""
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def distribution_us(values_ns: Sequence[int]) -> dict[str, float]:
    """avg, p50, p95, p99, p999 and max in µs; empty without values."""
    if not values_ns:
        return {}
    ordered = sorted(values_ns)
    figures = {name: percentile(ordered, percent) / 1e3 for name, percent in PERCENTILES.items()}
    return {"avg": sum(ordered) / len(ordered) / 1e3, **figures, "max": ordered[-1] / 1e3}


def summarize(recording: Recording, left_open_shares: int) -> Summary:
    """All figures of a run, units in the names; warm-up orders count as sent, and in nothing else."""
    slots = range(recording.warmup_slots, recording.slots)
    intended_ns, sent_ns, answered_ns = recording.intended_ns, recording.sent_ns, recording.answered_ns
    measured = [slot for slot in slots if sent_ns[slot]]
    answered = [slot for slot in measured if answered_ns[slot]]
    corrected_ns = [answered_ns[slot] - intended_ns[slot] for slot in answered]
    lateness = distribution_us([sent_ns[slot] - intended_ns[slot] for slot in measured])
    errors = {f"surprise: {name}": count for name, count in sorted(recording.surprises.items())}
    if unanswered := len(measured) - len(answered):
        errors["orders without an answer"] = unanswered
    if left_open_shares:
        errors["shares that could not be cancelled"] = left_open_shares
    void_reason = _void_reason(measured, recording, lateness)
    return {
        "void": bool(void_reason),
        "void_reason": void_reason,
        "offered_rate_per_s": recording.rate_per_s,
        "throughput_per_s": _throughput_per_s(recording, answered),
        "orders_sent": len(measured),
        "orders_answered": len(answered),
        "orders_warmup": recording.warmup_slots,
        "rejects": dict(sorted(recording.rejects.items())),
        "rejects_total": recording.rejects.total(),
        "errors": errors,
        "errors_total": sum(errors.values()),
        "latency_corrected_us": distribution_us(corrected_ns),
        "latency_raw_us": distribution_us([answered_ns[slot] - sent_ns[slot] for slot in answered]),
        "lateness_us": lateness,
        "latency_curve_us": _curve_us(corrected_ns),
        "latency_slices": _slices(recording, answered),
        "generator": {
            "mode": "spin" if recording.spins else "sleep",
            "cpu_s": recording.cpu_s,
            "wall_s": recording.wall_s,
        },
    }


def _void_reason(measured: list[int], recording: Recording, lateness: dict[str, float]) -> str:
    if len(measured) < recording.slots - recording.warmup_slots:
        return "the run was interrupted"
    if lateness["p99"] > VOID_LATENESS_P99_US:
        return (
            f"the generator itself was late: p99 of its lateness is {lateness['p99']:.0f} µs, "
            f"more than {VOID_LATENESS_P99_US:.0f} µs; give it a CPU of its own, or run it on another machine"
        )
    return ""


def _throughput_per_s(recording: Recording, answered: list[int]) -> float:
    """Answered orders over the time from the first measured order's intended time to the last answer."""
    if not answered:
        return 0.0
    last_ns = max(recording.answered_ns[slot] for slot in answered)
    return len(answered) * 1e9 / (last_ns - recording.intended_ns[recording.warmup_slots])


def _curve_us(values_ns: list[int]) -> list[tuple[float, float]]:
    ordered = sorted(values_ns)
    return [(percent, percentile(ordered, percent) / 1e3) for percent in CURVE_PERCENTILES] if ordered else []


def _slices(recording: Recording, answered: list[int]) -> list[dict[str, float]]:
    """p50, p99 and max for each 100 ms of the schedule, for a look at what a percentile hides."""
    slices: dict[int, list[int]] = {}
    for slot in answered:
        intended_ns = recording.intended_ns[slot]
        position = (intended_ns - recording.intended_ns[recording.warmup_slots]) // SLICE_NS
        slices.setdefault(position, []).append(recording.answered_ns[slot] - intended_ns)
    return [
        {
            "start_s": position * SLICE_NS / 1e9,
            "p50_us": percentile(ordered, 50) / 1e3,
            "p99_us": percentile(ordered, 99) / 1e3,
            "max_us": ordered[-1] / 1e3,
        }
        for position, ordered in ((position, sorted(values)) for position, values in sorted(slices.items()))
    ]


def table(summary: Summary) -> str:
    """The summary for a terminal."""
    head = f"{'µs':<28}" + "".join(f"{name:>10}" for name in ("avg", "p50", "p95", "p99", "p99.9", "max"))
    lines = [head]
    for label, key in (
        ("from the intended time", "latency_corrected_us"),
        ("from the actual send", "latency_raw_us"),
        ("generator's own lateness", "lateness_us"),
    ):
        lines.append(f"{label:<28}" + "".join(f"{value:>10.1f}" for value in summary[key].values()))
    generator = summary["generator"]
    lines.append(
        f"offered {summary['offered_rate_per_s']:.0f}/s, answered {summary['throughput_per_s']:.1f}/s; "
        f"{summary['orders_sent']} orders sent, {summary['orders_answered']} answered, "
        f"{summary['rejects_total']} rejected, {summary['errors_total']} errors; "
        f"generator {generator['cpu_s']:.1f} CPU s in {generator['wall_s']:.1f} s, waiting by {generator['mode']}"
    )
    lines += [f"rejected with reason {reason}: {count}" for reason, count in summary["rejects"].items()]
    lines += [f"error: {name}: {count}" for name, count in summary["errors"].items()]
    if summary["void"]:
        lines.append(f"VOID, not a verdict: {summary['void_reason']}")
    return "\n".join(lines)
