"""The figures of one or more runs, computed from their recordings.

Percentiles are exact, not those of a histogram. They are computed for all orders, and again for the orders in slices
that were not disturbed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_bench import disturbance
from trading_bench.disturbance import SLICE_NS, UNCERTAIN_NS, Offset, Record, Slice
from trading_bench.generator import Recording

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
Summary = dict[str, Any]


def percentile(ordered: Sequence[int], percent: float) -> int:
    """Return the percentile of sorted values by the nearest-rank method.

    At least `percent` % of the values are at most this value, and it is the smallest value for which that is true.
    """
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def distribution_us(values_ns: Sequence[int]) -> dict[str, float]:
    """Return avg, p50, p95, p99, p999 and max of the values in µs, each under its name. Without values return {}."""
    if not values_ns:
        return {}
    ordered = sorted(values_ns)
    figures = {name: percentile(ordered, percent) / 1e3 for name, percent in PERCENTILES.items()}
    return {"avg": sum(ordered) / len(ordered) / 1e3, **figures, "max": ordered[-1] / 1e3}


@dataclass
class Round:
    """One run of the generator: its recording, and the records of disturbances of the two hosts.

    `own` is the record of the generator's host, `engine_host` that of the engine's host. `engine_host` is None if both
    are the same host. A record is also None if no witness ran on its host.
    """

    recording: Recording
    left_open_shares: int = 0
    own: Record | None = None
    engine_host: Record | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        recording = self.recording
        slots = range(recording.warmup_slots, recording.slots)
        self.measured = [slot for slot in slots if recording.sent_ns[slot]]
        self.answered = [slot for slot in self.measured if recording.answered_ns[slot]]
        self.interrupted = len(self.measured) < len(slots)
        self.remarks: list[str] = []
        self.slices: list[Slice] = self._divide()
        self.counting = {number for number, each in enumerate(self.slices) if not each.why}

    def number_of(self, slot: int) -> int:
        """Return the number of the slice of 100 ms in which an order was due."""
        intended_ns = self.recording.intended_ns
        return (intended_ns[slot] - intended_ns[self.recording.warmup_slots]) // SLICE_NS

    def _divide(self) -> list[Slice]:
        recording, seen_by = self.recording, []
        if self.own:
            seen_by.append((self.own, Offset()))
            self.remarks += disturbance.remarks(self.own, "the generator's host" if self.engine_host else "this host")
        if self.engine_host:
            self.remarks += disturbance.remarks(self.engine_host, "the engine's host")
            offset = disturbance.offset_of(self.engine_host, recording)
            if offset and offset.uncertain_ns <= UNCERTAIN_NS:
                seen_by.append((self.engine_host, offset))
            else:
                self.remarks.append(
                    "the clock of the engine's host is not known well enough: what was seen there is left out"
                )
        longest: dict[int, tuple[int, int]] = {}
        for slot in self.answered:
            number = self.number_of(slot)
            intended_ns, answered_ns = recording.intended_ns[slot], recording.answered_ns[slot]
            before = longest.get(number, (0, 0))
            if answered_ns - intended_ns > before[1] - before[0]:
                longest[number] = (intended_ns, answered_ns)
        return disturbance.slices(recording, disturbance.see(seen_by), longest)


def summarize(rounds: Sequence[Round]) -> Summary:
    """Return all figures of one or more runs together. Each figure's name ends with its unit.

    Orders of the warm-up are counted only in `orders_warmup`, in the rejects and in some of the errors.
    """
    recordings = [each.recording for each in rounds]
    errors: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    for each in rounds:
        rejects += each.recording.rejects
        errors += Counter({f"surprise: {name}": count for name, count in each.recording.surprises.items()})
        errors["orders without an answer"] += len(each.measured) - len(each.answered)
        errors["shares that could not be cancelled"] += each.left_open_shares
    errors = +errors
    times = [(each.recording, each.measured, each.answered) for each in rounds]
    undisturbed = [
        (
            each.recording,
            [slot for slot in each.measured if each.number_of(slot) in each.counting],
            [slot for slot in each.answered if each.number_of(slot) in each.counting],
        )
        for each in rounds
    ]
    corrected_ns = _corrected_ns(times)
    return {
        "interrupted": any(each.interrupted for each in rounds),
        "offered_rate_per_s": recordings[0].rate_per_s,
        "throughput_per_s": _throughput_per_s(rounds),
        "orders_sent": sum(len(each.measured) for each in rounds),
        "orders_answered": sum(len(each.answered) for each in rounds),
        "orders_shown": sum(each.recording.shown_ns[slot] > 0 for each in rounds for slot in each.answered),
        "orders_warmup": sum(each.warmup_slots for each in recordings),
        "rejects": dict(sorted(rejects.items())),
        "rejects_total": rejects.total(),
        "errors": dict(sorted(errors.items())),
        "errors_total": errors.total(),
        **_latencies_us(times),
        "undisturbed": _latencies_us(undisturbed),
        "disturbance": _disturbance(rounds),
        "latency_curve_us": _curve_us(corrected_ns),
        "latency_slices": _slices(rounds),
        "generator": {
            "mode": "spin" if all(each.spins for each in recordings) else "sleep",
            "cpu_s": sum(each.cpu_s for each in recordings),
            "offered_s": sum(each.offered_s for each in recordings),
            "wall_s": sum(each.wall_s for each in recordings),
        },
    }


_Times = Sequence[tuple[Recording, list[int], list[int]]]


def _corrected_ns(times: _Times) -> list[int]:
    return [
        recording.answered_ns[slot] - recording.intended_ns[slot]
        for recording, _, answered in times
        for slot in answered
    ]


def _latencies_us(times: _Times) -> dict[str, dict[str, float]]:
    """Return four distributions in µs, each as `distribution_us` does:

    - the latency from the intended time,
    - the latency from the time of sending,
    - the lateness of the generator,
    - the delay of the feed behind the reply.
    """
    raw_ns = [each.answered_ns[slot] - each.sent_ns[slot] for each, _, answered in times for slot in answered]
    late_ns = [each.sent_ns[slot] - each.intended_ns[slot] for each, measured, _ in times for slot in measured]
    feed_ns = [
        each.shown_ns[slot] - each.replied_ns[slot]
        for each, _, answered in times
        for slot in answered
        if each.shown_ns[slot]
    ]
    return {
        "latency_corrected_us": distribution_us(_corrected_ns(times)),
        "latency_raw_us": distribution_us(raw_ns),
        "lateness_us": distribution_us(late_ns),
        "feed_us": distribution_us(feed_ns),
    }


def _disturbance(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the number of slices, how many of them were set aside as disturbed and why, and each witness's figures."""
    slices = [each for one in rounds for each in one.slices]
    causes: Counter[str] = Counter(cause for each in slices if each.why for cause in each.why.split(", "))
    witnesses = [
        {
            "host": where,
            "cpu": witness["cpu"],
            "real_time": not witness["refused"],
            "milliseconds": witness["milliseconds"],
            "marked": len(witness["marks"]),
            "cpu_percent": 100 * witness["cpu_ns"] / (1e6 * max(witness["milliseconds"], 1)),
            "quiet_us": witness["quiet_loop_ns"] / 1e3,
            "loaded_us": witness["loaded_loop_ns"] / 1e3,
        }
        for one in rounds
        for where, record in (("generator", one.own), ("engine", one.engine_host))
        if record
        for witness in record["witnesses"]
    ]
    aside = sum(bool(each.why) for each in slices)
    return {
        "witnessed": any(witness["real_time"] for witness in witnesses),
        "slices": len(slices),
        "set_aside": aside,
        "undisturbed_s": (len(slices) - aside) * SLICE_NS / 1e9,
        "causes": dict(causes.most_common()),
        "counted_anyway": dict(Counter(each.remark for each in slices if each.remark).most_common()),
        "remarks": list(dict.fromkeys(remark for one in rounds for remark in one.remarks)),
        "witnesses": witnesses,
    }


