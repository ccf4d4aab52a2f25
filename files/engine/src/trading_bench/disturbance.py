"""Functions that decide in which slices of a run the machine disturbed the programs. A slice is 100 ms long.

The report has the figures of all slices, and again those without the disturbed slices, which are set aside. This module
only computes. Its input is the records of hosts that `trading_bench.machine` made.

A slice is disturbed if the machine's CPUs were taken away or slowed during it, for example by the hypervisor. Activity
of the host itself is no disturbance: a long system call, many packets, or a task of higher priority. Such activity also
delays the wake-up of a witness (`trading_bench.witness`), so a late wake-up alone proves nothing. There must also be a
slow loop, stolen time, or a mark of another CPU's witness at the same time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_bench.generator import Recording
from trading_bench.witness import PERIOD_NS, PROBE_LOOPS, SLOW_TIMES

SLICE_NS = 100_000_000
LEAST_SHARE = 0.05
"""Other programs disturb a slice if they took this share of it for each CPU.

Less is usual on a quiet controller. It does not disturb a slice, but may explain why an order waited.
"""
REAL_TIME_NS = 1_000_000
"""If another program's real-time task ran longer than this in a sample, the slices of the sample count."""
UNCERTAIN_NS = 20_000_000
"""If the offset of the hosts' clocks is less certain than this, the record of the engine's host is not used."""
SLACK_NS = 2_000_000
"""A stall may last so much longer than the disturbance, because the orders that waited must then be processed."""
JOINED_NS = 5_000_000
"""Disturbances whose distance is less than this count as one."""
SPARE_SHARE = 0.2
"""The engine works off a queue with at least this share of its CPU, because other work takes less than 80 %."""
SLOW_THROUGHOUT = 3.0
"""A witness's CPU is reported as slow if its loop takes this many times as long under load as before.

Twice as long is usual beside a busy engine, because the loop's data is then no longer in the CPU's caches.
"""

Record = dict[str, Any]
Span = tuple[int, int]


@dataclass(frozen=True)
class Disturbance:
    """A time in which CPUs were taken away or slowed, by the generator's clock.

    `exact` is the time as measured. `span` is longer at both ends by the uncertainty of the clocks. `away_ns` says for
    how long in this time the CPUs were taken away; None means for all of `exact`. If `cause` is "", the disturbance was
    too short to disturb a slice. It may still explain why an order waited.
    """

    cause: str
    span: Span
    exact: Span
    away_ns: int | None = None


@dataclass
class Seen:
    """What the records of all hosts show about disturbances. All times are by the generator's clock.

    `real_time` are the times in which a real-time task of another program ran. `stalls` are the times in which the
    engine served no client.
    """

    disturbances: list[Disturbance] = field(default_factory=list)
    real_time: list[Span] = field(default_factory=list)
    stalls: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Mark:
    """A time that a witness marked, because it woke up late or its CPU was slow.

    `cpu` is a pair: the number of the host's record, and the number of the CPU.
    """

    cpu: tuple[int, int]
    span: Span
    exact: Span
    slow: bool
    stolen: bool


@dataclass(frozen=True)
class Offset:
    """The difference of two clocks: a host's monotonic clock minus that of the generator.

    It also has the uncertainty of this difference. Both are in nanoseconds.
    """

    ns: int = 0
    uncertain_ns: int = 0


@dataclass(frozen=True)
class Slice:
    """A slice of the measurement: 100 ms of the schedule. It has the orders whose intended times are in it.

    `why` says why the slice is set aside as disturbed; it is "" for a slice that counts. `remark` says why a slice
    counts although it was disturbed.
    """

    start_ns: int
    why: str = ""
    remark: str = ""


