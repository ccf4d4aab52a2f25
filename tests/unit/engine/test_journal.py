"""The journal, its snapshots and its tools.

A replay of the journal gives the same state as the engine had. Some tests damage the journal first.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trading_engine.__main__ import main
from trading_engine.machine import inputs
from trading_engine.machine.core import Core
from trading_engine.machine.inputs import apply_record
from trading_engine.machine.version import MACHINE_VERSION, ROOMS
from trading_engine.process import tools
from trading_engine.storage import journal, snapshot
from trading_engine.storage.journal import JournalError, Writer
from trading_engine.storage.outbox import Outbox
from trading_engine.storage.recovery import PROGRESS_RECORDS, Recovered, make_snapshot, recover
from trading_engine.storage.snapshot import SnapshotError, SnapshotHead
from trading_engine.storage.snapshotter import prune
from trading_engine.wire import itch, ouch, soupbintcp

from tests.unit.engine.flow import reads, seeded
from tests.unit.engine.market import Market, settings_of
from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT

SEGMENT_BYTES = 1 << 16
DAY = "2026010500"

PAR = 1_000_000


class Recorder:
    """A core and a journal. The core's inputs are written to the journal as in the engine.

    There is no event loop.
    """

    def __init__(self, directory: Path, segment: int = 1, records: int = 0) -> None:
        self.directory = directory
        self.core = Core()
        self.writer = Writer(directory, SEGMENT_BYTES, MACHINE_VERSION, segment, records)
        self.time_ns = 1_000

    def start(self) -> None:
        self.record(inputs.CONFIGURE, 0, json.dumps(settings_of(("TEST", "OTHER"))).encode())
        self.record(inputs.START_DAY, 0, DAY.encode())

    def record(self, kind: int, account: int, payload: bytes) -> None:
        self.time_ns += 7_000_000
        apply_record(self.core, inputs.Record(kind, 0, self.time_ns, account, payload))
        self.writer.append(kind, account, self.time_ns, payload)
        self.core.discard_outputs()

    def run(self, seed: int, count: int) -> None:
        for account, data in reads(seed, count):
            self.record(inputs.READ, account, data)
            if self.core.expiries.is_due(self.time_ns):
                self.record(inputs.EXPIRE, 0, b"")


def recovered(directory: Path) -> tuple[Core, Recovered]:
    core = Core()
    outbox = Outbox(core, directory / "replies", 1 << 20, directory / "itch", 1 << 20)
    for name in ("replies", "itch"):
        (directory / name).mkdir(exist_ok=True)
    found = recover(core, outbox, directory, MACHINE_VERSION)
    outbox.close()
    return core, found


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    recorder = Recorder(tmp_path)
    recorder.start()
    return recorder


def test_replay_gives_the_state_again_over_several_segments(recorder: Recorder) -> None:
    recorder.run(1, 1200)
    recorder.writer.close()
    assert len(journal.segments(recorder.directory)) > 2
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == snapshot.digest(recorder.core)
    assert (found.records, found.segment) == (recorder.writer.records, recorder.writer.segment + 1)
    assert found.last_time_ns == recorder.time_ns


@pytest.fixture
def disk_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that records each later call of rename and fsync, with the file's name. The calls still happen."""
    calls: list[str] = []
    rename, fsync = os.rename, os.fsync

    def noted_rename(source: Path, target: Path) -> None:
        rename(source, target)
        calls.append(f"rename {target.name}")

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")

    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(os, "fsync", noted_fsync)
    return calls


def test_a_synced_journal_has_its_segments_names_on_the_disk(tmp_path: Path, disk_calls: list[str]) -> None:
    recorder = Recorder(tmp_path)
    assert disk_calls[-1] == "rename 000000000001.journal"
    recorder.writer.sync()
    assert disk_calls[-1] == f"fsync {tmp_path.name}"
    recorder.start()
    del disk_calls[:]
    recorder.writer.sync()
    assert disk_calls == []
    recorder.run(1, 1200)
    assert "rename 000000000002.journal" in disk_calls
    recorder.writer.sync()
    assert disk_calls[-1] == f"fsync {tmp_path.name}"
    recorder.writer.close()


