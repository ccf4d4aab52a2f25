"""Which published counter or gauge is which Prometheus metric; names and meanings are those of files/metrics.yml."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from trading_engine.machine.risk import REFUSALS
from trading_engine.published.shm import STALL_CAUSES
from trading_engine.wire.ouch import REJECT_REASONS


@dataclass(frozen=True)
class Mapping:
    """One metric: `sources` are names in the published state, by the value of `label` (or by "" without a label)."""

    name: str
    meaning: str
    sources: dict[str, str]
    label: str = ""
    scale: float = field(default=1.0)


def _one(name: str, meaning: str, source: str, scale: float = 1.0) -> Mapping:
    return Mapping(name, meaning, {"": source}, scale=scale)


def _each(name: str, meaning: str, label: str, source: str, values: Iterable[str]) -> Mapping:
    """`source` has `{}` where the label's value stands."""
    return Mapping(name, meaning, {value: source.format(value) for value in values}, label)


_NS = 1e-9

# fmt: off
COUNTERS = (
    Mapping(
        "trading_messages_received_total",
        "OUCH messages received, by type.",
        {
            "enter": "enters_received",
            "replace": "replaces_received",
            "cancel": "cancels_received",
            "modify": "modifies_received",
        },
        "type",
    ),
    _one("trading_messages_ignored_total", "Messages that change nothing by the protocol's rules.", "messages_ignored"),
    _one("trading_orders_accepted_total", "Enter Orders that were accepted.", "orders_accepted"),
    _one("trading_orders_replaced_total", "Replace Orders that took effect.", "orders_replaced"),
    _one("trading_orders_canceled_total", "Canceled messages sent, whatever the reason.", "orders_canceled"),
    _one("trading_executions_total", "Matches of two orders.", "executions"),
    _one("trading_executed_shares_total", "Shares that changed hands.", "executed_shares"),
    _one("trading_broken_trades_total", "Trades that were busted.", "broken_trades"),
    _each(
        "trading_rejects_total", "Orders rejected, by the letter of OUCH's reason.",
        "reason", "rejects_{}", REJECT_REASONS,
    ),
    _each(
        "trading_refusals_total", "Orders refused for a cause that OUCH's letters do not tell apart.",
        "cause", "orders_refused_{}", REFUSALS[1:],
    ),
    _one("trading_reads_total", "Reads of order-entry sockets that returned data.", "reads"),
    _one("trading_received_bytes_total", "Bytes received from order-entry clients.", "bytes_received"),
    _one("trading_sent_bytes_total", "Bytes sent to order-entry clients.", "bytes_sent"),
    _one("trading_messages_sent_total", "Sequenced messages sent to order-entry clients.", "messages_sent"),
    _one("trading_feed_messages_total", "ITCH messages written for the market-data feed.", "feed_messages"),
    _one("trading_feed_bytes_total", "ITCH bytes written for the market-data feed.", "feed_bytes"),
    _each(
        "trading_connections_total", "Order-entry connections, by what happened to them.",
        "event", "connections_{}", ("accepted", "closed"),
    ),
    _each(
        "trading_logins_total", "Login requests, by result.",
        "result", "logins_{}", ("accepted", "rejected", "throttled"),
    ),
    Mapping(
        "trading_clients_dropped_total",
        "Clients that the engine disconnected, by cause.",
        {"slow": "dropped_slow_clients", "silent": "dropped_silent_clients", "malformed": "dropped_malformed_input"},
        "cause",
    ),
    _one("trading_journal_records_total", "Records written to the journal, one a read.", "journal_records"),
    _one("trading_journal_bytes_total", "Bytes written to the journal.", "journal_bytes"),
    _one("trading_journal_syncs_total", "Completed fdatasync calls of the journal.", "journal_syncs"),
    _one("trading_journal_segments_total", "Journal segments begun.", "journal_segments"),
    _one("trading_snapshots_total", "Snapshots taken.", "snapshots"),
    _one(
        "trading_canary_failures_total",
        "Times that the canary could not log in, was disconnected, or had no answer.",
        "canary_failures",
    ),
    _one("trading_gc_collections_total", "Garbage collections in the engine.", "gc_collections"),
    _each(
        "trading_stalls_total",
        "Times that the engine itself made everybody wait for more than a millisecond, by cause.",
        "cause", "stalls_{}", STALL_CAUSES,
    ),
)

