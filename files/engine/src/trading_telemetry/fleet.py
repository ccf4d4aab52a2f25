"""The state of many hosts, for `trading-telemetry fleet`.

This module reads /latest of each host every few seconds, and makes one document of all hosts and their partitions.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from typing import Any
from urllib.parse import urlencode

from trading_telemetry.ask import Connection, Source, UnansweredError
from trading_telemetry.config import NAME
from trading_telemetry.fleet_config import FleetConfig, Host
from trading_telemetry.health import Status

SCHEMA = 1
READ_S = 5.0
"""The pause between two readings of a host."""
LIMIT_S = 3.0
"""The time limit for all requests of one reading of a host."""
LOOK_UPS = 4
"""The number of threads per host for DNS look-ups. A look-up may run for half a minute, even after it was cancelled."""
OLD_NS = 20_000_000_000
"""The age at which a reading is too old to be shown as current, for example after this machine was suspended."""
MAX_PARTITIONS = 64
TEXT_CHARACTERS = 300
REASONS = 20
NOT_THAT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""The errors that occur when a document that is not a host's /latest is read as one."""
NO_TELEMETRY = "its answer is not that of a trading host's /latest"
FIGURES = (
    "age_s", "p99_us", "p99_target_us", "p99_kept_ratio", "orders_per_s", "executions_per_s", "rejects_per_s",
    "journal_used_ratio", "journal_seconds_left", "sessions",
)  # fmt: skip
"""The figures of each partition in the document. An unknown figure is null."""

Document = dict[str, Any]


class HostReader:
    """The reader of one host. While the host does not answer, it reports only the names of the host's partitions."""

    def __init__(self, host: Host) -> None:
        """Prepare to read `host`. Raises ConfigError when its token or certificate file cannot be read."""
        self._host = host
        self._source = Source(host.url, host.read_token(), host.tls())
        self._rows: list[Document] = []
        self._heard_ns = time.time_ns()
        self._problem = "not asked yet"

    async def read(self) -> None:
        """Read the host once. No error is raised: if the reading fails, `document` reports the problem."""
        try:
            self._rows = await self._ask()
            self._heard_ns, self._problem = time.time_ns(), ""
        except TimeoutError:
            self._problem = _late()
        except UnansweredError as error:
            self._problem = _text(str(error))

    def document(self) -> Document:
        """Return the host's part of the document: name, URL, problem, and a row for each partition.

        The problem is None if all is well.
        """
        old = time.time_ns() - self._heard_ns > OLD_NS
        problem = self._problem or ("not asked since" if old else None)
        return {
            "name": self._host.name,
            "url": self._host.url,
            "silent_since_ns": self._heard_ns if problem else None,
            "problem": problem,
            "partitions": [_unknown(row["partition"]) for row in self._rows] if problem else self._rows,
        }

    async def _ask(self) -> list[Document]:
        """Ask the host, and return a row for each of its partitions.

        If the first answer is late or unusable, TimeoutError or UnansweredError is raised. A later answer that is late
        or unusable only makes the figures of its partition unknown.
        """
        names: list[str | None] = []
        rows: dict[str | None, Document] = {}
        try:
            async with asyncio.timeout(LIMIT_S), self._source.asked() as connection:
                names, first = _first(await connection.get("/latest"))
                rows[first["partition"]] = first
                for name in names:
                    if name not in rows:
                        rows[name] = await _row_of(connection, name)
        except TimeoutError:
            if not names:
                raise
        return [rows.get(name) or _unknown(name, _late()) for name in names]


def _first(latest: Any) -> tuple[list[str | None], Document]:
    """Return the names of all partitions of a host, and the row of the partition that the document `latest` describes.

    A host without partitions has one, whose name is None. Raises UnansweredError when `latest` is not the answer of a
    host's /latest.
    """
    try:
        names, first = list(latest.get("partitions", ())), row(latest)
        if not all(NAME.fullmatch(name) for name in names):
            raise ValueError(names)
    except NOT_THAT as error:
        raise UnansweredError(NO_TELEMETRY) from error
    if len(names) > MAX_PARTITIONS:
        raise UnansweredError(f"it names {len(names)} partitions, and more than {MAX_PARTITIONS} are not read")
    return names or [first["partition"]], first