def offset_of(record: Record, recording: Recording) -> Offset | None:
    """Return the offset of the engine's clock from the generator's clock, or None if it is unknown.

    Each reply contains a time of the engine's clock. That time is after the sending of the order and before the arrival
    of the reply. So the reply with the shortest round trip gives the offset. Half of that round trip is the uncertainty
    (as in NTP, RFC 5905, section 8).
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
    """Return what the records of the hosts show about disturbances.

    Each record comes with the clock offset of its host.
    """
    seen = Seen()
    marks: list[Mark] = []
    for number, (record, offset) in enumerate(records):
        blind = all(witness["refused"] for witness in record["witnesses"])
        for sample in record["samples"]:
            exact = _moved((sample["from_ns"], sample["to_ns"]), Offset(offset.ns))
            span = _moved((sample["from_ns"], sample["to_ns"]), offset)
            least_ns = LEAST_SHARE * (exact[1] - exact[0])
            for name, cause, more_than_ns in (
                ("throttled_ns", "a CPU quota was used up", 0.0),
                ("outside_ns", "other programs took the CPU from the machine", least_ns * record["outside_cpus"]),
                ("waited_ns", "other programs took the CPU from the generator", least_ns),
                ("stolen_ns", "the hypervisor took the CPU", 0.0 if blind else float("inf")),
            ):
                took_ns = sample.get(name, 0)
                if took_ns and more_than_ns < float("inf"):
                    seen.disturbances.append(Disturbance(cause if took_ns > more_than_ns else "", span, exact, took_ns))
            if sample.get("real_time_ns", 0) > REAL_TIME_NS:
                seen.real_time.append(span)
        marks += _marks(number, record, offset)
        seen.stalls += [(end_ns - stall_ns - offset.ns, end_ns - offset.ns) for end_ns, stall_ns, _ in record["stalls"]]
    seen.disturbances += _confirmed(marks)
    return seen


def _marks(number: int, record: Record, offset: Offset) -> Iterable[Mark]:
    stolen = [(sample["from_ns"], sample["to_ns"]) for sample in record["samples"] if sample.get("stolen_ns", 0)]
    for witness in record["witnesses"]:
        if witness["refused"]:
            continue  # a witness of normal priority is also delayed by the engine, so its marks prove nothing
        slow_ns = witness["quiet_loop_ns"] * SLOW_TIMES * PROBE_LOOPS
        for due_ns, late_ns, probe_ns in witness["marks"]:
            # The disturbance may have begun immediately after the wake-up before.
            there = (due_ns - PERIOD_NS, due_ns + max(late_ns + probe_ns, PERIOD_NS))
            span, exact = _moved(there, offset), _moved(there, Offset(offset.ns))
            was_stolen = any(_meet(there, sample) for sample in stolen)
            yield Mark((number, witness["cpu"]), span, exact, probe_ns > slow_ns, was_stolen)


def _confirmed(marks: list[Mark]) -> Iterable[Disturbance]:
    """Yield a disturbance for each mark that the machine caused.

    The marks are chosen by the rule in the module's docstring.
    """
    marks = sorted(marks, key=lambda mark: mark.span)
    together: set[Mark] = set()
    open_marks: list[Mark] = []
    for mark in marks:
        open_marks = [other for other in open_marks if other.span[1] > mark.span[0]]
        others = [other for other in open_marks if other.cpu != mark.cpu]
        if others:
            together.update([mark, *others])
        open_marks.append(mark)
    for mark in marks:
        if mark.slow or mark.stolen or mark in together:
            proofs = ((mark.slow, "the CPU was slowed"), (mark.stolen, "the hypervisor took the CPU"))
            cause = next((cause for proven, cause in proofs if proven), "all CPUs stood still")
            yield Disturbance(cause, mark.span, mark.exact)


def slices(recording: Recording, seen: Seen, longest: dict[int, Span]) -> list[Slice]:
    """Divide the measured time into slices of 100 ms, and decide for each whether it is set aside.

    `longest` maps the number of a slice to its slowest order, as the time from when the order was due to its answer.

    A disturbed slice is set aside, and also the slice after it, in which the engine works off the orders that waited.
    Such a slice counts nevertheless in two cases. First, the engine stalled, or an order waited, for longer than the
    disturbances explain. They also explain the time for the orders that were still in the queue from earlier
    disturbances. Second, a real-time task of another program ran, which may have caused the wait.
    """
    first_ns = recording.intended_ns[recording.warmup_slots]
    count = (recording.intended_ns[-1] - first_ns) // SLICE_NS + 1
    causes: list[dict[str, None]] = [{} for _ in range(count)]
    within: list[list[Disturbance]] = [[] for _ in range(count)]
    for each in seen.disturbances:
        begin, end = ((edge_ns - first_ns) // SLICE_NS for edge_ns in (each.span[0], each.span[1] - 1))
        for number in range(max(begin, 0), min(end + 1, count)):
            if each.cause:
                causes[number][each.cause] = None
            within[number].append(each)
    queues_ns = _queues_ns(first_ns, within)
    found: list[Slice] = []
    for number, cause in enumerate(causes):
        start_ns = first_ns + number * SLICE_NS
        why = ", ".join(cause) or ("right after" if found and found[-1].why not in ("", "right after") else "")
        waited = (longest[number], queues_ns[number]) if number in longest else None
        remark = _why_it_counts((start_ns, start_ns + SLICE_NS), waited, seen) if why else ""
        found.append(Slice(start_ns, "" if remark else why, remark))
    return found


def _queues_ns(first_ns: int, within: list[list[Disturbance]]) -> list[int]:
    """Return for each slice the length of the engine's queue of orders at its start, as ns of work.

    The queue comes from earlier disturbances. Each disturbance adds its time to the queue, and the engine works it off
    with SPARE_SHARE of its CPU (Lindley's recursion).
    """
    queues_ns, queue_ns = [], 0.0
    for number, disturbances in enumerate(within):
        queues_ns.append(round(queue_ns))
        own = (first_ns + number * SLICE_NS, first_ns + (number + 1) * SLICE_NS)
        queue_ns = max(queue_ns + _away_ns(own, disturbances, divided=True) - SPARE_SHARE * SLICE_NS, 0.0)
    return queues_ns


def _why_it_counts(own: Span, waited: tuple[Span, int] | None, seen: Seen) -> str:
    """Return why a disturbed slice counts nevertheless, or "" if it is set aside.

    `own` is the time of the slice. `waited` has the time of the slice's slowest order, and the length of the queue at
    the start of the slice.
    """
    if any(_meet(own, span) for span in seen.real_time):
        return "a real-time task ran"
    for stall in seen.stalls:
        if _meet(stall, own) and (remark := _longer("the engine stalled", stall, _away_lately_ns(stall, seen))):
            return remark
    if waited is None:
        return ""
    order, queue_ns = waited
    behind_ns = queue_ns + _away_ns((own[0], order[1]), seen.disturbances)
    return _longer("an order waited", order, max(behind_ns, _away_lately_ns(order, seen)))


def _longer(what: str, span: Span, away_ns: int) -> str:
    lasted_ns = span[1] - span[0]
    if lasted_ns <= away_ns + SLACK_NS:
        return ""
    return f"{what} for {lasted_ns / 1e6:.0f} ms, of which the machine explains {away_ns / 1e6:.0f}"


def _away_lately_ns(span: Span, seen: Seen) -> int:
    """Return for how many nanoseconds CPUs were taken away in `span` and in the 100 ms before it.

    The 100 ms before count because orders may still wait since then.
    """
    return _away_ns((span[0] - SLICE_NS, span[1]), seen.disturbances)


def _away_ns(window: Span, disturbances: Iterable[Disturbance], divided: bool = False) -> int:
    """Return for how many nanoseconds CPUs were taken away in `window`.

    A disturbance may say for how long CPUs were away within its time, but not when. If only a part of its time is in
    the window, all of these nanoseconds count. With `divided` only the same part of them counts.
    """
    met = [each for each in disturbances if _meet(window, each.exact)]
    clipped = [(each.away_ns, each.exact, _within(each.exact, window)) for each in met]
    seen_ns = _length([part for away_ns, _, part in clipped if away_ns is None])
    for away_ns, (begin_ns, end_ns), part in clipped:
        if away_ns is not None:
            seen_ns += away_ns * (part[1] - part[0]) // (end_ns - begin_ns) if divided else away_ns
    return seen_ns


def remarks(record: Record, where: str) -> list[str]:
    """Return remarks for the report, about the witnesses and the real-time tasks of the host named `where`."""
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


def _within(span: Span, window: Span) -> Span:
    return max(span[0], window[0]), min(span[1], window[1])


def _length(spans: list[Span]) -> int:
    """Return how many nanoseconds the spans cover. Time in which several spans overlap counts once.

    Gaps of up to JOINED_NS between spans count as covered.
    """
    total, begun, reached = 0, None, 0
    for begin, end in sorted(spans):
        if begun is None or begin > reached + JOINED_NS:
            total += reached - begun if begun is not None else 0
            begun, reached = begin, end
        reached = max(reached, end)
    return total + (reached - begun if begun is not None else 0)
