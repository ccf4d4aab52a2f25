"""The feed gets each message twice: from the engine's ring buffer and from a file, in either order.

A subscriber must get every message once, in the right order.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.wire import soupbintcp
from trading_feed.log import Log, LogFile
from trading_feed.subscriber import Subscriber

from tests.unit.feed.test_log import SESSION, binary_file, write


def subscriber_of(log: Log, sequence: int = 1) -> Subscriber:
    subscriber = Subscriber(log)
    subscriber.receive(soupbintcp.login_request("MD", "x", "", sequence))
    assert subscriber.admit()[2] == soupbintcp.LOGIN_ACCEPTED
    return subscriber


def everything(subscriber: Subscriber) -> list[bytes]:
    """Return all messages that the feed could send to the subscriber now."""
    found: list[bytes] = []
    while data := subscriber.packets(LogFile.packets):
        packets = soupbintcp.Splitter().feed(data)
        assert {kind for kind, _ in packets} == {soupbintcp.SEQUENCED}
        found += [payload for _, payload in packets]
    return found


TURN = st.tuples(
    st.integers(1, 4),  # the number of messages in the turn
    st.booleans(),  # whether the reader gets the turn from the ring
    st.booleans(),  # whether the engine then writes the file
    st.booleans(),  # whether the feed then reads the file
    st.booleans(),  # whether the subscriber then gets its messages
)


@given(st.lists(TURN, max_size=40))
@settings(max_examples=100)
def test_every_message_once_and_in_order_from_ring_and_files(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[int, bool, bool, bool, bool]]
) -> None:
    place = tmp_path_factory.mktemp("itch")
    path = write(place, 1, [])
    log = Log(place)
    subscriber = subscriber_of(log)
    said: list[bytes] = []
    got: list[bytes] = []
    pending = b""
    for count, seen, flushed, looked, served in turns:
        messages = [b"%d" % (len(said) + number) for number in range(count)]
        if seen:
            log.tail.add(SESSION, len(said) + 1, binary_file(messages))
        said += messages
        pending += binary_file(messages)
        if flushed:
            with path.open("ab") as file:
                file.write(pending)
            pending = b""
        if looked:
            log.extend()
        if served:
            got += everything(subscriber)
    with path.open("ab") as file:
        file.write(pending)
    while log.extend():
        pass
    got += everything(subscriber)
    assert got == said
    assert log.tail.first == log.tail.following  # the files have all messages
    log.close()


def test_from_now_on_counts_what_is_in_no_file_yet(tmp_path: Path) -> None:
    write(tmp_path, 1, [])
    log = Log(tmp_path)
    log.tail.add(SESSION, 1, binary_file([b"one", b"two", b"three"]))
    assert everything(subscriber_of(log, 0)) == []
    assert everything(subscriber_of(log, 2)) == [b"two", b"three"]
    log.close()


def test_a_session_ends_for_who_was_shown_more_of_it_than_the_files_got(tmp_path: Path) -> None:
    write(tmp_path, 1, [b"one"])
    log = Log(tmp_path)
    log.extend()
    log.tail.add(SESSION, 2, binary_file([b"two"]))  # then the engine died, and lost this message
    subscriber = subscriber_of(log)
    assert everything(subscriber) == [b"one", b"two"]
    write(tmp_path, 1, [b"new"], "2026112400")
    log.refresh()
    while log.extend():
        pass
    assert subscriber.packets(LogFile.packets) == soupbintcp.END_OF_SESSION_PACKET
    log.close()


def test_a_session_whose_files_are_not_noticed_yet_is_seen_by_the_ring(tmp_path: Path) -> None:
    write(tmp_path, 1, [b"one"])
    log = Log(tmp_path)
    assert not log.is_behind
    log.tail.add("2026112400", 1, binary_file([b"new"]))
    assert log.is_behind
    write(tmp_path, 1, [b"new"], "2026112400")
    log.refresh()
    assert not log.is_behind
    assert everything(subscriber_of(log)) == [b"new"]
    log.close()