async def _row_of(connection: Connection, name: str | None) -> Document:
    try:
        found = row(await connection.get(f"/latest?{urlencode({'partition': name})}"))
    except UnansweredError as error:
        return _unknown(name, _text(str(error)))
    except NOT_THAT:
        return _unknown(name, NO_TELEMETRY)
    return found if found["partition"] == name else _unknown(name, NO_TELEMETRY)


def _late() -> str:
    return f"no answer within {LIMIT_S:g} s"


class Fleet:
    """The readers of all hosts. They run concurrently, so that a slow host does not delay the other hosts."""

    def __init__(self, config: FleetConfig) -> None:
        """Prepare to read all hosts. Raises ConfigError when a token or certificate file cannot be read."""
        self._hosts = [HostReader(host) for host in config.hosts]

    def document(self) -> Document:
        """Return the answer of /fleet: all hosts, and the worst status of any host.

        A host that cannot be read has the status failing.
        """
        hosts = [host.document() for host in self._hosts]
        order = list(Status)
        statuses = [row["status"] or Status.FAILING for host in hosts for row in host["partitions"]]
        statuses += [Status.FAILING for host in hosts if host["problem"]]
        return {
            "schema": SCHEMA,
            "time_ns": time.time_ns(),
            "status": max(statuses, key=order.index, default=Status.OK),
            "hosts": hosts,
        }

    async def keep_reading(self) -> None:
        """Read all hosts repeatedly until cancelled.

        DNS look-ups run in threads. There are LOOK_UPS threads per host, so that slow look-ups of one host do not
        occupy all of them.
        """
        threads = ThreadPoolExecutor(LOOK_UPS * len(self._hosts), "look-up")
        asyncio.get_running_loop().set_default_executor(threads)
        async with asyncio.TaskGroup() as group:
            for host in self._hosts:
                group.create_task(_keep_reading(host))


async def _keep_reading(host: HostReader) -> None:
    while True:
        await host.read()
        await asyncio.sleep(READ_S)


def row(latest: Document) -> Document:
    """Return the row of a partition: the part of its document of /latest that the page shows.

    A malformed document raises one of the errors in NOT_THAT.
    """
    slo, gauges, window = latest["slo"], latest.get("gauges", {}), latest["windows"]["10s"] or {}
    budget = gauges.get("journal_budget_bytes")
    figures = {
        "age_s": latest["age_s"],
        "p99_us": (slo["latency_us"] or {}).get("p99"),
        "p99_target_us": (slo["targets"] or {}).get("p99_us"),
        "p99_kept_ratio": slo["last_hour"].get("p99", {}).get("kept_ratio"),
        "orders_per_s": window.get("orders_received_per_s"),
        "executions_per_s": window.get("executions_per_s"),
        "rejects_per_s": window.get("rejects_per_s"),
        "journal_used_ratio": gauges["journal_used_bytes"] / budget if budget else None,
        "journal_seconds_left": gauges.get("journal_seconds_left"),
        "sessions": gauges.get("sessions_open"),
    }
    return {
        "partition": None if latest.get("partition") is None else _text(latest["partition"]),
        "status": Status(latest["status"]),
        "reasons": [_text(check["reason"]) for check in latest["checks"] if check["status"] != Status.OK][:REASONS],
        **{name: _figure(figures[name]) for name in FIGURES},
    }


def _unknown(partition: str | None, *reasons: str) -> Document:
    return {"partition": partition, "status": None, "reasons": list(reasons), **dict.fromkeys(FIGURES)}


def _figure(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(value)
    return value


def _text(value: str) -> str:
    """Return the value as text, cut to the length that a page shows, without characters that UTF-8 cannot encode."""
    return value[:TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
