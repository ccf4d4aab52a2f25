"""The engine publishes its state in shared memory, and another process reads it.

The tests check what the reader sees, also when one of the two processes ends unexpectedly.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from trading_engine.published.catalogue import COUNTERS, GAUGES, HISTOGRAMS
from trading_engine.published.shm import (
    FILE_BYTES,
    LAYOUT,
    Event,
    ForeignStateError,
    MissingStateError,
    OtherLayoutError,
    SessionState,
    StateReader,
    StateWriter,
    TopOfBook,
    TornStateError,
)

# For each layout: how many counters, gauges and histograms it has, and the SHA-256 of their names in order.
OF_LAYOUT = {2: ((62, 26, 5), "a7982f06b1ed987d62e547b625f665dacab165929db179939ea2e23390d091e1")}
TOP = TopOfBook("TEST", 1, 2, 3, 4, 5, 6, 7, 8, 9)
SESSION = SessionState("ANNA", True, 1, 2, 3, 4, 5, 6, "192.0.2.1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "engine.shm"


def test_a_reader_sees_what_was_published_last(path: Path) -> None:
    writer, reader = StateWriter(path, "1.2.3", "os"), StateReader(path)
    writer.counters[COUNTERS.index("executions")] = 7
    writer.gauges[GAUGES.index("open_orders")] = -1
    writer.histograms["service"].record(5_000, 3)
    writer.failure = "no room"
    writer.publish([TOP], [SESSION], [Event(1, "hällo")])
    state = reader.read()
    assert (state.version, state.durability, state.failure) == ("1.2.3", "os", "no room")
    assert (state.counters["executions"], state.gauges["open_orders"]) == (7, -1)
    assert state.histograms["service"].count == 3
    assert (state.symbols, state.sessions, state.events) == ([TOP], [SESSION], [Event(1, "hällo")])
    reader.close()
    writer.close()


def test_the_numbers_of_a_layout_keep_their_places() -> None:
    """The numbers in the published state keep their places. A new number comes after all others of its kind.

    If that is impossible, increase LAYOUT and add an entry to OF_LAYOUT.
    """
    sizes, digest = OF_LAYOUT[LAYOUT]
    kinds = zip((COUNTERS, GAUGES, HISTOGRAMS), sizes, strict=True)
    first = [name for names, size in kinds for name in names[:size]]
    assert sha256(" ".join(first).encode()).hexdigest() == digest


def test_a_damaged_newest_slot_gives_the_one_before(path: Path) -> None:
    writer, reader = StateWriter(path, "1", "os"), StateReader(path)
    writer.publish([], [], [])
    newest = reader.read().sequence
    data = bytearray(path.read_bytes())
    start = 4096 + (newest & 1) * ((FILE_BYTES - 4096) // 2)
    data[start + 100] ^= 1
    path.write_bytes(data)
    assert reader.read().sequence == newest - 1
    path.write_bytes(data[:4096] + bytes(len(data) - 4096))
    with pytest.raises(TornStateError, match="read again"):
        reader.read()
    reader.close()
    writer.close()


def test_a_reader_follows_a_restarted_engine(path: Path) -> None:
    reader = StateReader(path)
    with pytest.raises(MissingStateError, match="has not run"):
        reader.read()
    for version in ("1", "2"):
        writer = StateWriter(path, version, "os")
        assert reader.read().version == version
        writer.close()
    assert reader.read().version == "2"
    reader.close()


def test_other_files_and_other_layouts_are_refused_with_what_to_do(path: Path) -> None:
    path.write_text("something else, and long enough for a header")
    with pytest.raises(ForeignStateError, match=r"engine\.toml"):
        StateReader(path).read()
    StateWriter(path, "1", "os").close()
    data = bytearray(path.read_bytes())
    data[8] += 1
    path.write_bytes(data)
    with pytest.raises(OtherLayoutError, match="of one release"):
        StateReader(path).read()


def test_more_than_there_is_room_for_is_left_out(path: Path) -> None:
    writer, reader = StateWriter(path, "1", "os"), StateReader(path)
    writer.publish([TOP] * 1000, [SESSION] * 1000, [Event(number, "x" * 500) for number in range(100)])
    state = reader.read()
    assert (len(state.symbols), len(state.sessions), len(state.events)) == (64, 64, 32)
    assert state.events[-1].time_ns == 99
    reader.close()
    writer.close()
