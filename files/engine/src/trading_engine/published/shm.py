"""The engine's published state: a small file in shared memory that the engine writes and telemetry reads.

The file has a header and two slots, which the writer uses in turn. Each slot has a CRC over its sequence number and its
payload. A reader takes the newest slot whose CRC is correct, so it needs no lock and no memory barrier. The order of
the catalogue is the order of the numbers in a slot. A new number at the end of the catalogue uses unused bytes of the
slot, so that older readers still work. Any other change needs a new LAYOUT.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trading_engine.published.catalogue import COUNTERS, GAUGES, HISTOGRAMS
from trading_engine.published.histogram import BUCKETS, Distribution, Histogram

MAGIC = b"LLTRADE\0"
LAYOUT = 2
CAPACITY = 192  # the capacity for counters and for gauges
HISTOGRAM_CAPACITY = 6
SYMBOL_CAPACITY = 64
SESSION_CAPACITY = 64
EVENT_CAPACITY = 32

UNASSIGNED = -(1 << 63)  # a gauge that nothing has written yet; it is read as 0

_HEADER = struct.Struct("<8sIII")
_HEADER_BYTES = 4096
_SLOT_HEAD = struct.Struct("<QII")
_FIXED = struct.Struct("<qqI32s8s256sHHHHHH")
_HISTOGRAM_HEAD = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<8sIIIIIIqQQ")
_SESSION = struct.Struct("<32sBqqQQQQ48s")
_EVENT = struct.Struct("<q118sH")
_PAYLOAD_BYTES = (
    _FIXED.size
    + 16 * CAPACITY
    + HISTOGRAM_CAPACITY * (_HISTOGRAM_HEAD.size + 8 * BUCKETS)
    + SYMBOL_CAPACITY * _SYMBOL.size
    + SESSION_CAPACITY * _SESSION.size
    + EVENT_CAPACITY * _EVENT.size
)
_SLOT_BYTES = (_SLOT_HEAD.size + _PAYLOAD_BYTES + 4095) // 4096 * 4096
FILE_BYTES = _HEADER_BYTES + 2 * _SLOT_BYTES


class StateError(Exception):
    """The published state cannot be read. The message says what to do."""


class MissingStateError(StateError):
    """The file cannot be opened. Usually no engine has run since the machine started, or the path is wrong."""


class ForeignStateError(StateError):
    """The file is not an engine's published state."""


class OtherLayoutError(StateError):
    """The file was written by an engine whose layout this reader does not know."""


class TornStateError(StateError):
    """The state could not be read, because no slot of the file had a correct CRC in several attempts."""


class TopOfBook(NamedTuple):
    """A symbol's best displayed bid, its best displayed ask, and its last trade.

    Prices are in 1/10,000 of the currency unit; 0 means none. `last_ns` is the engine time of the last trade.
    """

    symbol: str
    bid_price_e4: int
    bid_shares: int
    ask_price_e4: int
    ask_shares: int
    last_price_e4: int
    last_shares: int
    last_ns: int
    trades: int
    traded_shares: int


class SessionState(NamedTuple):
    """A client session: a connection that is logged in. Its times are in nanoseconds since 1970."""

    account: str
    test: bool
    connected_ns: int
    last_received_ns: int
    messages_in: int
    messages_out: int
    queued_bytes: int
    next_sequence: int
    address: str


class Event(NamedTuple):
    """An event that an operator should know of, such as a stall, and its time in nanoseconds since 1970."""

    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class State:
    """One publication of the engine's state. Its fields ending in `_ns` are in nanoseconds since 1970."""

    sequence: int
    published_ns: int
    started_ns: int
    pid: int
    version: str
    durability: str
    failure: str
    counters: dict[str, int]
    gauges: dict[str, int]
    histograms: dict[str, Distribution]
    symbols: list[TopOfBook] = field(default_factory=list)
    sessions: list[SessionState] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    unassigned: frozenset[str] = frozenset()
    """The names of the gauges that the engine has not set since its start. Their value in `gauges` is 0."""

    @property
    def compiled(self) -> bool | None:
        """Whether the engine runs as compiled code. None if the engine has not published it."""
        return None if "compiled" in self.unassigned else bool(self.gauges["compiled"])


