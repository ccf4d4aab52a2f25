"""Which 100 ms of a run the machine disturbed. Pure: records of `trading_bench.machine` in, slices out.

A slice is disturbed when the machine was taken away or slowed in it. What a program of this host does (a long system
call, a flood of packets, a task of higher priority) is no disturbance, so a witness that only woke late proves nothing:
its loop was slow as well, or time was stolen, or the witness of another CPU saw the same moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_bench.generator import Recording
from trading_bench.witness import PERIOD_NS, PROBE_LOOPS, SLOW_TIMES

SLICE_NS = 100_000_000
OUTSIDE_SHARE = 0.05
REAL_TIME_NS = 1_000_000  # a real-time task of others that ran longer in a sample is named, and its slices count
UNCERTAIN_NS = 20_000_000  # clocks known less exactly than this set nothing aside
SLACK_NS = 2_000_000  # a stall may last so much longer than the disturbance: what waited has to be served as well
SLOW_THROUGHOUT = 3.0  # a loop finds cold caches beside a busy engine, which alone doubles its time

Record = dict[str, Any]
Span = tuple[int, int]


@dataclass
class Seen:
    """What one host's record says, on the generator's clock."""

    disturbed: dict[str, list[Span]] = field(default_factory=dict)
    taken: list[tuple[Span, int]] = field(default_factory=list)  # of a sample only so many nanoseconds
    real_time: list[Span] = field(default_factory=list)
    stalls: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Offset:
    """A host's monotonic clock less the generator's, and how far that may be wrong, in nanoseconds."""

    ns: int = 0
    uncertain_ns: int = 0


@dataclass(frozen=True)
class Slice:
    """100 ms of the schedule. `why` is empty for one that counts; `remark` says why a disturbed one counts anyway."""

    start_ns: int
    why: str = ""
    remark: str = ""


def offset_of(record: Record, recording: Recording) -> Offset | None:
    """Return the clock of the engine's host, found from the engine's times in the replies; None when it is not known.

    The engine stamps a reply between its order's sending and the reading of the reply, so the fastest reply gives the
    offset, and half of its round trip is the uncertainty (as in NTP, RFC 5905 section 8).
    """
    ahead_ns = record.get("engine_ahead_ns")
    trips = [
        (answered_ns - sent_ns, (answered_ns + sent_ns) // 2, engine_ns)
        for sent_ns, answered_ns, engine_ns in zip(
            recording.sent_ns, recording.answered_ns, recording.engine_ns, strict=True
        )
        if answered_ns and engine_ns
    ]
    if ahead_ns is None or not trips:
        return None
    trip_ns, middle_ns, engine_ns = min(trips)
    return Offset(engine_ns - ahead_ns - middle_ns, trip_ns // 2)


def see(records: Sequence[tuple[Record, Offset]]) -> Seen:
    """Return the disturbed spans of all hosts of a run, by cause, and what else is known of their times."""
    seen = Seen()
    marks: list[tuple[tuple[int, int], Span, bool, bool]] = []
    for number, (record, offset) in enumerate(records):
        for sample in record["samples"]:
            span = _moved((sample["from_ns"], sample["to_ns"]), offset)
            lasted_ns = sample["to_ns"] - sample["from_ns"]
            for name, cause, more_than_ns in (
                ("throttled_ns", "a CPU quota was used up", 0.0),
                ("outside_ns", "other programs took the CPU from the machine", OUTSIDE_SHARE * lasted_ns),
            ):
                if sample.get(name, 0) > more_than_ns:
                    seen.disturbed.setdefault(cause, []).append(span)
                    seen.taken.append((span, sample[name]))
            if sample.get("real_time_ns", 0) > REAL_TIME_NS:
                seen.real_time.append(span)
        for witness in record["witnesses"]:
            if witness["refused"]:
                continue  # of normal priority it sees nothing that the engine does not do
            slow_ns = witness["quiet_loop_ns"] * SLOW_TIMES * PROBE_LOOPS
            for due_ns, late_ns, probe_ns in witness["marks"]:
                # It may have begun right after the wake-up before this one.
                span = (due_ns - PERIOD_NS, due_ns + max(late_ns + probe_ns, PERIOD_NS))
                stolen = any(
                    sample.get("stolen_ns", 0) and _meet(span, (sample["from_ns"], sample["to_ns"]))
                    for sample in record["samples"]
                )
                marks.append(((number, witness["cpu"]), _moved(span, offset), probe_ns > slow_ns, stolen))
        for end_ns, stall_ns, _cause in record["stalls"]:
            seen.stalls.append((end_ns - offset.ns, stall_ns))
    for cpu, span, slow, stolen in marks:
        if slow:
            seen.disturbed.setdefault("the CPU was slowed", []).append(span)
        elif stolen:
            seen.disturbed.setdefault("the hypervisor took the CPU", []).append(span)
        elif any(other != cpu and _meet(span, other_span) for other, other_span, _slow, _stolen in marks):
            seen.disturbed.setdefault("all CPUs stood still", []).append(span)
    return seen


def slices(recording: Recording, seen: Seen, latency_ns: dict[int, int]) -> list[Slice]:
    """Divide the measured time. `latency_ns` is the longest latency in each slice, by the slice's number.

    A slice that is disturbed is set aside with the one after it, in which the queue is served. A run of such slices
    counts all the same when somebody waited longer in it than the machine was away (so the engine stood still as well),
    or when a real-time task of others ran.
    """
    first_ns = recording.intended_ns[recording.warmup_slots]
    count = (recording.intended_ns[-1] - first_ns) // SLICE_NS + 1
    spans = [(span, cause) for cause, found in seen.disturbed.items() for span in found]
    whys: list[str] = []
    for number in range(count):
        own = (first_ns + number * SLICE_NS, first_ns + (number + 1) * SLICE_NS)
        causes = dict.fromkeys(cause for span, cause in spans if _meet(span, own))
        whys.append(", ".join(causes))
    after = ["" if why or not before else "right after" for why, before in zip(whys, ["", *whys], strict=False)]
    whys = [why or next_to for why, next_to in zip(whys, after, strict=True)]
    found: list[Slice] = []
    for run in _runs(whys):
        own = (first_ns + run.start * SLICE_NS, first_ns + run.stop * SLICE_NS)
        remark = _why_it_counts(own, run, seen, latency_ns) if whys[run.start] else ""
        found += [Slice(first_ns + number * SLICE_NS, "" if remark else whys[number], remark) for number in run]
    return found


def _why_it_counts(own: Span, run: range, seen: Seen, latency_ns: dict[int, int]) -> str:
    if any(_meet(own, span) for span in seen.real_time):
        return "a real-time task ran"
    sampled = {span for span, _taken_ns in seen.taken}
    spans = [span for found in seen.disturbed.values() for span in found if span not in sampled]
    away_ns = _length([(max(span[0], own[0] - SLICE_NS), min(span[1], own[1])) for span in spans if _meet(span, own)])
    away_ns += sum(taken_ns for span, taken_ns in seen.taken if _meet(span, own))
    longest_ns = max((latency_ns.get(number, 0) for number in run), default=0)
    stalled_ns = max((lasted for end, lasted in seen.stalls if _meet((end - lasted, end), own)), default=0)
    if stalled_ns > away_ns + SLACK_NS:
        return f"the engine stalled for {stalled_ns / 1e6:.0f} ms"
    if longest_ns > away_ns + SLACK_NS:
        return f"an order waited {longest_ns / 1e6:.0f} ms, the machine was away for {away_ns / 1e6:.0f}"
    return ""


def remarks(record: Record, where: str) -> list[str]:
    """Return what a reader has to know of a host's witnesses."""
    said = []
    for witness in record["witnesses"]:
        cpu = f"CPU {witness['cpu']} of {where}"
        if witness["refused"]:
            said.append(
                f"{cpu}: real-time priority was refused ({witness['refused']}); only stolen time and quotas were seen"
            )
        elif witness["loaded_loop_ns"] > SLOW_THROUGHOUT * witness["quiet_loop_ns"]:
            times = witness["loaded_loop_ns"] / witness["quiet_loop_ns"]
            said.append(f"{cpu} was {times:.1f} times slower throughout than before the load")
    if record["real_time_tasks"]:
        said.append(f"real-time tasks of others on {where}: {', '.join(record['real_time_tasks'])}")
    return said


def _moved(span: Span, offset: Offset) -> Span:
    return span[0] - offset.ns - offset.uncertain_ns, span[1] - offset.ns + offset.uncertain_ns


def _meet(one: Span, other: Span) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _runs(whys: Sequence[str]) -> Iterable[range]:
    """Neighbouring slices that are set aside together, and each other slice by itself."""
    begin = 0
    for number in range(1, len(whys) + 1):
        if number == len(whys) or not whys[number] or not whys[number - 1]:
            yield range(begin, number)
            begin = number


def _length(spans: list[Span]) -> int:
    """How much time the spans cover."""
    total, reached = 0, None
    for begin, end in sorted(spans):
        if reached is None or begin > reached:
            total += end - begin
            reached = end
        elif end > reached:
            total += end - reached
            reached = end
    return total
