"""The catalogue of all numbers that the engine publishes. It has the name, kind, unit, meaning and source of each.

The positions in the shared memory, the metrics of /metrics, files/metrics.yml and docs/metrics.md are made from this
catalogue. A number's place in the order is its position in the shared memory. So a new counter or gauge is added after
all others of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trading_engine.machine.risk import REFUSALS
from trading_engine.wire.ouch import REJECT_REASONS

STALL_NS: Final = 1_000_000
"""A time in which the engine served no client counts as a stall if it is longer than this."""

# gc: a garbage collection. read: the processing of one read of a client session. write: a write of the journal.
# snapshot: the start of a snapshot, or the check of the disk. timers: heartbeats, the end of the day. publish: the
# publication of the state.
STALL_CAUSES: Final = ("gc", "read", "write", "snapshot", "timers", "publish")


@dataclass(frozen=True)
class Number:
    """One number that the engine publishes. It has a position in the shared memory.

    `taken` says from where Stats copies the value: `object.attribute` or `object.attribute[index]`. It is "" if the
    engine sets the value itself. `label` is the value of the metric's label, if the metric consists of several numbers.
    """

    name: str
    taken: str = ""
    label: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric of /metrics. `name` is its name there; a metric with the name "" is not exported.

    `kind` is counter, gauge or histogram. `unit` is seconds, bytes, ratio (0 to 1), count or flag (0 or 1). `numbers`
    are its numbers in the shared memory; the label named `label` distinguishes them. A number whose name ends in _ns is
    in nanoseconds, and is exported in seconds. `absent` says under which condition /metrics does not have the metric.
    """

    name: str
    kind: str
    unit: str
    meaning: str
    numbers: tuple[Number, ...] = ()
    label: str = ""
    absent: str = ""


def _one(name: str, kind: str, unit: str, meaning: str, number: str, taken: str = "") -> Metric:
    return Metric(name, kind, unit, meaning, (Number(number, taken),))


def _each(name: str, meaning: str, label: str, numbers: Iterable[Number]) -> Metric:
    return Metric(name, "counter", "count", meaning, tuple(numbers), label)