class StateWriter:
    """The writer of the published state. Its arrays `counters` and `gauges` have the order of COUNTERS and GAUGES."""

    def __init__(self, path: Path, version: str, durability: str) -> None:
        """Create a new file with an empty state, which replaces the old file. Raises OSError."""
        self.counters = array("Q", bytes(8 * CAPACITY))
        self.gauges = array("q", [UNASSIGNED] * CAPACITY)
        self.histograms = {name: Histogram() for name in HISTOGRAMS}
        self.failure = ""
        self._identity = (time.time_ns(), os.getpid(), version.encode(), durability.encode())
        self._path = path
        self._sequence = 0
        self._payload = bytearray(_PAYLOAD_BYTES)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
        try:
            os.fchmod(descriptor, 0o640)
            os.posix_fallocate(descriptor, 0, FILE_BYTES)
            self._map = mmap.mmap(descriptor, FILE_BYTES)
        finally:
            os.close(descriptor)
        self._map[: _HEADER.size] = _HEADER.pack(MAGIC, LAYOUT, _SLOT_BYTES, _PAYLOAD_BYTES)
        self.publish([], [], [])
        os.rename(fresh, path)

    def publish(self, symbols: Sequence[TopOfBook], sessions: Sequence[SessionState], events: Sequence[Event]) -> None:
        """Write all numbers, and the lists that are given, into the older of the file's two slots.

        Symbols and sessions beyond their capacity are left out, and so are the oldest events.
        """
        payload = self._payload
        symbols, sessions, events = symbols[:SYMBOL_CAPACITY], sessions[:SESSION_CAPACITY], events[-EVENT_CAPACITY:]
        started_ns, pid, version, durability = self._identity
        _FIXED.pack_into(
            payload, 0, time.time_ns(), started_ns, pid, version, durability, self.failure.encode()[:256],
            len(COUNTERS), len(GAUGES), len(HISTOGRAMS), len(symbols), len(sessions), len(events),
        )  # fmt: skip
        at = _FIXED.size
        for values in (self.counters, self.gauges):
            payload[at : at + 8 * CAPACITY] = values.tobytes()
            at += 8 * CAPACITY
        for name in HISTOGRAMS:
            histogram = self.histograms[name]
            _HISTOGRAM_HEAD.pack_into(payload, at, histogram.total_ns, histogram.maximum_ns)
            at += _HISTOGRAM_HEAD.size
            payload[at : at + 8 * BUCKETS] = histogram.counts.tobytes()
            at += 8 * BUCKETS
        for symbol in symbols:
            _SYMBOL.pack_into(payload, at, symbol.symbol.encode(), *symbol[1:])
            at += _SYMBOL.size
        for session in sessions:
            _SESSION.pack_into(payload, at, session.account.encode(), *session[1:-1], session.address.encode())
            at += _SESSION.size
        for event in events:
            text = event.text.encode()[:118]
            _EVENT.pack_into(payload, at, event.time_ns, text, len(text))
            at += _EVENT.size
        self._sequence += 1
        start = _HEADER_BYTES + (self._sequence & 1) * _SLOT_BYTES
        body = memoryview(payload)[:at]
        check = zlib.crc32(body, self._sequence & 0xFFFFFFFF)
        self._map[start + _SLOT_HEAD.size : start + _SLOT_HEAD.size + at] = body
        self._map[start : start + _SLOT_HEAD.size] = _SLOT_HEAD.pack(self._sequence, check, at)

    def close(self) -> None:
        """Close the file. The file stays, so that readers can still tell the age of the last publication."""
        self._map.close()


