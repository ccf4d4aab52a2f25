"""The answer of /api: a description of the HTTP interface in OpenAPI 3.1.

The description is written by hand. A test checks that it has every path and describes /latest correctly.
"""

import copy
from typing import Any

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
TEXT: Schema = {"type": "string"}


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema, meaning: str) -> Schema:
    return {"anyOf": [schema, {"type": "null"}], "description": meaning}


def _fields(integers: str, texts: str = "", flags: str = "") -> Schema:
    return _object(
        {
            **dict.fromkeys(integers.split(), INTEGER),
            **dict.fromkeys(texts.split(), TEXT),
            **{name: {"type": "boolean"} for name in flags.split()},
        }
    )


STATUS: Schema = {"enum": ["ok", "degraded", "failing"]}
AGE: Schema = _nullable(NUMBER, "Seconds since the engine published; null without an engine.")
CHECKS: Schema = _list(_object({"name": TEXT, "status": STATUS, "reason": TEXT}))
FIGURES: Schema = _object({"avg": NUMBER, "p50": NUMBER, "p95": NUMBER, "p99": NUMBER, "p999": NUMBER})
LATENCY: Schema = {
    **_object({"count": INTEGER, **FIGURES["properties"]}, ("avg", "p50", "p95", "p99", "p999")),
    "description": "µs; only count when nothing was measured in the window.",
}
WINDOW: Schema = _nullable(
    _object(
        {
            "seconds": NUMBER,
            "messages_received_per_s": NUMBER,
            "orders_received_per_s": NUMBER,
            "orders_accepted_per_s": NUMBER,
            "executions_per_s": NUMBER,
            "bytes_received_per_s": NUMBER,
            "journal_bytes_per_s": NUMBER,
            "rejects_per_s": NUMBER,
            "rejects": _map(INTEGER),
            "latency_us": _map(LATENCY),
        }
    ),
    "Null until the engine published twice.",
)
TARGETS: Schema = _object(
    {
        **dict.fromkeys(("avg_us", "p95_us", "p99_us", "throughput_per_s", "cpu_percent", "memory_percent"), NUMBER),
        "feed_p99_us": _nullable(NUMBER, "How far market data may be behind the reply; null without slo_feed.toml."),
    }
)
SLO: Schema = _object(
    {
        "targets": _nullable(TARGETS, "Null when there is no slo.toml."),
        "latency_us": _nullable(FIGURES, "The last minute's, each of the source that is worst; null without any."),
        "latency_by_source_us": _map(FIGURES),
        "curves_us": _map(_list({**_list(NUMBER), "minItems": 2, "maxItems": 2, "description": "Percentile, µs."})),
        "broken": _list(TEXT),
        "last_hour": _map(
            _object(
                {
                    "judged_s": INTEGER,
                    "kept_ratio": _nullable(NUMBER, "Share of the measured seconds within the target."),
                    "budget_left_ratio": _nullable(NUMBER, "What is left of 0.1 % of these seconds."),
                }
            )
        ),
    }
)
ENGINE: Schema = _nullable(
    _object(
        {
            "pid": INTEGER,
            "started_ns": INTEGER,
            "uptime_s": NUMBER,
            "durability": {"enum": ["none", "os", "disk"]},
            "compiled": _nullable({"type": "boolean"}, "Null when an older engine does not say."),
            "failure": _nullable(TEXT, "Why nothing is sent any more; null when all is well."),
            "resident_bytes": _nullable(INTEGER, "Null when the process is gone."),
        }
    ),
    "Null without an engine.",
)
HOST: Schema = _object(
    {
        "cpu_percent": _map(NUMBER),
        "memory_percent": NUMBER,
        "memory_available_bytes": INTEGER,
        "received_bytes_per_s": NUMBER,
        "sent_bytes_per_s": NUMBER,
        "clock_synchronised": _nullable({"type": "boolean"}, "Null when neither chrony nor the kernel may be asked."),
        "clock_offset_us": _nullable(NUMBER, "Null unless the clock is synchronised."),
        "clock_error_bound_us": _nullable(NUMBER, "The most that the offset can be; null as the offset is."),
        "tuning_profile": _nullable(TEXT, "Null when the host was not tuned."),
        "refused_packets": _nullable(_map(INTEGER), "By the firewall, by reason; null without one."),
    }
)
LATEST: Schema = _object(
    {
        "schema": {"const": 1},
        "time_ns": INTEGER,
        "age_s": AGE,
        "status": STATUS,
        "checks": CHECKS,
        "engine": ENGINE,
        "slo": SLO,
        "windows": _object({"1s": WINDOW, "10s": WINDOW, "60s": WINDOW}),
        "host": HOST,
        "second": _map(_nullable(NUMBER, "The newest row of /history.")),
        "counters": _map(INTEGER),
        "gauges": _map(INTEGER),
        "latency_max_us": _map(NUMBER),
        "symbols": _list(
            _fields(
                "bid_price_e4 bid_shares ask_price_e4 ask_shares last_price_e4 last_shares last_ns trades "
                "traded_shares",
                "symbol",
            )
        ),
        "sessions": _list(
            _fields(
                "connected_ns last_received_ns messages_in messages_out queued_bytes next_sequence",
                "account address",
                "test",
            )
        ),
        "events": _list(_fields("time_ns", "text")),
    },
    ("counters", "gauges", "latency_max_us", "symbols", "sessions", "events"),
)
HEALTH: Schema = _object({"status": STATUS, "age_s": AGE, "checks": CHECKS})


