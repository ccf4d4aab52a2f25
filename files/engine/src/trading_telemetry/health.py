"""The checks of /health. Each has a status, and a reason that tells the operator what is wrong and what to do.

The status `failing` means that orders are not processed, or not safely; /health then answers 503. `degraded` means that
orders are processed, but that an operator should look at the host; /health still answers 200.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from trading_engine.published.shm import State

from trading_telemetry.backup import Backup
from trading_telemetry.certificate import WARNED_S, Certificates, end_of
from trading_telemetry.clock import Clock
from trading_telemetry.config import Targets
from trading_telemetry.host import Tuning
from trading_telemetry.observer import Observation, Window
from trading_telemetry.promise import broken, figures_us, worst_us

JOURNAL_DEGRADED_SHARE = 0.80
JOURNAL_REFUSING_SHARE = 0.95
"""The engine refuses new orders from this share of the journal's budget on."""
ENOUGH_ORDERS = 100
"""Latencies are judged only when at least this number was measured in the last minute."""
CLOCK_DEVIATION_NS = 1_000_000
OF_THE_HOST = frozenset({"tuning", "certificate", "backup"})
"""The checks whose results are the same for all engines of a host."""


class Status(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True)
class Check:
    name: str
    status: Status
    reason: str


def overall(checks: list[Check]) -> Status:
    """Return the worst status of all these checks."""
    order = list(Status)
    return max((check.status for check in checks), key=order.index)


def of_host(by_partition: dict[str, list[Check]]) -> list[Check]:
    """Return the checks of all partitions of a host as one list.

    A check in OF_THE_HOST concerns the whole host and appears once. The reasons of all other checks begin with the
    partition's name. A host without partitions has one engine, whose name is "".
    """
    if "" in by_partition:
        return by_partition[""]
    shared: dict[str, Check] = {}
    own: list[Check] = []
    for partition, checks in by_partition.items():
        for check in checks:
            if check.name in OF_THE_HOST:
                shared.setdefault(check.name, check)
            else:
                own.append(replace(check, reason=f"{partition}: {check.reason}"))
    return own + list(shared.values())


def check_all(
    observation: Observation,
    last_minute: Window | None,
    targets: Targets | None,
    tuning: Tuning | None,
    clock: Clock | None = None,
    certificates: Certificates | None = None,
    backup: Backup | None = None,
) -> list[Check]:
    """Return all checks of one engine and its host. If the engine does not run, return only the check that says so.

    Each of these arguments may be None:
    - `last_minute` if the engine has published less than twice.
    - `targets` if there is no slo.toml.
    - `tuning` if the host was not tuned.
    - `clock` if this process may not read the clock's state.
    - `backup` if the host has no backup.
    """
    engine = _engine(observation)
    state = observation.state
    if state is None or engine.status is Status.FAILING:
        return [engine]
    return [
        engine,
        _journal(state),
        _journal_space(state),
        _trading(state),
        _tuning(tuning),
        _clock(state, clock),
        _latency(last_minute, targets),
        *_certificates(certificates),
        *_backup(backup),
    ]


def _engine(observation: Observation) -> Check:
    if observation.state is None or observation.problem:
        return Check("engine", Status.FAILING, f"engine down: {observation.problem}")
    age_s = (observation.age_ns or 0) / 1e9
    if observation.is_stale:
        return Check("engine", Status.FAILING, f"stale: the engine lives, but last published {age_s:.1f} s ago")
    return Check("engine", Status.OK, f"published {age_s:.2f} s ago")


def _journal(state: State) -> Check:
    if state.failure:
        return Check("journal", Status.FAILING, f"nothing is sent until a restart: {state.failure}")
    return Check("journal", Status.OK, f"durability {state.durability}")


def _journal_space(state: State) -> Check:
    gauges = state.gauges
    used, budget = gauges["journal_used_bytes"], gauges["journal_budget_bytes"]
    share = used / budget if budget else 0.0
    seconds_left = gauges["journal_seconds_left"]
    left = "no growth" if seconds_left < 0 else f"{seconds_left} s left at the present rate"
    text = f"{100 * share:.0f} % of the journal's budget used, {left}"
    if share >= JOURNAL_REFUSING_SHARE:
        return Check("journal_space", Status.FAILING, f"{text}; new orders are refused: free space or raise the budget")
    if share >= JOURNAL_DEGRADED_SHARE:
        return Check("journal_space", Status.DEGRADED, f"{text}; free space or raise the budget")
    return Check("journal_space", Status.OK, text)


def _trading(state: State) -> Check:
    if state.gauges["kill_switches"]:
        return Check("trading", Status.DEGRADED, f"kill switch: {state.gauges['kill_switches']} in force")
    if state.gauges["halted_symbols"]:
        return Check("trading", Status.DEGRADED, f"{state.gauges['halted_symbols']} symbols halted")
    return Check("trading", Status.OK, f"{state.gauges['symbols']} symbols open")