COUNTER_METRICS: Final = (
    _each(
        "trading_messages_received_total",
        "OUCH messages that the engine received, by type.",
        "type",
        (
            Number("enters_received", "core.enters", "enter"),
            Number("replaces_received", "core.replaces", "replace"),
            Number("cancels_received", "core.cancels", "cancel"),
            Number("modifies_received", "core.modifies", "modify"),
        ),
    ),
    _one(
        "trading_messages_ignored_total",
        "counter",
        "count",
        "Messages that the engine ignored because the protocol says so.",
        "messages_ignored",
        "core.ignored",
    ),
    _one(
        "trading_orders_accepted_total",
        "counter",
        "count",
        "Enter Order messages that the engine accepted.",
        "orders_accepted",
        "core.accepted",
    ),
    _one(
        "trading_orders_replaced_total",
        "counter",
        "count",
        "Replace Order messages that took effect.",
        "orders_replaced",
        "core.replaced",
    ),
    _one(
        "trading_orders_canceled_total",
        "counter",
        "count",
        "Canceled messages that the engine sent, for any reason.",
        "orders_canceled",
        "core.canceled",
    ),
    _one(
        "trading_executions_total",
        "counter",
        "count",
        "Executions. Each of them is a match of two orders.",
        "executions",
        "core.executions",
    ),
    _one(
        "trading_executed_shares_total",
        "counter",
        "count",
        "Shares that were traded.",
        "executed_shares",
        "core.executed_shares",
    ),
    _one(
        "trading_broken_trades_total",
        "counter",
        "count",
        "Trades that the operator cancelled afterwards (busted).",
        "broken_trades",
        "core.broken_trades",
    ),
    _each(
        "trading_rejects_total",
        "Orders that the engine rejected, by OUCH's letter for the reason.",
        "reason",
        (Number(f"rejects_{letter}", f"core.rejects[{ord(letter)}]", letter) for letter in REJECT_REASONS),
    ),
    _each(
        "trading_refusals_total",
        "Orders that the engine rejected for a cause without an OUCH letter of its own, by cause.",
        "cause",
        (
            Number(f"orders_refused_{cause}", f"core.refusals[{index}]", cause)
            for index, cause in enumerate(REFUSALS)
            if index
        ),
    ),
    _one(
        "trading_reads_total",
        "counter",
        "count",
        "Reads of order-entry sockets that returned data.",
        "reads",
        "stats.reads",
    ),
    _one(
        "trading_received_bytes_total",
        "counter",
        "bytes",
        "Bytes received from order-entry clients.",
        "bytes_received",
        "stats.bytes_received",
    ),
    _one(
        "trading_sent_bytes_total",
        "counter",
        "bytes",
        "Bytes sent to order-entry clients.",
        "bytes_sent",
        "stats.bytes_sent",
    ),
    _one(
        "trading_messages_sent_total",
        "counter",
        "count",
        "Sequenced messages sent to order-entry clients.",
        "messages_sent",
        "stats.messages_sent",
    ),
    _one(
        "trading_feed_messages_total",
        "counter",
        "count",
        "ITCH messages that the engine wrote for the market-data feed.",
        "feed_messages",
        "stats.feed_messages",
    ),
    _one(
        "trading_feed_bytes_total",
        "counter",
        "bytes",
        "Bytes of ITCH messages that the engine wrote for the market-data feed.",
        "feed_bytes",
        "stats.feed_bytes",
    ),
    _each(
        "trading_connections_total",
        "Connections of order entry that the engine accepted or closed, by event.",
        "event",
        (
            Number("connections_accepted", "stats.connections_accepted", "accepted"),
            Number("connections_closed", "stats.connections_closed", "closed"),
        ),
    ),
    _each(
        "trading_logins_total",
        "Login requests, by result. A throttled request came too soon after a failed one and was not checked.",
        "result",
        (
            Number("logins_accepted", "stats.logins_accepted", "accepted"),
            Number("logins_rejected", "stats.logins_rejected", "rejected"),
            Number("logins_throttled", "stats.logins_throttled", "throttled"),
        ),
    ),
    _each(
        "trading_clients_dropped_total",
        "Clients that the engine disconnected, by cause.",
        "cause",
        (
            Number("dropped_slow_clients", "stats.dropped_slow_clients", "slow"),
            Number("dropped_silent_clients", "stats.dropped_silent_clients", "silent"),
            Number("dropped_malformed_input", "stats.dropped_malformed_input", "malformed"),
        ),
    ),
    _one(
        "trading_journal_records_total",
        "counter",
        "count",
        "Records written to the journal. Each read of a socket makes one record.",
        "journal_records",
        "writer.records",
    ),
    _one(
        "trading_journal_bytes_total",
        "counter",
        "bytes",
        "Bytes written to the journal.",
        "journal_bytes",
        "writer.bytes_written",
    ),
    _one(
        "trading_journal_syncs_total",
        "counter",
        "count",
        "Calls of fdatasync for the journal that have completed.",
        "journal_syncs",
        "engine.syncs",
    ),
    _one(
        "trading_journal_segments_total",
        "counter",
        "count",
        "Segments that the journal has begun.",
        "journal_segments",
        "writer.segment",
    ),
    _one(
        "trading_snapshots_total",
        "counter",
        "count",
        "Snapshots that the engine has taken.",
        "snapshots",
        "snapshotter.made",
    ),
    _one(
        "trading_gc_collections_total",
        "counter",
        "count",
        "Garbage collections in the engine.",
        "gc_collections",
    ),
    _one("", "counter", "count", "Answered orders of the canary; its histogram counts them too.", "canary_round_trips"),
    _one(
        "trading_canary_failures_total",
        "counter",
        "count",
        "How often the canary could not log in, was disconnected, or got no answer.",
        "canary_failures",
    ),
    _one("", "counter", "count", "Stalls whatever their cause; exported by cause.", "stalls"),
    _each(
        "trading_stalls_total",
        "How often the engine delayed all clients by more than a millisecond, by cause.",
        "cause",
        (Number(f"stalls_{cause}", "", cause) for cause in STALL_CAUSES),
    ),
)

