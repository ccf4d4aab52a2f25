"""The collector: a pause comes after so many messages, looks at what is young, and never again at what lived."""

from __future__ import annotations

import gc
import itertools
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from trading_engine.published.catalogue import COUNTERS, GAUGES, STALL_NS
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


def test_pauses_are_counted(garbage: Garbage, stats: Stats) -> None:
    for _ in range(3):
        garbage.after(MESSAGES)
    assert stats.writer.counters[COUNTERS.index("gc_collections")] == 3