def test_a_snapshot_is_on_the_disk_under_its_name(recorder: Recorder, disk_calls: list[str]) -> None:
    recorder.run(1, 1200)
    recorder.writer.close()
    del disk_calls[:]
    path = make_snapshot(recorder.directory, MACHINE_VERSION)
    assert path is not None
    assert disk_calls[-3:] == [f"fsync {path.stem}.part", f"rename {path.name}", f"fsync {recorder.directory.name}"]


def test_an_unsealed_segment_is_read_up_to_its_last_record_and_cut_there(recorder: Recorder) -> None:
    recorder.run(2, 50)
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == snapshot.digest(recorder.core)
    assert found.remarks == []
    data = recorder.writer.path.read_bytes()
    assert data == data.rstrip(b"\0")
    recorder.writer.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_torn_last_record_is_cut_and_reported(recorder: Recorder, seed: int) -> None:
    recorder.run(seed, 60)
    before = snapshot.digest(recorder.core)
    records = recorder.writer.records
    start = journal.end_of(recorder.writer.path)
    account, data = reads(seed + 100, 1)[0]
    recorder.record(inputs.READ, account, data)
    whole = recorder.writer.path.read_bytes().rstrip(b"\0")
    cut = seeded(seed).randrange(start + 1, len(whole))
    with open(recorder.writer.path, "r+b") as file:
        file.seek(cut)
        file.write(bytes(len(whole) - cut))
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == before
    assert found.records == records
    assert f"unfinished record at offset {start} were cut" in found.remarks[0]
    _, again = recovered(recorder.directory)
    assert again.remarks == []
    recorder.writer.close()


@pytest.mark.parametrize("size", [0, 10, SEGMENT_BYTES])
def test_a_last_segment_whose_header_was_lost_does_no_harm_to_later_starts(recorder: Recorder, size: int) -> None:
    recorder.run(3, 50)
    recorder.writer.close()
    last = journal.segment_path(recorder.directory, recorder.writer.segment + 1)
    last.write_bytes(bytes(size))
    _, found = recovered(recorder.directory)
    assert found.remarks == [f"{last.name}: deleted, nothing was written to it yet"]
    assert (found.segment, found.records) == (int(last.stem), recorder.writer.records)
    Writer(recorder.directory, SEGMENT_BYTES, MACHINE_VERSION, found.segment, found.records).close()
    core, again = recovered(recorder.directory)
    assert (again.segment, again.remarks) == (found.segment + 1, [])
    assert snapshot.digest(core) == snapshot.digest(recorder.core)


def test_a_file_that_goes_while_the_directory_is_looked_at_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir
    (tmp_path / "kept").write_bytes(bytes(7))
    (tmp_path / "gone").write_bytes(bytes(5))
    (tmp_path / "replies").mkdir()
    assert journal.used_bytes(tmp_path) == 12

    def and_one_goes(directory: Path) -> list[Path]:
        paths = list(listed(directory))
        (tmp_path / "gone").unlink()
        return paths

    monkeypatch.setattr(Path, "iterdir", and_one_goes)
    assert journal.used_bytes(tmp_path) == 7
    with pytest.raises(FileNotFoundError, match="nowhere"):
        journal.used_bytes(tmp_path / "nowhere")


@pytest.mark.parametrize("seed", range(10))
def test_a_flipped_byte_in_the_middle_refuses_with_file_and_offset(recorder: Recorder, seed: int) -> None:
    recorder.run(seed, 100)
    recorder.writer.close()
    path = recorder.writer.path
    data = bytearray(path.read_bytes())
    offsets = list(itertools.accumulate(
        (journal.RECORD.size + len(record.payload) for record in journal.read_segment(path, last=True)),
        initial=journal.HEADER.size,
    ))  # fmt: skip
    at = seeded(seed).randrange(journal.HEADER.size, offsets[-2])
    data[at] ^= 1 << seed % 8
    path.write_bytes(data)
    damaged = max(offset for offset in offsets if offset <= at)
    with pytest.raises(JournalError, match=f"{path}, offset {damaged}: damaged record"):
        recovered(recorder.directory)