GAUGES = (
    _one("trading_sessions", "Logged-in order-entry sessions, without the canary's.", "sessions_open"),
    _one("trading_test_sessions", "Those of the sessions whose account is a test account.", "test_sessions_open"),
    _one("trading_open_orders", "Orders in all books.", "open_orders"),
    _one("trading_symbols", "Symbols that can be traded.", "symbols"),
    _one("trading_halted_symbols", "Symbols that are halted.", "halted_symbols"),
    _one("trading_kill_switches", "Kill switches in force.", "kill_switches"),
    _one("trading_journal_lag_bytes", "Bytes written but not yet synced.", "journal_lag_bytes"),
    _one("trading_journal_lag_seconds", "Age of the oldest write that is not yet synced.", "journal_lag_ns", _NS),
    _one("trading_journal_used_bytes", "Size of all journal segments.", "journal_used_bytes"),
    _one("trading_journal_budget_bytes", "Size that all journal segments together may reach.", "journal_budget_bytes"),
    _one("trading_journal_disk_free_bytes", "Free space on the journal's file system.", "journal_disk_free_bytes"),
    _one(
        "trading_journal_left_seconds",
        "Time until the journal's space is used up at the present rate; -1 without growth.",
        "journal_seconds_left",
    ),
    _one("trading_queued_bytes", "Bytes that wait to be sent to clients.", "queued_bytes"),
    _one("trading_loop_lag_seconds", "How late the engine's loop last served its timer.", "loop_lag_last_ns", _NS),
    _one("trading_loop_lag_max_seconds", "The latest that it ever was since the start.", "loop_lag_max_ns", _NS),
    _one(
        "trading_gc_pause_seconds",
        "The longest garbage collection's pause of the last two seconds.",
        "gc_pause_recent_ns",
        _NS,
    ),
    _one(
        "trading_gc_pause_max_seconds",
        "The longest garbage collection's pause since the start.",
        "gc_pause_max_ns",
        _NS,
    ),
    _one("trading_stall_seconds", "The last stall of the engine's loop.", "stall_last_ns", _NS),
    _one("trading_stall_max_seconds", "The longest stall of the engine's loop since the start.", "stall_max_ns", _NS),
    _one("trading_recovery_seconds", "How long the recovery at the start took.", "recovery_ns", _NS),
    _one("trading_recovered_records", "Journal records that the recovery at the start replayed.", "recovered_records"),
    _one("trading_memory_locked", "1 when the engine's memory is locked into RAM.", "memory_locked"),
)

# fmt: on

NOT_EXPORTED = frozenset({"trading_day", "engine_time_ns", "stalls", "canary_round_trips", "compiled"})
"""A date and a time of day are no measurements (they are on /latest), stalls are exported by cause, the canary's
histogram counts its round trips, and what runs is a label of trading_engine_info."""

HISTOGRAMS = {
    "receive_to_reply": (
        "trading_receive_to_reply_seconds",
        "From the kernel's receive of an order's bytes to the write of its reply.",
    ),
    "service": ("trading_service_seconds", "From the engine's read of an order's bytes to the write of its reply."),
    "canary": ("trading_canary_round_trip_seconds", "From when an order of the canary was due to its answer."),
    "journal": ("trading_journal_write_seconds", "Duration of one journal write."),
}
BUCKET_BOUNDS_US = (
    20, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600, 750, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000, 5_000,
    10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000,
)  # fmt: skip
"""Upper bounds in µs; the SLO's usual edges 500, 1,000 and 2,000 have a neighbour on either side."""