ERROR: Schema = _object({"error": TEXT})
SBOM_TYPE = "application/vnd.cyclonedx+json"
REFUSALS = {"401": "the token is asked for", "429": "too many requests"}
"""The error statuses that every path may answer. Only /health never answers 401, because it requires no token."""
PATHS_OF_PARTITIONS = ("/health", "/latest", "/history", "/stream")


def _answer(description: str, schema: Schema, content_type: str = "application/json") -> Schema:
    return {"description": description, "content": {content_type: {"schema": schema}}}


def _get(summary: str, content_type: str, schema: Schema, *, more: dict[str, Any] | None = None) -> Schema:
    answers = {"200": _answer("OK", schema, content_type), **(more or {})}
    refusals = {status: _answer(meaning, ERROR) for status, meaning in REFUSALS.items()}
    return {"get": {"summary": summary, "responses": {**refusals, **answers}}}


DESCRIPTION: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "Telemetry of a low-latency trading host",
        "version": "1",
        "description": "Everything is read-only. Units are in the names; null means unknown, never zero.",
    },
    "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    "paths": {
        "/": _get("A live page for browsers, links for programs", "application/json", _map({})),
        "/static/{name}": {
            "parameters": [{"name": "name", "in": "path", "required": True, "schema": TEXT}],
            **_get("The page's files", "*/*", {}, more={"404": _answer("no such file", ERROR)}),
        },
        "/health": _get(
            "Is the host keeping its promise?",
            "application/json",
            HEALTH,
            more={"503": _answer("failing", HEALTH)},
        ),
        "/latest": _get("Everything that is known now", "application/json", LATEST),
        "/history": {
            "parameters": [
                {"name": "window", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 3600}}
            ],
            **_get(
                "One value a second and column, oldest first",
                "application/json",
                _map(_list({})),
                more={"422": _answer("another window", ERROR)},
            ),
        },
        "/stream": _get(
            "/latest once a second as server-sent events",
            "text/event-stream",
            TEXT,
            more={"503": _answer("as many streams as there may be are open", ERROR)},
        ),
        "/metrics": _get("Prometheus or OpenMetrics", "text/plain", TEXT),
        "/api": _get("This description", "application/json", _map({})),
        "/api/sbom": _get(
            "What this release consists of, in CycloneDX",
            SBOM_TYPE,
            _map({}),
            more={
                "403": _answer("the service asks nobody for a token", ERROR),
                "404": _answer("a release that was installed without one", ERROR),
            },
        ),
    },
}


def describe(partitions: tuple[str, ...]) -> Schema:
    """Return the OpenAPI description for a host with these partitions. A host with one engine has no partitions."""
    if not partitions:
        return DESCRIPTION
    described = copy.deepcopy(DESCRIPTION)
    described["info"]["description"] += (
        f" This host has the partitions {', '.join(partitions)}: /latest, /history and /stream are those of one, of"
        f" {partitions[0]} unless ?partition= names another. /health without it judges all of them, each by name."
        " On /metrics it is the label partition."
    )
    for path in PATHS_OF_PARTITIONS:
        entry = described["paths"][path]
        schema = {"enum": list(partitions)}
        entry.setdefault("parameters", []).append({"name": "partition", "in": "query", "schema": schema})
        entry["get"]["responses"]["404"] = _answer("no such partition", ERROR)
    answers = described["paths"]["/latest"]["get"]["responses"]
    latest = answers["200"]["content"]["application/json"]["schema"]
    more = {"partition": {"enum": list(partitions)}, "partitions": _object(dict.fromkeys(partitions, STATUS))}
    latest["properties"] |= more
    latest["required"] += list(more)
    return described
