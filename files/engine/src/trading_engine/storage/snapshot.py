"""Snapshots: files with the whole state of the core, from which the engine starts faster than from the journal alone.

Equal states have equal bytes. The file `NNNNNNNNNNNN.snapshot` has the state before the first record of the segment
with this number.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

from trading_engine.machine.account import Account
from trading_engine.machine.book import Book, Order, orders_of
from trading_engine.machine.core import Core
from trading_engine.machine.terms import Terms
from trading_engine.storage.journal import sync_directory

MAGIC: Final = b"LLTSNAP1"
FORMAT: Final = 1
_HEAD: Final = struct.Struct(">8sI32sQQQQQ")
_ORDER: Final = struct.Struct(">I14sQBIIQ17sQ")


class SnapshotError(Exception):
    """The file is no snapshot, is damaged, or has another format."""


class SnapshotHead(NamedTuple):
    """The position in the journal that a snapshot belongs to: its state includes the first `records` records.

    The next record is the first of the segment with the number `segment`. `version` is that of the engine that wrote
    the snapshot.
    """

    version: str
    segment: int
    records: int
    time_ns: int


def dump(core: Core) -> bytes:
    """Return the state of the core as bytes. Equal states give equal bytes, whatever inputs led to the state."""
    accounts = [
        {
            "name": account.name,
            "settings": account.settings,
            "sequence": account.sequence,
            "connected": account.connected,
            "leaving": account.leaving,
            "killed": account.killed,
            "last_token": account.last_token.decode("latin-1"),
            "rate": [account.rate_second, account.rate_count],
            "recent": [[time_ns, key.decode("latin-1")] for time_ns, key in account.recent],
            "used_tokens": 0 if account.increasing else len(account.used_tokens()),
        }
        for account in core.by_number
    ]
    books = [
        {
            "stock": book.stock.decode("ascii"),
            "restricted": book.restricted,
            "tick_e4": book.own_tick_e4,
            "lot_shares": book.lot_shares,
            "halted": book.halted,
            "collar_price_e4": book.collar_price_e4,
            "last": [book.last_price_e4, book.last_shares, book.last_ns],
            "traded": [book.trades, book.traded_shares],
            "orders": sum(len(orders_of(side)) for side in (book.bids, book.asks)),
        }
        for book in core.books.values()
    ]
    market = {
        "accounts": accounts,
        "books": books,
        "day": core.day,
        "open": core.open,
        "closing": core.closing,
        "accepting": core.accepting,
        "next_reference": core.next_reference,
        "next_match": core.next_match,
        "feed_sequence": core.feed_sequence,
    }
    if core.entry_closed:  # it is left out if False, so that the bytes are those of releases that cannot close entry
        market["entry_closed"] = True
    text = json.dumps(market, sort_keys=True, separators=(",", ":")).encode()
    parts = [len(text).to_bytes(8, "big"), text]
    for account in core.by_number:
        if not account.increasing:
            parts.extend(account.used_tokens())
    pack = _ORDER.pack
    for book in core.books.values():
        for side in (book.bids, book.asks):
            parts.extend(
                pack(
                    order.account.number,
                    order.token,
                    order.reference,
                    order.side,
                    order.open_shares,
                    order.executed_shares,
                    order.price_e4,
                    order.terms.raw,
                    order.expiry_ns,
                )
                for order in orders_of(side)
            )
    return b"".join(parts)


def load(core: Core, data: bytes) -> None:
    """Load the bytes that `dump` returned into a new core. Raises SnapshotError when they are wrong."""
    try:
        size = int.from_bytes(data[:8], "big")
        market: dict[str, Any] = json.loads(data[8 : 8 + size])
        at = 8 + size
        core.day = market["day"]
        core.open = market["open"]
        core.closing = market.get("closing", False)  # older releases ended a day in one step
        core.accepting = market["accepting"]
        core.entry_closed = market.get("entry_closed", False)
        core.next_reference = market["next_reference"]
        core.next_match = market["next_match"]
        core.feed_sequence = market["feed_sequence"]
        for saved in market["accounts"]:
            account = core.add_account(saved["name"], saved["settings"])
            core.set_killed(account, saved["killed"])
            at = _load_account(account, saved, data, at)
        ending: list[Order] = []
        for saved in market["books"]:
            book = core.add_book(saved["stock"].encode("ascii"), saved["collar_price_e4"])
            # Older releases had neither ticks nor lots.
            book.set_listing(saved["restricted"], saved.get("tick_e4", 0), saved.get("lot_shares", 1))
            core.set_halted(book, saved["halted"])
            book.last_price_e4, book.last_shares, book.last_ns = saved["last"]
            book.trades, book.traded_shares = saved["traded"]
            end = at + saved["orders"] * _ORDER.size
            ending += _load_orders(core, book, data[at:end])
            at = end
        for order in sorted(ending, key=_reference_of):
            core.expiries.add(order)
    except (KeyError, TypeError, ValueError, IndexError, struct.error) as error:
        raise SnapshotError(f"its content is not that of a snapshot ({error!r})") from error
    core.recount_exposure()


def _load_account(account: Account, saved: dict[str, Any], data: bytes, at: int) -> int:
    account.sequence = saved["sequence"]
    account.taken = saved["sequence"]
    account.connected = saved["connected"]
    account.leaving = saved.get("leaving", False)  # older releases did not store it
    account.rate_second, account.rate_count = saved["rate"]
    for time_ns, text in saved["recent"]:
        key = text.encode("latin-1")
        account.recent.append((time_ns, key))
        account.recent_counts[key] = account.recent_counts.get(key, 0) + 1
    for _ in range(saved["used_tokens"]):
        account.use(data[at : at + 14])
        at += 14
    account.last_token = saved["last_token"].encode("latin-1")
    return at


def _load_orders(core: Core, book: Book, data: bytes) -> list[Order]:
    """Load the orders of one book from a snapshot. Return those of them that expire."""
    accounts = core.by_number
    ending = []
    without_firm: dict[bytes, Terms] = {}
    for number, token, reference, side, shares, executed, price_e4, raw, expiry_ns in _ORDER.iter_unpack(data):
        account = accounts[number]
        terms = account.terms_of(raw)
        if terms.raw != raw:  # the order was entered at an older release, which had no firms
            terms = without_firm.setdefault(raw, Terms(raw, True))
        last_token = account.last_token
        order = Order(token, account, book, reference, side, shares, executed, price_e4, terms)
        account.put(order)
        core.open_orders += 1
        account.last_token = last_token
        book.side_of(side).add(order)
        if expiry_ns:
            order.expiry_ns = expiry_ns
            ending.append(order)
    return ending


def _reference_of(order: Order) -> int:
    return order.reference


def digest(core: Core) -> str:
    """Return the SHA-256 of the core's state, in hexadecimal."""
    return hashlib.sha256(dump(core)).hexdigest()