def test_an_unfinished_record_in_a_sealed_segment_is_damage(recorder: Recorder) -> None:
    recorder.run(1, 1200)
    recorder.writer.close()
    first = journal.segments(recorder.directory)[0]
    with open(first, "r+b") as file:
        file.truncate(first.stat().st_size - 3)
    with pytest.raises(JournalError, match=str(first)):
        recovered(recorder.directory)


def test_a_missing_segment_is_named(recorder: Recorder) -> None:
    recorder.run(1, 1200)
    recorder.writer.close()
    journal.segments(recorder.directory)[1].unlink()
    with pytest.raises(JournalError, match=r"000000000002.journal is missing"):
        recovered(recorder.directory)


def test_segments_of_another_version_are_not_replayed(recorder: Recorder) -> None:
    recorder.run(1, 10)
    recorder.writer.close()
    with pytest.raises(JournalError, match="written by engine version"):
        list(journal.read_segment(recorder.writer.path, last=True, version="other"))


def test_an_engine_whose_machine_has_changed_says_what_to_do(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.writer = Writer(tmp_path, SEGMENT_BYTES, MACHINE_VERSION.replace("+", "+0"), 1, 0)
    recorder.start()
    recorder.writer.close()
    for refused in (recovered, tools.check_journal):
        with pytest.raises(JournalError, match=r"\+0.* once .* stop it cleanly .* then start this one"):
            refused(tmp_path)


def test_whether_a_version_can_go_on_is_told_without_a_change(recorder: Recorder) -> None:
    recorder.run(1, 10)
    recorder.writer.sync()
    before = {path: path.read_bytes() for path in recorder.directory.iterdir()}
    assert main(["check-journal", str(recorder.directory)]) == 0
    assert {path: path.read_bytes() for path in recorder.directory.iterdir()} == before


def test_the_machines_version_covers_all_that_the_machine_imports() -> None:
    code = (
        "import sys, trading_engine.machine.core; print(*(n for n in sys.modules if n.startswith('trading_engine.')))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    names = [name.split(".") for name in result.stdout.split()]
    assert ["trading_engine", "machine", "core"] in names
    assert {name[1] for name in names} == set(ROOMS)


def test_a_full_disk_is_an_error_and_not_a_shorter_journal(recorder: Recorder) -> None:
    recorder.writer.close()
    full = os.open("/dev/full", os.O_WRONLY)
    recorder.writer._descriptor = full  # the kernel refuses every write to /dev/full
    with pytest.raises(OSError, match="No space left"):
        recorder.writer.append(inputs.READ, 0, 1, b"x")
    os.close(full)


# -- snapshots ------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_loaded_snapshot_goes_on_exactly_as_the_original(seed: int) -> None:
    settings = settings_of(("TEST", "OTHER"), max_open_orders=300, max_exposure=10**7, duplicate_orders=5)
    settings["accounts"]["B"]["tokens"] = "increasing"
    first = Market(settings)
    for account, data in reads(seed, 150):
        first.core.apply(account, data, first.time_ns)
    first.core.discard_outputs()
    second = Core()
    snapshot.load(second, snapshot.dump(first.core))
    assert snapshot.dump(second) == snapshot.dump(first.core)
    said = []
    for core in (first.core, second):
        core.expire(5_000_000_000)
        for account, data in reads(seed + 1000, 150):
            core.apply(account, data, 6_000_000_000)
        said.append(b"".join(b"".join(account.out) for account in core.by_number) + b"".join(core.feed))
    assert said[0] == said[1]
    assert snapshot.digest(first.core) == snapshot.digest(second)


def goes_on_from_its_snapshot(market: Market, *messages: tuple[Any, ...]) -> list[Any]:
    """Send the messages to the core, and to a second core that has loaded the first core's snapshot.

    Check that both give the same bytes. Return the replies to account A and the market data.
    """
    market.core.discard_outputs()
    market.take()
    second = Core()
    snapshot.load(second, snapshot.dump(market.core))
    assert snapshot.digest(second) == snapshot.digest(market.core)
    said = []
    for core in (market.core, second):
        data = b"".join(soupbintcp.unsequenced(ouch.INBOUND.encode(message)) for message in messages)
        core.apply(0, data, 1_000_000)
        said.append((b"".join(core.by_number[0].out), b"".join(core.feed)))
    assert said[0] == said[1]
    assert snapshot.digest(second) == snapshot.digest(market.core)
    market.drain()
    return market.replies["A"] + market.feed


def test_a_snapshot_keeps_the_mpid_under_which_an_order_came() -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, display="A", token="one")
    market.enter("A", "B", 100, PAR, display="N", firm="FIRM", token="two")
    market.core.configure(settings_of(mpids=["OTHR", "FIRM"]), market.time_ns)
    said = goes_on_from_its_snapshot(
        market,
        ouch.ReplaceOrder("two", "three", 100, PAR, display="A"),
        ouch.ReplaceOrder("one", "four", 100, PAR, display="N"),
        ouch.EnterOrder("five", "B", 100, "TEST", PAR, display="A"),
    )
    assert [type(message).__name__ for message in said[:3]] == ["Replaced", "Canceled", "Accepted"]
    assert [message.attribution for message in said if isinstance(message, itch.AddOrderAttributed)] == ["FIRM", "OTHR"]


@pytest.mark.parametrize("tokens", [("increasing",), ("increasing", "any"), ("increasing", "any", "increasing")])
def test_a_snapshot_keeps_which_tokens_are_used_after_their_rule_was_changed(tokens: tuple[str, ...]) -> None:
    market = Market()
    market.enter("A", "B", 100, PAR, token="two")
    market.enter("A", "B", 100, PAR, token="three", time_in_force_s=ouch.TIF_IOC)
    for rule in tokens:
        market.core.configure(settings_of(tokens=rule), market.time_ns)
    said = goes_on_from_its_snapshot(
        market,
        ouch.EnterOrder("two", "B", 100, "TEST", PAR),
        ouch.EnterOrder("two1", "B", 100, "TEST", PAR),
        ouch.CancelOrder("two", 0),
        ouch.CancelOrder("two1", 0),
    )
    assert [message.token for message in said if isinstance(message, ouch.Canceled)] == ["two", "two1"]
    market.core.end_day(market.time_ns)
    assert market.core.open_orders == 0


def test_a_snapshot_from_before_there_were_firms_and_ticks_is_taken() -> None:
    settings = settings_of()
    for account in settings["accounts"].values():
        del account["firm"], account["mpids"], account["self_match_within"]
    for symbol in settings["symbols"]:
        del symbol["tick_e4"], symbol["lot_shares"]
    market = Market(settings)
    market.enter("A", "B", 100, PAR, display="A", token="one")
    market.enter("A", "B", 100, PAR, display="A", firm="GSCO", token="two")
    old = json.loads((data := snapshot.dump(market.core))[8 : 8 + int.from_bytes(data[:8], "big")])
    for book in old["books"]:
        del book["tick_e4"], book["lot_shares"]
    text = json.dumps(old).encode()
    market.core = Core()
    snapshot.load(market.core, len(text).to_bytes(8, "big") + text + data[8 + int.from_bytes(data[:8], "big") :])
    market.core.configure(settings_of(), market.time_ns)
    said = goes_on_from_its_snapshot(
        market,
        ouch.ReplaceOrder("one", "three", 100, PAR, display="A"),
        ouch.ReplaceOrder("two", "four", 100, PAR, display="A"),
    )
    assert [getattr(message, "firm", "") for message in said[:2]] == ["HOUS", ""]
    assert type(said[1]) is ouch.Canceled


def test_a_snapshot_and_the_tail_give_the_same_state_as_everything(recorder: Recorder) -> None:
    recorder.run(3, 1200)
    recorder.writer.close()
    whole = snapshot.digest(recorder.core)
    path = make_snapshot(recorder.directory, MACHINE_VERSION)
    assert path is not None
    assert path.stem == journal.segments(recorder.directory)[-1].stem
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == whole
    assert found.replayed < found.records


def test_a_damaged_snapshot_is_left_out_and_said_so(recorder: Recorder) -> None:
    recorder.run(3, 1200)
    recorder.writer.close()
    path = make_snapshot(recorder.directory, MACHINE_VERSION)
    assert path is not None
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(SnapshotError, match="damaged"):
        snapshot.read(path, None)
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == snapshot.digest(recorder.core)
    assert "damaged" in found.remarks[0]


def test_another_version_goes_on_from_a_snapshot_without_replay(recorder: Recorder) -> None:
    recorder.run(3, 100)
    recorder.writer.close()
    head = SnapshotHead("0.0.1", recorder.writer.segment + 1, recorder.writer.records, recorder.time_ns)
    snapshot.write(recorder.directory, recorder.core, head)
    core, found = recovered(recorder.directory)
    assert snapshot.digest(core) == snapshot.digest(recorder.core)
    assert (found.replayed, found.segment, found.records) == (0, head.segment, head.records)


def test_pruning_keeps_what_the_two_newest_snapshots_need(recorder: Recorder) -> None:
    for seed in range(3):
        recorder.run(seed, 800)
        assert make_snapshot(recorder.directory, MACHINE_VERSION) is not None
    recorder.writer.close()
    assert prune(recorder.directory, 1 << 40) > 0
    kept = snapshot.files(recorder.directory)
    assert len(kept) == 2
    assert journal.segments(recorder.directory)[0].stem == kept[0].stem
    kept[1].write_bytes(b"damaged")
    core, _ = recovered(recorder.directory)
    assert snapshot.digest(core) == snapshot.digest(recorder.core)


# -- tools ------------------------------------------------------------


def test_verify_names_every_file_and_the_first_damage(recorder: Recorder) -> None:
    recorder.run(3, 1200)
    recorder.writer.close()
    make_snapshot(recorder.directory, MACHINE_VERSION)
    lines = list(tools.verify(recorder.directory))
    assert len(lines) == 1 + len(journal.segments(recorder.directory))
    assert lines[-1].endswith(f"to {recorder.writer.records}")
    path = journal.segments(recorder.directory)[1]
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalError, match=str(path)):
        list(tools.verify(recorder.directory))


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_replay_gives_the_same_bytes_whatever_the_hash_seed(recorder: Recorder, hash_seed: str) -> None:
    recorder.run(4, 600)
    recorder.writer.close()
    code = (
        "import json, sys; from pathlib import Path; from trading_engine.process import tools;"
        "print(json.dumps(tools.replay(Path(sys.argv[1]))['sha256']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(recorder.directory)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert json.loads(result.stdout) == tools.replay(recorder.directory)["sha256"]
    assert json.loads(result.stdout)["state"] == snapshot.digest(recorder.core)


def test_a_record_of_an_unknown_kind_is_named_by_its_number(recorder: Recorder) -> None:
    recorder.writer.append(99, 0, 1, b"")
    recorder.writer.close()
    with pytest.raises(JournalError, match=r"record 3: unknown kind 99"):
        recovered(recorder.directory)


def test_a_long_recovery_tells_how_far_it_is(recorder: Recorder, tmp_path: Path) -> None:
    for _ in range(2 * PROGRESS_RECORDS):
        recorder.record(inputs.ACCEPTING, 0, b"\x01")
    recorder.writer.sync()
    core = Core()
    told: list[int] = []
    outbox = Outbox(core, tmp_path / "replies", 1 << 20, tmp_path / "itch", 1 << 20)
    for name in ("replies", "itch"):
        (tmp_path / name).mkdir()
    recover(core, outbox, recorder.directory, MACHINE_VERSION, told.append)
    outbox.close()
    assert told[:3] == [0, PROGRESS_RECORDS, 2 * PROGRESS_RECORDS]
