"""The ring buffer in shared memory, through which the engine passes market data to the feed.

A turn is one pass of the engine's event loop. A reader gets exactly the messages of a turn, or none of them.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.published.histogram import Histogram
from trading_engine.published.ring import LARGEST, SIZE, RingError, RingReader, RingWriter
from trading_engine.storage.outbox import Output
from trading_engine.wire import itch, ouch, soupbintcp

SESSION = "2026112300"
SAID = b"what was said in this turn, and is longer than a word or two"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RingWriter]:
    writer = RingWriter(tmp_path / "ring", tmp_path / "bell")
    writer.begin(SESSION, 1)
    yield writer
    writer.close()


@pytest.fixture
def reader(writer: RingWriter, tmp_path: Path) -> Iterator[RingReader]:
    reader = RingReader(tmp_path / "ring", tmp_path / "bell")
    yield reader
    reader.close()


def said(reader: RingReader) -> list[tuple[int, bytes]]:
    return [(first, data) for first, _, data in reader.read()]


def rings(reader: RingReader) -> bool:
    return bool(select.select([reader.bell], [], [], 0)[0])


@given(st.lists(st.tuples(st.integers(1, LARGEST // 2), st.integers(1, 9), st.booleans()), max_size=60))
@settings(max_examples=30)
def test_whoever_keeps_up_reads_every_turn_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, int, bool]]
) -> None:
    place = tmp_path_factory.mktemp("ring")
    writer = RingWriter(place / "ring", place / "bell")
    writer.begin(SESSION, 1)
    reader = RingReader(place / "ring", place / "bell")
    written: list[tuple[int, bytes]] = []
    got: list[tuple[int, bytes]] = []
    following, unread = 1, 0
    for size, count, reads in turns:
        data = bytes([following % 251]) * size
        if unread + size > SIZE // 2 or reads:
            got += said(reader)
            unread = 0
        writer.write(data, count)
        written.append((following, data))
        following += count
        unread += size
    got += said(reader)
    assert got == written
    assert not reader.overtaken()
    reader.close()
    writer.close()


def test_whom_the_ring_overtook_is_told_so_and_goes_on_with_the_right_numbers(
    writer: RingWriter, reader: RingReader
) -> None:
    turns = SIZE // 1000 + 10
    for number in range(turns):
        writer.write(bytes([number % 251]) * 1000, 1)
    writer.publish()
    assert all(data == bytes([(first - 1) % 251]) * 1000 for first, data in said(reader))
    assert reader.overtaken()
    reader.join()
    assert not reader.overtaken()
    writer.write(b"next", 2)
    assert said(reader) == [(turns + 1, b"next")]


@given(st.data())
@settings(max_examples=100)
def test_stores_that_are_seen_in_any_order_are_seen_whole_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("ring")
    path = place / "ring"
    writer = RingWriter(path, place / "bell")
    writer.begin(SESSION, 1)
    reader = RingReader(path, place / "bell")
    old = data.draw(st.binary(min_size=60, max_size=60))
    if data.draw(st.booleans()):  # the memory then contains older records at the same places
        record_bytes, filler_bytes = 96, SIZE // 16
        writer.write(old, 1)
        writer.write(old, 1)
        for _ in range(15):
            writer.write(bytes(filler_bytes - 32), 1)
        writer.write(bytes(filler_bytes - 32 - 2 * record_bytes), 1)
    writer.write(old, 1)
    said(reader)
    before = path.read_bytes()
    writer.write(SAID, 3)
    after = path.read_bytes()
    pages = [at for at in range(0, len(after), 4096) if after[at : at + 4096] != before[at : at + 4096]]
    words = [at for page in pages for at in range(page, page + 4096, 8) if after[at : at + 8] != before[at : at + 8]]
    hidden = data.draw(st.sets(st.sampled_from(words), min_size=1))
    with path.open("r+b") as file:
        for at in hidden:
            file.seek(at)
            file.write(before[at : at + 8])
        file.flush()
        assert said(reader) == []
        for at in hidden:
            file.seek(at)
            file.write(after[at : at + 8])
    assert [content for _, content in said(reader)] == [SAID]
    reader.close()
    writer.close()


def test_only_who_sleeps_is_rung_for_and_once(writer: RingWriter, reader: RingReader) -> None:
    writer.write(b"awake", 1)
    assert not rings(reader)
    assert len(said(reader)) == 1
    reader.lie_down()
    assert said(reader) == []
    writer.write(b"asleep", 1)
    assert rings(reader)
    writer.write(b"more", 1)
    reader.get_up()
    assert not rings(reader)
    assert [content for _, content in said(reader)] == [b"asleep", b"more"]


def test_who_lay_down_unseen_is_woken_when_the_file_is_written(writer: RingWriter, reader: RingReader) -> None:
    writer.write(b"crossed", 1)
    reader.lie_down()
    writer.publish()
    assert rings(reader)


def test_a_bell_that_nobody_takes_holds_up_nobody(writer: RingWriter, reader: RingReader) -> None:
    for _ in range(100_000):  # more than the pipe can hold
        reader.lie_down()
        writer.write(b"turn", 1)
    assert rings(reader)


def test_a_turn_too_large_for_the_ring_is_a_number_missing(writer: RingWriter, reader: RingReader) -> None:
    writer.write(b"a", 1)
    writer.write(bytes(LARGEST), 500)
    writer.write(b"b", 1)
    assert said(reader) == [(1, b"a"), (502, b"b")]


def test_a_new_session_begins_at_its_own_number_and_is_told_apart(writer: RingWriter, reader: RingReader) -> None:
    writer.write(b"old", 1)
    writer.begin("2026112400", 1)
    writer.write(b"new", 1)
    assert (said(reader), reader.session) == ([(1, b"old")], SESSION)
    assert (said(reader), reader.session) == ([(1, b"new")], "2026112400")


def test_a_reader_sees_that_the_engine_left_or_was_replaced(
    writer: RingWriter, reader: RingReader, tmp_path: Path
) -> None:
    assert not reader.is_left
    RingWriter(tmp_path / "ring", tmp_path / "bell").close()
    assert reader.is_left
    second = RingReader(tmp_path / "ring", tmp_path / "bell")
    assert second.is_left
    second.close()


def test_what_the_feed_measured_arrives_at_the_engine(writer: RingWriter, reader: RingReader) -> None:
    reader.times.record(70_000)
    reader.times.record(90_000)
    reader.publish_times()
    taken = Histogram()
    writer.take_times(taken)
    assert (sum(taken.counts), taken.total_ns, taken.maximum_ns) == (2, 160_000, 90_000)


def test_a_feed_that_comes_back_goes_on_counting_where_the_last_one_stopped(
    writer: RingWriter, reader: RingReader, tmp_path: Path
) -> None:
    reader.times.record(70_000)
    reader.publish_times()
    second = RingReader(tmp_path / "ring", tmp_path / "bell")
    second.times.record(90_000)
    second.publish_times()
    second.close()
    taken = Histogram()
    writer.take_times(taken)
    assert (sum(taken.counts), taken.total_ns, taken.maximum_ns) == (2, 160_000, 90_000)


@pytest.mark.parametrize("content", [None, b"", b"LLTRADE\0" + bytes(100), bytes(1 << 21)])
def test_what_is_no_ring_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ring"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RingError, match=r"^[^\n]*ring[^\n]*$"):
        RingReader(path, tmp_path / "bell")


def test_a_file_in_the_place_of_the_bell_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "bell").write_text("no pipe")
    writer = RingWriter(tmp_path / "ring", tmp_path / "bell")
    assert (tmp_path / "bell").is_fifo()
    writer.close()


def test_what_delivering_a_turn_causes_is_shown_behind_it(
    start: Callable[[], Engine], writer: RingWriter, reader: RingReader
) -> None:
    engine = start()

    def enter(token: str) -> None:
        order = ouch.EnterOrder(token, "B", 100, "TEST", 1_000_000)
        engine.read(0, soupbintcp.unsequenced(ouch.INBOUND.encode(order)), 0)

    def deliver(output: Output) -> None:
        """Process a second input while the engine delivers the result of the first.

        This happens when the engine sends a reply, and notices by it that the client has disconnected.
        """
        engine.deliver = lambda output: None
        enter("2")

    engine.submit(inputs.CONNECT, 0)
    engine.ring, engine.deliver = writer, deliver
    enter("1")
    engine.ring = None
    shown = [message for _, data in said(reader) for message in map(itch.FEED.decode, itch.split_log(data))]
    assert [type(message) for message in shown] == [itch.AddOrder] * 2
    assert shown[0].reference < shown[1].reference
