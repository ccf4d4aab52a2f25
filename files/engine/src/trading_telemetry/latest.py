"""The parts of the document that /latest and /stream send. Each name ends with its unit. `null` means unknown."""

import time
from typing import Any

from trading_engine.published.shm import State

from trading_telemetry.clock import Clock
from trading_telemetry.config import Targets
from trading_telemetry.health import Check, overall
from trading_telemetry.history import History
from trading_telemetry.host import HostSample, resident_bytes, tuning
from trading_telemetry.observer import Observation, Window
from trading_telemetry.promise import broken, figures_us, worst_us

SCHEMA = 1
RATES = {
    "messages_received_per_s": ("enters_received", "replaces_received", "cancels_received", "modifies_received"),
    "orders_received_per_s": ("enters_received",),
    "orders_accepted_per_s": ("orders_accepted",),
    "executions_per_s": ("executions",),
    "bytes_received_per_s": ("bytes_received",),
    "journal_bytes_per_s": ("journal_bytes",),
}
LATENCIES = ("receive_to_reply", "canary", "service", "journal", "feed")

Document = dict[str, Any]


def engine_document(observation: Observation, checks: list[Check]) -> Document:
    """Return the part of the document about the engine: its state as observed, and the checks."""
    state = observation.state
    return {
        "schema": SCHEMA,
        "time_ns": observation.observed_ns,
        "age_s": None if observation.age_ns is None else observation.age_ns / 1e9,
        "status": overall(checks),
        "checks": check_documents(checks),
        "engine": None if state is None else _engine(state),
        **({} if state is None else _details(state)),
    }


def check_documents(checks: list[Check]) -> list[Document]:
    return [{"name": check.name, "status": check.status, "reason": check.reason} for check in checks]


def window_document(window: Window | None) -> Document | None:
    """Return the rates and latencies of a window of time, or None if there is no window."""
    if window is None:
        return None
    rejects = {name: window.count((name,)) for name in window.newer.counters if name.startswith("rejects_")}
    latencies = {name: window.latency(name) for name in LATENCIES}
    return {
        "seconds": window.seconds,
        **{name: window.rate_per_s(counters) for name, counters in RATES.items()},
        "rejects_per_s": window.rate_per_s(rejects),
        "rejects": {name.removeprefix("rejects_"): count for name, count in rejects.items() if count},
        "latency_us": {name: {"count": latency.count, **latency.figures_us} for name, latency in latencies.items()},
    }


def slo_document(last_minute: Window | None, targets: Targets | None, history: History) -> Document:
    """Return the targets, the latencies of the last minute, and how well the targets were kept in the last hour."""
    by_source = figures_us(last_minute)
    figures = worst_us(by_source)
    return {
        "targets": None if targets is None else vars(targets),
        "latency_us": figures or None,
        "latency_by_source_us": by_source,
        "curves_us": {source: last_minute.latency(source).curve_us for source in by_source} if last_minute else {},
        "broken": list(broken(figures, targets)) if figures and targets else [],
        "last_hour": history.compliance(),
    }


def host_document(
    now: HostSample,
    earlier: HostSample,
    seconds: float,
    clock: Clock | None,
    refused: dict[str, int] | None = None,
) -> Document:
    """Return the part of the document about the host.

    `seconds` is the time between the samples `earlier` and `now`.
    """
    tuned = tuning()
    return {
        "cpu_percent": now.cpu_percent_since(earlier),
        "memory_percent": now.memory_percent,
        "memory_available_bytes": now.memory_available_bytes,
        "received_bytes_per_s": (now.received_bytes - earlier.received_bytes) / seconds,
        "sent_bytes_per_s": (now.sent_bytes - earlier.sent_bytes) / seconds,
        "clock_synchronised": clock.synchronised if clock else None,
        "clock_offset_us": clock.offset_us if clock else None,
        "clock_error_bound_us": clock.bound_us if clock else None,
        "tuning_profile": tuned.profile if tuned else None,
        "refused_packets": refused,
    }


def _engine(state: State) -> Document:
    return {
        "pid": state.pid,
        "started_ns": state.started_ns,
        "uptime_s": (time.time_ns() - state.started_ns) / 1e9,
        "durability": state.durability,
        "compiled": state.compiled,
        "failure": state.failure or None,
        "resident_bytes": resident_bytes(state.pid),
    }


def _details(state: State) -> Document:
    return {
        "counters": state.counters,
        "gauges": state.gauges,
        "latency_max_us": {name: state.histograms[name].maximum_ns / 1e3 for name in LATENCIES},
        "symbols": [symbol._asdict() for symbol in state.symbols],
        "sessions": [session._asdict() for session in state.sessions],
        "events": [event._asdict() for event in state.events],
    }