def _throughput_per_s(rounds: Sequence[Round]) -> float:
    """Return the number of answered orders per second, over all runs together.

    The duration of a run is the time from the intended time of its first measured order to its last answer.
    """
    lasted_ns = 0
    for each in rounds:
        if each.answered:
            last_ns = max(each.recording.answered_ns[slot] for slot in each.answered)
            lasted_ns += last_ns - each.recording.intended_ns[each.recording.warmup_slots]
    return sum(len(each.answered) for each in rounds) * 1e9 / lasted_ns if lasted_ns else 0.0


def _curve_us(values_ns: list[int]) -> list[tuple[float, float]]:
    ordered = sorted(values_ns)
    return [(percent, percentile(ordered, percent) / 1e3) for percent in CURVE_PERCENTILES] if ordered else []


def _slices(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """Return for each slice of all runs, in order, its start, p50, p99 and max, and why it is set aside.

    A slice is 100 ms of a run. The reason is "" for a slice that counts.
    """
    found: list[dict[str, Any]] = []
    for each in rounds:
        waited_ns: list[list[int]] = [[] for _ in each.slices]
        for slot in each.answered:
            recording = each.recording
            waited_ns[each.number_of(slot)].append(recording.answered_ns[slot] - recording.intended_ns[slot])
        for one, values_ns in zip(each.slices, waited_ns, strict=True):
            ordered = sorted(values_ns)
            figures = {"p50_us": 50.0, "p99_us": 99.0, "max_us": 100.0} if ordered else {}
            found.append(
                {
                    "start_s": len(found) * SLICE_NS / 1e9,
                    **{name: percentile(ordered, percent) / 1e3 for name, percent in figures.items()},
                    "set_aside": one.why,
                }
            )
    return found


def table(summary: Summary) -> str:
    """Return the summary as a text of several lines for a terminal."""
    head = f"{'µs':<28}" + "".join(f"{name:>10}" for name in ("avg", "p50", "p95", "p99", "p99.9", "max"))
    lines = [head]
    kinds = (
        ("from the intended time", "latency_corrected_us"),
        ("from the actual send", "latency_raw_us"),
        ("generator's own lateness", "lateness_us"),
        *([("feed, from the reply", "feed_us")] if summary["feed_us"] else []),
    )
    for label, key in kinds:
        lines.append(f"{label:<28}" + "".join(f"{value:>10.1f}" for value in summary[key].values()))
    disturbance = summary["disturbance"]
    if disturbance["set_aside"]:
        lines.append(f"{said_of_slices(disturbance)}:")
        for label, key in kinds:
            values = summary["undisturbed"][key].values()
            lines.append(f"{label:<28}" + "".join(f"{value:>10.1f}" for value in values))
    generator = summary["generator"]
    lines.append(
        f"offered {summary['offered_rate_per_s']:.0f}/s, answered {summary['throughput_per_s']:.1f}/s; "
        f"{summary['orders_sent']} orders sent, {summary['orders_answered']} answered, "
        f"{summary['rejects_total']} rejected, {summary['errors_total']} errors; "
        f"generator {generator['cpu_s']:.1f} CPU s in {generator['wall_s']:.1f} s, waiting by {generator['mode']}"
    )
    lines += [f"rejected with reason {reason}: {count}" for reason, count in summary["rejects"].items()]
    lines += [f"error: {name}: {count}" for name, count in summary["errors"].items()]
    lines += disturbance["remarks"]
    if summary["interrupted"]:
        lines.append("INTERRUPTED: these are the figures of a part of the run")
    return "\n".join(lines)


def said_of_slices(disturbance: dict[str, Any]) -> str:
    """Return a line of text that says how much of the time the machine disturbed, and by what."""
    share = 100 * disturbance["set_aside"] / max(disturbance["slices"], 1)
    causes = ", ".join(disturbance["causes"])
    return f"the machine disturbed {share:.0f} % of the time ({causes}), {disturbance['undisturbed_s']:.1f} s were not"