def stored_digest(path: Path) -> str:
    """Return the SHA-256 of the state in a snapshot file, in hexadecimal. Raises SnapshotError for a bad file."""
    read(path, None)
    try:
        return hashlib.sha256(path.read_bytes()[_HEAD.size :]).hexdigest()
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read: {error.strerror}") from error


def path_of(directory: Path, segment: int) -> Path:
    return directory / f"{segment:012d}.snapshot"


def files(directory: Path) -> list[Path]:
    """Return the paths of all snapshots, oldest first."""
    return sorted(directory.glob("*.snapshot"))


def write(directory: Path, core: Core, head: SnapshotHead) -> Path:
    """Write a snapshot file completely or not at all, make sure that it is on the disk, and return its path.

    Raises OSError when that fails.
    """
    body = dump(core)
    version = head.version.encode()
    head_bytes = _HEAD.pack(
        MAGIC, FORMAT, version, head.segment, head.records, head.time_ns, len(body), zlib.crc32(body)
    )  # fmt: skip
    path = path_of(directory, head.segment)
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        file.write(head_bytes)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
    sync_directory(directory)
    return path


def read(path: Path, core: Core | None) -> SnapshotHead:
    """Check a snapshot file completely, load it into `core` unless `core` is None, and return the snapshot's head.

    The head is the snapshot's position in the journal. Raises SnapshotError when the file is damaged or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise SnapshotError(f"{path}, offset 0: not a snapshot")
    _, found, version, segment, records, time_ns, size, check = _HEAD.unpack_from(data)
    if found != FORMAT:
        raise SnapshotError(f"{path}: format {found}, this version reads {FORMAT}")
    body = data[_HEAD.size :]
    if len(body) != size or zlib.crc32(body) != check:
        raise SnapshotError(f"{path}, offset {_HEAD.size}: damaged")
    if core is not None:
        try:
            load(core, body)
        except SnapshotError as damage:
            raise SnapshotError(f"{path}: {damage}") from damage
    return SnapshotHead(version.rstrip(b"\0").decode("ascii", "replace"), segment, records, time_ns)
