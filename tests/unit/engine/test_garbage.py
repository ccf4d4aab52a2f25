"""The collector: a pause comes after so many messages, looks at what is young, and never again at what lived."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from trading_engine.garbage import MESSAGES, Garbage
from trading_engine.shm import COUNTERS, StateWriter
from trading_engine.stats import Stats


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


def test_pauses_are_counted(garbage: Garbage, stats: Stats) -> None:
    for _ in range(3):
        garbage.after(MESSAGES)
    assert stats.writer.counters[COUNTERS.index("gc_collections")] == 3
