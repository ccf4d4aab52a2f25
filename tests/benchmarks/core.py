"""Measures the engine's core, which matches orders. No sockets are used.

Each variant runs in a separate process: `python -m tests.benchmarks.core NAME` prints JSON. All times are CPU times,
because other programs on the machine disturb CPU times least.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from trading_engine.machine import inputs
from trading_engine.machine.book import Book, BookSide, Order
from trading_engine.machine.core import Core
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process import tools
from trading_engine.storage import journal, snapshot

from tests.benchmarks import orderflow, variants
from tests.benchmarks.figures import Figure

READ = 64
ORDERS = 100_000
SLICES = 10
_ALIVE = 1_000


def _apply(core: Core, reads: list[bytes], accounts: int = 1, first: int = 0) -> float:
    """Return how many CPU seconds the core needs to process the reads, one after the other.

    A read is the bytes that the engine receives at once. The answers are joined as the gateway joins them. The accounts
    take turns, beginning with account number `first`.
    """
    gc.disable()
    begun = time.process_time()
    for number, data in enumerate(reads, first):
        core.apply(number % accounts, data, 1_000)
        for account in core.touched:
            b"".join(account.out)
        b"".join(core.feed)
        core.discard_outputs()
    return time.process_time() - begun


def _reads(frames: Iterator[bytes]) -> list[bytes]:
    made = []
    while batch := list(islice(frames, READ)):
        made.append(b"".join(batch))
    return made


def measure_enters() -> dict[str, float]:
    """Measure the core and lightmatchingengine, another engine, in turns, with the same Enter messages.

    30 % of the orders are marketable.
    """
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side  # type: ignore[import-not-found]

    ours, other = orderflow.open_core(), LightMatchingEngine()
    flow, same = orderflow.Flow(), orderflow.Flow()
    choose = same._choose
    spent_s, reference_s = [], []
    for _ in range(SLICES):
        kinds = [number % 10 < 3 for number in range(ORDERS // SLICES)]
        reads = _reads(flow.take() if take else flow.rest() for take in kinds)
        orders = []
        for take in kinds:
            side = choose.choice("BS")
            stock = choose.choice(same._symbols)
            price_e4 = orderflow.MID_E4 + (50_000 if side == "B" else -50_000) if take else same._price_e4(side)
            orders.append((stock, price_e4 / 1e4, 100 if take else 1000, Side.BUY if side == "B" else Side.SELL))
        gc.collect()
        spent_s.append(_apply(ours, reads))
        begun = time.process_time()
        for order in orders:
            other.add_order(*order)
        reference_s.append(time.process_time() - begun)
    a_slice = ORDERS / SLICES
    return {
        "enters_per_s": a_slice / statistics.median(spent_s),
        "reference_per_s": a_slice / statistics.median(reference_s),
    }


def measure_mixed() -> dict[str, float]:
    core, flow = orderflow.open_core(), orderflow.Flow()
    _apply(core, _reads(flow.rest() for _ in range(100_000)))
    gc.freeze()
    a_slice = ORDERS // SLICES
    spent_s = [_apply(core, _reads(flow.mixed() for _ in range(a_slice))) for _ in range(SLICES)]
    return {"us": statistics.median(spent_s) / a_slice * 1e6}


def _match(order: Order, contras: BookSide, alive: dict[int, Order]) -> None:
    """Execute an order against the resting orders that it matches. Do only the work that every engine must do."""
    while order.open_shares and contras.crosses(order.price_e4):
        maker = contras.levels[contras.keys[-1]].oldest
        assert maker is not None
        assert maker.level is not None
        shares = min(order.open_shares, maker.open_shares)
        order.open_shares -= shares
        if shares == maker.open_shares:
            contras.remove(maker)
            del alive[maker.reference]
        else:
            maker.open_shares -= shares
            maker.level.shares -= shares


def measure_book() -> dict[str, float]:
    """Measure only the book, and the book of lightmatchingengine with the same orders.

    A third of the orders are marketable. Each of the others rests, and is later cancelled by its number.
    """
    from lightmatchingengine.lightmatchingengine import LightMatchingEngine, Side

    choose = orderflow.Flow()._choose
    account = orderflow.open_core().by_number[0]
    terms = account.terms_of(b"\x00\x01\x86\x9eFIRMYPY\0\0\0\0NN")
    kinds = [(choose.random() < 0.5, choose.randrange(-25, 50)) for _ in range(ORDERS)]
    book = Book(b"S0      ", 1, orderflow.MID_E4)
    alive: dict[int, Order] = {}
    canceled = set()  # lightmatchingengine cannot cancel an executed order
    gc.disable()
    begun = time.process_time()
    for number, (buys, distance) in enumerate(kinds):
        price_e4 = orderflow.MID_E4 - distance * 100 if buys else orderflow.MID_E4 + distance * 100
        order = Order(b"", account, book, number, 66 if buys else 83, 100, 0, price_e4, terms)
        _match(order, book.asks if buys else book.bids, alive)
        if order.open_shares:
            (book.bids if buys else book.asks).add(order)
            alive[number] = order
        ended = alive.pop(number - _ALIVE, None)
        if ended is not None:
            book.side_of(ended.side).remove(ended)
            canceled.add(ended.reference)
    ours = ORDERS / (time.process_time() - begun)
    other = LightMatchingEngine()
    begun = time.process_time()
    for number, (buys, distance) in enumerate(kinds):
        other.add_order(
            "S0", 100 - distance / 100 if buys else 100 + distance / 100, 100, Side.BUY if buys else Side.SELL
        )
        if number - _ALIVE in canceled:
            other.cancel_order(number - _ALIVE + 1, "S0")
    return {"orders_per_s": ours, "reference_per_s": ORDERS / (time.process_time() - begun)}


def measure_scale() -> dict[str, float]:
    """Return the CPU time of an order in µs, with 100 and with 10,000 symbols.

    Do the same for price levels and for accounts.
    """
    worlds = {}
    for name, symbols, levels, accounts in (
        ("base", 100, 100, 100),
        ("symbols", 10_000, 100, 100),
        ("levels", 100, 10_000, 100),
        ("accounts", 100, 100, 10_000),
    ):
        core, flow = orderflow.open_core(symbols, accounts), orderflow.Flow(1, symbols, levels)
        _apply(core, _reads(flow.rest() for _ in range(50_000)), accounts)
        worlds[name] = core, flow, accounts
    gc.freeze()
    a_slice = ORDERS // 2 // SLICES
    spent_s: dict[str, list[float]] = {name: [] for name in worlds}
    first = 0
    for _ in range(SLICES):
        for name, (core, flow, accounts) in worlds.items():
            flow.alive.clear()
            reads = _reads(flow.rest() if number % 10 < 7 else flow.take() for number in range(a_slice))
            spent_s[name].append(_apply(core, reads, accounts, first))
        first += a_slice // READ
    return {name: statistics.median(spent) / a_slice * 1e6 for name, spent in spent_s.items()}


def measure_recovery() -> dict[str, float]:
    """Measure the replay of a journal. Then measure how a snapshot of a million open orders is written and loaded."""
    core, flow = orderflow.open_core(), orderflow.Flow(levels=500)
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as name:
        directory = Path(name)
        writer = journal.Writer(directory, 64 << 20, MACHINE_VERSION, 1, 0)
        writer.append(inputs.CONFIGURE, 0, 1, json.dumps(orderflow.settings()).encode())
        writer.append(inputs.START_DAY, 0, 2, b"2026010500")
        for data in _reads(flow.mixed() for _ in range(300_000)):
            writer.append(inputs.READ, 0, 1_000, data)
        writer.close()
        gc.disable()
        replayed = tools.replay(directory)
        flow.alive.clear()
        for _ in range(1_000_000 // READ):
            core.apply(0, b"".join(flow.rest() for _ in range(READ)), 1_000)
            core.discard_outputs()
            flow.alive.clear()
        gc.freeze()
        begun = time.process_time()
        data = snapshot.dump(core)
        dumped = time.process_time()
        snapshot.load(Core(), data)
        return {
            "replayed_per_s": replayed["messages_per_cpu_s"],
            "dump_s": dumped - begun,
            "load_s": time.process_time() - dumped,
            "snapshot_bytes": len(data),
        }


MEASURES: dict[str, Callable[[], dict[str, float]]] = {
    "enters": measure_enters,
    "mixed": measure_mixed,
    "book": measure_book,
    "scale": measure_scale,
    "recovery": measure_recovery,
}


def _child(name: str, variant: str) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.core", name],
        env=variants.environment(variant),
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(result.stdout))


def core(variant: str) -> Iterator[Figure]:
    """Measure the core, which decodes, checks and matches messages and encodes the answers.

    It has no sockets and no journal.
    """
    enters, mixed = _child("enters", variant), _child("mixed", variant)
    reach, aim = ("0.8 x", "1.0 x") if variant == "pure" else ("1.6 x", "2.0 x")
    yield Figure(
        "core", variant, "Enters a second, in process", enters["enters_per_s"], "1/s",
        "lightmatchingengine", enters["reference_per_s"], reach, aim,
    )  # fmt: skip
    yield Figure("core", variant, "a message of the mixed flow, in process", mixed["us"], "µs")


def book(variant: str) -> Iterator[Figure]:
    """Measure only matching, without codec, checks and tokens. An order is cancelled after a thousand more orders."""
    found = _child("book", variant)
    reach, aim = ("700,000", "1,000,000") if variant == "pure" else ("1,200,000", "2,000,000")
    yield Figure(
        "book", variant, "orders a second through the bare book", found["orders_per_s"], "1/s",
        "lightmatchingengine", found["reference_per_s"], reach, aim,
    )  # fmt: skip


def scale(variant: str) -> Iterator[Figure]:
    """Measure the CPU time of an order with few and with many symbols, price levels or accounts.

    The large number is a hundred times the small one.
    """
    found = _child("scale", variant)
    for name in ("symbols", "levels", "accounts"):
        yield Figure(
            "scale", variant, f"cost of an order with 10 k {name}", found[name], "µs", "100", found["base"], "1.5 x"
        )


def recovery(variant: str) -> Iterator[Figure]:
    """Measure two parts of an engine's start: the replay of the journal, and the loading of a snapshot."""
    found = _child("recovery", variant)
    rates = ("200,000", "350,000") if variant == "pure" else ("600,000", "")
    loads = ("5", "2") if variant == "pure" else ("4", "2")
    yield Figure("recovery", variant, "replayed messages a second", found["replayed_per_s"], "1/s", "", None, *rates)
    yield Figure("recovery", variant, "load a snapshot of 1 M open orders", found["load_s"], "s", "", None, *loads)
    yield Figure("recovery", variant, "make a snapshot of 1 M open orders", found["dump_s"], "s")
    yield Figure("recovery", variant, "its size", found["snapshot_bytes"] / 1e6, "MB")


if __name__ == "__main__":
    print(json.dumps(MEASURES[sys.argv[1]]()))