def _tuning(tuning: Tuning | None) -> Check:
    if tuning is None:
        return Check("tuning", Status.OK, "this host was not tuned")
    if tuning.awaits_reboot:
        return Check("tuning", Status.DEGRADED, f"boot arguments of profile {tuning.profile} wait for a reboot")
    return Check("tuning", Status.OK, f"profile {tuning.profile}")


def _clock(state: State, clock: Clock | None) -> Check:
    """Return the check of the host's clock.

    A host on which no time service was set up is reported as `ok`. A time service without a source is `degraded`.
    """
    deviation_ns = state.gauges.get("clock_deviation_ns", 0)
    if abs(deviation_ns) >= CLOCK_DEVIATION_NS:
        # A restart sets the engine's clock to the wall clock, but never back. So it helps only if the engine is behind.
        side, way_out = ("ahead of", "") if deviation_ns > 0 else ("behind", ", or a restart of the engine")
        text = f"the session's times are {abs(deviation_ns) / 1e9:.3f} s {side} the wall clock, which was stepped"
        return Check("clock", Status.DEGRADED, f"{text}: the next session is right{way_out}")
    if clock is None:
        return Check("clock", Status.OK, "unknown: neither chrony nor the kernel may be asked")
    if clock.offset_us is None or clock.bound_us is None:
        if clock.source == "chrony":
            return Check("clock", Status.DEGRADED, "not synchronised: `chronyc sources` says which source is missing")
        return Check("clock", Status.OK, "not synchronised: no time service runs here")
    return Check("clock", Status.OK, f"{clock.offset_us:.0f} µs off, at most {clock.bound_us:.0f} µs ({clock.source})")


def _certificates(certificates: Certificates | None) -> Iterator[Check]:
    """Yield the check of the certificates. Yield nothing if no certificate is served or watched."""
    if certificates is None or not (certificates.ends or certificates.problems):
        return
    warnings = list(certificates.problems)
    for path, ends_s in sorted(certificates.ends.items(), key=lambda each: each[1]):
        name = path.rpartition("/")[2]  # /health needs no token, so it does not tell the directory
        if words := end_of(ends_s, time.time()).words:
            warnings.append(f"{name} {words}")
    if warnings:
        yield Check("certificate", Status.DEGRADED, "; ".join(warnings))
    else:
        yield Check("certificate", Status.OK, f"{len(certificates.ends)}, good for {WARNED_S // 86_400} days and more")


def _backup(backup: Backup | None) -> Iterator[Check]:
    """Yield the check of the backup. Yield nothing if the host has no backup.

    /health needs no token. So the reason does not contain the bucket's name or the error that S3 returned.
    """
    if backup is None:
        return
    log = "`journalctl -u trading-backup` says why"
    waits = f"{backup.backlog_bytes} bytes of the journal wait for the bucket"
    if not backup.runs:
        yield Check("backup", Status.DEGRADED, f"nothing ships the journal: {log}")
    elif backup.lost_lately:
        lost = f"{backup.lost_segments} segments of the journal were deleted before they were sent"
        yield Check("backup", Status.DEGRADED, f"{lost}: {log}, and a new series has what is there")
    elif backup.refused:
        failing = f"the shipper has failed for {backup.oldest_unsent_s:.0f} s"
        yield Check("backup", Status.DEGRADED, f"{failing}, and {waits}: {log}")
    elif backup.oldest_unsent_s > backup.rpo_s:
        age = f"the oldest for {backup.oldest_unsent_s:.0f} s, {backup.rpo_s:g} s are promised"
        yield Check("backup", Status.DEGRADED, f"{waits}, {age}: {log}")
    else:
        yield Check("backup", Status.OK, f"{waits}, the oldest for {backup.oldest_unsent_s:.0f} s")


def _latency(last_minute: Window | None, targets: Targets | None) -> Check:
    if last_minute and (failures := last_minute.count(("canary_failures",))):
        return Check("slo", Status.DEGRADED, f"the canary had no answer, {failures} times in the last minute")
    if targets is None:
        return Check("slo", Status.OK, "targets unknown: there is no slo.toml")
    figures = worst_us(figures_us(last_minute, ENOUGH_ORDERS))
    if not figures:
        return Check("slo", Status.OK, f"fewer than {ENOUGH_ORDERS} orders in the last minute: nothing to judge")
    if missed := list(broken(figures, targets)):
        return Check("slo", Status.DEGRADED, f"latency promise broken in the last minute: {'; '.join(missed)}")
    return Check("slo", Status.OK, f"p99 {figures['p99']:.0f} µs in the last minute, target {targets.p99_us:g} µs")