class StateReader:
    """The reader of the published state. After a restart of the engine, it opens the new file by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None
        self._identity = (0, 0)

    def read(self, attempts: int = 5) -> State:
        """Return the newest publication. If no publication can be read, raise one of the subclasses of StateError."""
        mapped = self._mapped()
        for _ in range(attempts):
            slots = []
            for number in (0, 1):
                start = _HEADER_BYTES + number * _SLOT_BYTES
                head = _SLOT_HEAD.unpack(mapped[start : start + _SLOT_HEAD.size])
                slots.append((*head, start + _SLOT_HEAD.size))
            for sequence, check, size, start in sorted(slots, reverse=True):
                if _FIXED.size <= size <= _PAYLOAD_BYTES:
                    body = mapped[start : start + size]
                    if zlib.crc32(body, sequence & 0xFFFFFFFF) == check:
                        return _decode(sequence, body)
        raise TornStateError(f"{self._path}: no complete publication in {attempts} attempts; read again")

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def _mapped(self) -> mmap.mmap:
        try:
            status = os.stat(self._path)
            if self._map is not None and self._identity == (status.st_dev, status.st_ino):
                return self._map
            self.close()
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                head = file.read(_HEADER.size)
                if len(head) < _HEADER.size or not head.startswith(MAGIC):
                    raise ForeignStateError(
                        f"{self._path} is not an engine's state; see shared_memory.path in engine.toml"
                    )
                _, layout, slot_bytes, payload_bytes = _HEADER.unpack(head)
                if (layout, slot_bytes, payload_bytes, status.st_size) != (
                    LAYOUT, _SLOT_BYTES, _PAYLOAD_BYTES, FILE_BYTES,
                ):  # fmt: skip
                    raise OtherLayoutError(
                        f"{self._path} has layout {layout}, this reader knows {LAYOUT}: "
                        "run the telemetry and the engine of one release, and restart both"
                    )
                self._map = mmap.mmap(file.fileno(), FILE_BYTES, access=mmap.ACCESS_READ)
                self._identity = (status.st_dev, status.st_ino)
                return self._map
        except FileNotFoundError as missing:
            self.close()
            raise MissingStateError(f"{self._path} does not exist: the engine has not run since the start") from missing
        except OSError as error:
            self.close()
            raise MissingStateError(f"{self._path} cannot be read: {error.strerror}") from error


def _decode(sequence: int, body: bytes) -> State:
    (published_ns, started_ns, pid, version, durability, failure, *counts) = _FIXED.unpack_from(body)
    counters_count, gauges_count, histogram_count, symbol_count, session_count, event_count = counts
    at = _FIXED.size
    counters = struct.unpack_from(f"<{counters_count}Q", body, at)
    at += 8 * CAPACITY
    gauges = struct.unpack_from(f"<{gauges_count}q", body, at)
    at += 8 * CAPACITY
    histograms = []
    for _ in range(histogram_count):
        total_ns, maximum_ns = _HISTOGRAM_HEAD.unpack_from(body, at)
        at += _HISTOGRAM_HEAD.size
        histograms.append(Distribution(array("Q", body[at : at + 8 * BUCKETS]), total_ns, maximum_ns))
        at += 8 * BUCKETS
    symbols, sessions, events = [], [], []
    for _ in range(symbol_count):
        name, *numbers = _SYMBOL.unpack_from(body, at)
        symbols.append(TopOfBook(_text(name), *numbers))
        at += _SYMBOL.size
    for _ in range(session_count):
        account, test, since, heard, received, sent, queued, number, address = _SESSION.unpack_from(body, at)
        sessions.append(
            SessionState(_text(account), bool(test), since, heard, received, sent, queued, number, _text(address))
        )
        at += _SESSION.size
    for _ in range(event_count):
        time_ns, text, length = _EVENT.unpack_from(body, at)
        events.append(Event(time_ns, text[:length].decode("utf-8", "replace")))
        at += _EVENT.size
    unassigned = [name for name, value in zip(GAUGES, gauges, strict=False) if value == UNASSIGNED]
    return State(
        sequence, published_ns, started_ns, pid, _text(version), _text(durability), _text(failure),
        dict(zip(COUNTERS, counters, strict=False)),
        {name: 0 if value == UNASSIGNED else value for name, value in zip(GAUGES, gauges, strict=False)},
        dict(zip(HISTOGRAMS, histograms, strict=False)), symbols, sessions, events, frozenset(unassigned),
    )  # fmt: skip


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode("utf-8", "replace")
