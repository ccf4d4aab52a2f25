"""The engine runs Python's garbage collection after a number of messages, and only for new objects.

It counts and publishes its pauses for garbage collection. It does the same with stalls, times in which it served no
client.
"""

from __future__ import annotations

import gc
import itertools
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.machine.version import is_compiled
from trading_engine.process.server import Server
from trading_engine.published.catalogue import COUNTERS, GAUGES, STALL_CAUSES, STALL_NS
from trading_engine.published.garbage import MESSAGES, Garbage
from trading_engine.published.shm import StateWriter
from trading_engine.published.stats import Stats


class Cycle:
    def __init__(self) -> None:
        self.myself = self


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[Stats]:
    writer = StateWriter(tmp_path / "engine.shm", "1.2.3", "os")
    yield Stats(writer)
    writer.close()


@pytest.fixture
def garbage(stats: Stats) -> Iterator[Garbage]:
    made = Garbage(stats)
    made.start()
    yield made
    gc.unfreeze()
    gc.enable()


def test_a_cycle_is_collected_once_so_many_messages_were_answered(garbage: Garbage) -> None:
    cycle = weakref.ref(Cycle())
    garbage.after(MESSAGES - 1)
    assert cycle() is not None
    garbage.after(1)
    assert cycle() is None


def test_what_lived_is_frozen_and_looked_at_no_more(garbage: Garbage) -> None:
    lived = Cycle()
    known = weakref.ref(lived)
    garbage.collect()
    del lived
    garbage.collect()
    assert known() is not None


def test_a_pause_is_published_until_the_end_of_the_second_after(garbage: Garbage, stats: Stats) -> None:
    def published() -> int:
        return stats.writer.gauges[GAUGES.index("gc_pause_recent_ns")]

    young = [[number] for number in range(100_000)]
    garbage.collect()
    longest = published()
    garbage.begin_second()
    garbage.collect()
    assert published() == longest
    garbage.begin_second()
    garbage.collect()
    assert 0 < published() < longest
    assert len(young) == 100_000


def test_a_pause_above_the_limit_is_a_stall(garbage: Garbage, stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(step=STALL_NS + 1)
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))
    garbage.collect()
    assert stats.writer.counters[COUNTERS.index("stalls_gc")] == 1


@pytest.mark.parametrize("cause", sorted({*STALL_CAUSES} - {"gc", "read", "write"}))
def test_a_timed_step_above_the_limit_is_a_stall_by_its_cause(
    stats: Stats, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    server = cast(Server, SimpleNamespace(_stats=stats))
    for lasted_ns in (STALL_NS, STALL_NS + 1):
        monkeypatch.setattr(time, "monotonic_ns", itertools.count(step=lasted_ns).__next__)
        Server._timed(server, cause, lambda: None)
    published = stats.writer
    assert published.counters[COUNTERS.index("stalls")] == published.counters[COUNTERS.index(f"stalls_{cause}")] == 1
    assert published.gauges[GAUGES.index("stall_last_ns")] == STALL_NS + 1
    assert [event.text for event in stats.events] == [f"stall of 1.0 ms: {cause}"]


@pytest.mark.skipif(is_compiled(), reason="nobody can give another clock to a compiled engine")
@pytest.mark.parametrize(("lasted_ns", "told"), [(STALL_NS, []), (STALL_NS + 1, ["write"])])
def test_a_write_above_the_limit_is_a_stall(
    start: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch, lasted_ns: int, told: list[str]
) -> None:
    engine = start()
    causes: list[str] = []
    engine.on_stall = lambda cause, _: causes.append(cause)
    assert engine.writer is not None
    clock = iter([0, lasted_ns])
    monkeypatch.setattr("trading_engine.engine._monotonic_ns", lambda: next(clock, lasted_ns))
    engine.submit(inputs.CONNECT, 0)
    assert causes == told


def test_pauses_are_counted(garbage: Garbage, stats: Stats) -> None:
    for _ in range(3):
        garbage.after(MESSAGES)
    assert stats.writer.counters[COUNTERS.index("gc_collections")] == 3
