"""The check of a journal replays the journal up to the newest snapshot, and compares the result with the snapshot.

It reports that the two states are equal or that they differ. When they cannot be compared, it reports why.
"""

from __future__ import annotations

import signal
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from trading_engine.__main__ import main
from trading_engine.machine.book import orders_of
from trading_engine.machine.core import Core
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process.statecheck import check_state
from trading_engine.storage import journal, snapshot
from trading_engine.storage.journal import JournalError
from trading_engine.storage.recovery import make_snapshot
from trading_engine.storage.snapshot import SnapshotError

from tests.unit.engine.process import Client, EngineProcess
from tests.unit.engine.test_journal import Recorder
from tests.unit.engine.test_process import enter


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """Return the directory of a journal with two snapshots. More records follow after each of them."""
    recorder = Recorder(tmp_path)
    recorder.start()
    for seed in range(2):
        recorder.run(seed, 800)
        assert make_snapshot(tmp_path, MACHINE_VERSION)
    recorder.run(2, 50)
    recorder.writer.close()
    return tmp_path


def test_the_newest_snapshot_is_proved_from_the_one_before_or_from_the_first_record(twice: Path) -> None:
    older, newest = snapshot.files(twice)
    before = {path: path.read_bytes() for path in twice.iterdir()}
    records = snapshot.read(newest, None).records - snapshot.read(older, None).records
    said = check_state(twice)
    assert f"{newest.name} is loaded to the byte (SHA-256 {snapshot.stored_digest(newest)}" in said
    assert said.endswith(f"the journal since {older.name} implies the same: {records} records replayed")
    assert {path: path.read_bytes() for path in twice.iterdir()} == before
    older.unlink()
    assert f"from its first record on implies the same: {snapshot.read(newest, None).records}" in check_state(twice)


def without_one_order(path: Path) -> None:
    """Remove one order from the snapshot. Then correct the snapshot's checksums."""
    core = Core()
    head = snapshot.read(path, core)
    book = next(book for book in core.books.values() if orders_of(book.bids))
    book.bids.remove(next(iter(orders_of(book.bids))))
    snapshot.write(path.parent, core, head)


def one_byte_of_a_record(path: Path) -> None:
    """Change one byte of an order's token in the journal between the snapshots. Correct the record's checksum."""
    data = bytearray(path.read_bytes())
    record = list(journal.read_segment(path, last=False))[-1]
    at = data.index(record.payload, len(data) - 2 * len(record.payload) - journal.RECORD.size) - journal.RECORD.size
    data[at + journal.RECORD.size + 5] ^= 1
    end = at + journal.RECORD.size + len(record.payload)
    data[at : at + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("change", [without_one_order, one_byte_of_a_record])
def test_a_planted_difference_is_refused_by_name(
    twice: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None]
) -> None:
    older, newest = snapshot.files(twice)
    of_journal = change is one_byte_of_a_record
    change(journal.segment_path(twice, int(newest.stem) - 1) if of_journal else newest)
    with pytest.raises(SnapshotError, match=f"{newest.name} is not what the journal since {older.name} implies"):
        check_state(twice)
    assert main(["check-journal", str(twice)]) == 0  # replays the records after the snapshot
    assert main(["check-state", str(twice)]) == 2
    assert str(newest) in capsys.readouterr().err


def no_snapshot(directory: Path) -> str:
    for path in snapshot.files(directory):
        path.unlink()
    return "not compared, because there is no snapshot"


def no_journal_before(directory: Path) -> str:
    older, newest = snapshot.files(directory)
    older.unlink()
    for path in journal.segments(directory):
        if path.stem < newest.stem:
            path.unlink()
    return "not compared with a replay, because the journal before it is not there"


def written_by_another_version(directory: Path) -> str:
    newest = snapshot.files(directory)[-1]
    core = Core()
    snapshot.write(directory, core, snapshot.read(newest, core)._replace(version="0.0.1"))
    return f"not compared, because {newest.name} was written by version 0.0.1"


def journaled_by_another_version(directory: Path) -> str:
    older = snapshot.files(directory)[0]
    segment = journal.segment_path(directory, int(older.stem))
    data = segment.read_bytes()
    segment.write_bytes(data.replace(MACHINE_VERSION.encode(), b"0.0.1".ljust(len(MACHINE_VERSION), b"\0"), 1))
    return f"not compared with a replay: {segment} was written by engine version 0.0.1"


@pytest.mark.parametrize(
    "change", [no_snapshot, no_journal_before, written_by_another_version, journaled_by_another_version]
)
def test_what_is_not_compared_is_said_with_its_reason(
    twice: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], str]
) -> None:
    expected = change(twice)
    assert main(["check-state", str(twice)]) == 0
    assert expected in capsys.readouterr().out


def test_a_gap_in_the_journal_between_is_damage(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.start()
    recorder.run(1, 1600)
    recorder.writer.close()
    assert make_snapshot(tmp_path, MACHINE_VERSION)
    journal.segments(tmp_path)[1].unlink()
    with pytest.raises(JournalError, match=r"000000000002.journal is missing"):
        check_state(tmp_path)


def test_a_damaged_snapshot_is_left_out_as_a_start_does(twice: Path) -> None:
    older, newest = snapshot.files(twice)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert f"{older.name} is loaded to the byte" in check_state(twice)


def test_a_snapshot_that_a_real_engine_left_is_what_its_journal_implies(tmp_path: Path) -> None:
    with EngineProcess(tmp_path) as engine:
        for kill in (True, False):
            client = Client(engine.port, sequence=0)
            client.send(*(enter(f"{kill}{number:03d}", "BS"[number % 2]) for number in range(50)))
            client.wait_for(50)
            client.close()
            engine.stop(signal.SIGKILL if kill else signal.SIGTERM)
            if kill:
                engine.start()
    said = check_state(tmp_path / "journal")
    assert "the journal from its first record on implies the same" in said
