"""The feed reads the engine's ITCH log, and gives each message in it a number."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trading_engine.wire import soupbintcp
from trading_feed.log import STRIDE, Log, LogFile

SESSION = "2026112300"


def binary_file(messages: list[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(message)) + message for message in messages)


def write(directory: Path, first_sequence: int, messages: list[bytes], session: str = SESSION) -> Path:
    path = directory / f"{session}-{first_sequence:020}.itch"
    path.write_bytes(binary_file(messages))
    return path


def indexed(directory: Path) -> Log:
    log = Log(directory)
    while log.extend():
        pass
    return log


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=60), st.data())
@settings(max_examples=25)
def test_every_message_is_found_by_its_number(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes], data: st.DataObject
) -> None:
    path = write(tmp_path_factory.mktemp("itch"), 1, messages * (1 + 2 * STRIDE // len(messages)))
    file = LogFile(path, 1)
    while file.extend():
        pass
    wanted = data.draw(st.integers(1, file.next_sequence - 1))
    packets, count, _ = file.packets(file.offset_of(wanted), file.end_bytes)
    received = soupbintcp.Splitter().feed(packets)
    file.close()
    assert count == len(received) == file.next_sequence - wanted
    assert received[0] == (soupbintcp.SEQUENCED, messages[(wanted - 1) % len(messages)])


def test_a_message_counts_only_when_it_is_complete(tmp_path: Path) -> None:
    path = write(tmp_path, 1, [b"first"])
    log = indexed(tmp_path)
    assert log.current is not None
    with path.open("ab") as file:
        file.write(b"\x00\x06sec")
        file.flush()
        log.extend()
        assert log.current.next_sequence == 2
        file.write(b"ond")
    log.extend()
    assert log.current.next_sequence == 3
    log.close()


def test_a_session_goes_on_in_the_next_file_and_forgets_a_deleted_one(tmp_path: Path) -> None:
    oldest = write(tmp_path, 1, [b"a", b"b"])
    log = indexed(tmp_path)
    write(tmp_path, 3, [b"c"])
    log.refresh()
    log.extend()
    session = log.session("")
    assert session is not None
    assert (session.first_sequence, session.next_sequence) == (1, 4)
    oldest.unlink()
    log.refresh()
    session = log.session(SESSION)
    assert session is not None
    assert (session.first_sequence, session.next_sequence) == (3, 4)
    assert session.file_of(2) is None
    log.close()


def test_the_current_session_is_the_latest_and_older_ones_stay_available(tmp_path: Path) -> None:
    write(tmp_path, 1, [b"new"], "2026112400")
    write(tmp_path, 1, [b"old"], "2026112300")
    (tmp_path / "notes.txt").write_text("no log")
    log = indexed(tmp_path)
    assert log.current is log.session("2026112400")
    assert log.session("2026112300") is not None
    assert log.session("2026112200") is None
    log.close()


def test_a_file_that_is_deleted_as_it_is_found_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 1, [b"one"])
    (tmp_path / f"{SESSION}-{2:020}.itch").symlink_to(tmp_path / "deleted")
    log = indexed(tmp_path)
    assert log.current is not None
    assert log.current.next_sequence == 2
    log.close()