GAUGE_METRICS: Final = (
    _one(
        "trading_sessions",
        "gauge",
        "count",
        "Sessions of order entry that are logged in, without that of the canary.",
        "sessions_open",
    ),
    _one(
        "trading_test_sessions",
        "gauge",
        "count",
        "Sessions of test accounts that are logged in.",
        "test_sessions_open",
    ),
    _one("trading_open_orders", "gauge", "count", "Orders in all books.", "open_orders", "core.open_orders"),
    _one("trading_symbols", "gauge", "count", "Symbols that can be traded.", "symbols"),
    _one(
        "trading_halted_symbols",
        "gauge",
        "count",
        "Symbols that are halted.",
        "halted_symbols",
        "core.halted_symbols",
    ),
    _one(
        "trading_kill_switches", "gauge", "count", "Kill switches that are on.", "kill_switches", "core.killed_accounts"
    ),
    _one("", "gauge", "count", "The trading day as the number YYYYMMDD; a date is no measurement.", "trading_day"),
    _one("", "gauge", "count", "Engine time, nanoseconds since midnight; a time of day is none.", "engine_time_ns"),
    _one(
        "trading_journal_lag_bytes",
        "gauge",
        "bytes",
        "Bytes of the journal that are written but not yet synced to the disk.",
        "journal_lag_bytes",
        "engine.unsynced_bytes",
    ),
    _one(
        "trading_journal_lag_seconds",
        "gauge",
        "seconds",
        "Age of the journal's oldest write that is not yet synced to the disk.",
        "journal_lag_ns",
        "engine.unsynced_ns",
    ),
    _one(
        "trading_journal_used_bytes",
        "gauge",
        "bytes",
        "Size of the journal's segments, of the spare segment and of the snapshots, which all count for the budget.",
        "journal_used_bytes",
        "engine.used_bytes",
    ),
    _one(
        "trading_journal_budget_bytes",
        "gauge",
        "bytes",
        "Size that segments and snapshots together may reach. At 95 % of it the engine rejects new orders.",
        "journal_budget_bytes",
    ),
    _one(
        "trading_journal_disk_free_bytes",
        "gauge",
        "bytes",
        "Free space on the journal's file system.",
        "journal_disk_free_bytes",
    ),
    _one(
        "trading_journal_left_seconds",
        "gauge",
        "seconds",
        "Time until the journal's space is used up at the present rate; -1 while the journal does not grow.",
        "journal_seconds_left",
    ),
    _one(
        "trading_queued_bytes",
        "gauge",
        "bytes",
        "Bytes that wait to be sent to clients.",
        "queued_bytes",
    ),
    _one(
        "trading_loop_lag_seconds",
        "gauge",
        "seconds",
        "How late the engine's event loop served its timer the last time.",
        "loop_lag_last_ns",
    ),
    _one(
        "trading_loop_lag_max_seconds",
        "gauge",
        "seconds",
        "The highest lag of the engine's event loop since the engine's start.",
        "loop_lag_max_ns",
    ),
    _one(
        "trading_gc_pause_seconds",
        "gauge",
        "seconds",
        "The longest pause for a garbage collection in the last two seconds.",
        "gc_pause_recent_ns",
    ),
    _one(
        "trading_gc_pause_max_seconds",
        "gauge",
        "seconds",
        "The longest pause for a garbage collection since the engine's start.",
        "gc_pause_max_ns",
    ),
    _one("trading_stall_seconds", "gauge", "seconds", "The last stall of the engine's event loop.", "stall_last_ns"),
    _one(
        "trading_stall_max_seconds",
        "gauge",
        "seconds",
        "The longest stall of the engine's event loop since the engine's start.",
        "stall_max_ns",
    ),
    _one(
        "trading_recovery_seconds",
        "gauge",
        "seconds",
        "Duration of the recovery at the engine's start.",
        "recovery_ns",
    ),
    _one(
        "trading_recovered_records",
        "gauge",
        "count",
        "Journal records that the recovery at the engine's start replayed.",
        "recovered_records",
    ),
    _one(
        "trading_memory_locked",
        "gauge",
        "flag",
        "1 when the engine's memory is locked into RAM, otherwise 0.",
        "memory_locked",
    ),
    _one("", "gauge", "flag", "1 when the engine runs compiled; a label of trading_engine_info.", "compiled"),
    _one(
        "trading_clock_deviation_seconds",
        "gauge",
        "seconds",
        "The engine's time minus the wall clock's, which differ after steps of the wall clock in this session.",
        "clock_deviation_ns",
    ),
)

HISTOGRAM_METRICS: Final = (
    _one(
        "trading_receive_to_reply_seconds",
        "histogram",
        "seconds",
        "Time from the kernel's receive of an order's bytes until the engine wrote the reply.",
        "receive_to_reply",
    ),
    _one(
        "trading_service_seconds",
        "histogram",
        "seconds",
        "Time from the engine's read of an order's bytes until it wrote the reply.",
        "service",
    ),
    _one("trading_journal_write_seconds", "histogram", "seconds", "Duration of one journal write.", "journal"),
    _one(
        "trading_canary_round_trip_seconds",
        "histogram",
        "seconds",
        "Time from the moment when an order of the canary was due until its answer.",
        "canary",
    ),
    _one(
        "trading_feed_seconds",
        "histogram",
        "seconds",
        "Time from the engine's write of market data until the feed sent it, measured while somebody subscribes.",
        "feed",
    ),
)


def numbers(metrics: Iterable[Metric]) -> tuple[Number, ...]:
    """Return the numbers of all these metrics, in the order of the metrics."""
    return tuple(number for metric in metrics for number in metric.numbers)


COUNTERS: Final = tuple(number.name for number in numbers(COUNTER_METRICS))
GAUGES: Final = tuple(number.name for number in numbers(GAUGE_METRICS))
HISTOGRAMS: Final = tuple(number.name for number in numbers(HISTOGRAM_METRICS))
