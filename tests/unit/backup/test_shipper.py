"""The shipper is the program that sends the journal to the bucket. The tests check which objects it sends.

They check this normally, after the bucket was unreachable, and after a restore.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws import journal_bucket
from botocore.exceptions import ClientError
from trading_backup import names
from trading_backup.__main__ import main
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.storage import journal
from trading_engine.storage.recovery import make_snapshot

from tests.unit.backup.conftest import BUCKET, RPO_S, Host


def test_what_was_appended_goes_as_an_object_of_its_own_and_an_idle_host_uploads_nothing(host: Host) -> None:
    host.look()
    assert host.names()[0] == "complete"
    before = host.objects()
    for _ in range(5):
        assert host.look().backlog_bytes == 0
    assert host.objects() == before
    host.recorder.run(1, 20)
    host.look(5)
    assert host.objects() == before  # the next object is not due yet
    end = host.written()
    status = host.look(RPO_S / 2)
    (new,) = set(host.objects()) - set(before)
    assert new.rpartition("-")[2].startswith(f"{end:012d}.")
    assert (status.backlog_bytes, status.oldest_unsent_seconds) == (0, 0)


def test_nothing_waits_longer_than_promised(host: Host) -> None:
    host.look()
    for seed in range(30):
        host.recorder.run(seed, 3)
        assert host.look(5).oldest_unsent_seconds < RPO_S / 2


def test_a_sealed_segment_is_whole_in_the_bucket_with_its_end(host: Host) -> None:
    host.look()
    host.recorder.run(2, 1000)
    assert host.recorder.writer.segment > 2
    host.look(1)
    sealed = [name for name in host.names() if "sealed" in name]
    sizes = [os.stat(journal.segment_path(host.journal, number)).st_size for number in range(1, len(sealed) + 1)]
    assert [int(name.rpartition("-")[2]) for name in sealed] == sizes
    assert len(sealed) == host.recorder.writer.segment - 1


def test_the_newest_snapshot_goes_and_a_new_series_begins_a_little_before_it(host: Host) -> None:
    host.look()
    host.recorder.run(3, 1000)
    snapshot = make_snapshot(host.journal, MACHINE_VERSION)
    assert snapshot
    host.look()
    assert f"snapshot/{snapshot.stem}" in host.names()
    before = set(host.objects())
    host.look(90_000)
    new = {key.split("/", 4)[4].split(".")[0] for key in set(host.objects()) - before}
    end = host.written()
    first = f"journal/{host.recorder.writer.segment:012d}/{0:012d}-{end:012d}"
    assert {"complete", f"snapshot/{snapshot.stem}", first} <= new
    assert any(name.startswith(f"journal/{1:012d}/") for name in new)
    assert len({key.split("/")[3] for key in host.objects()}) == 2


def test_a_new_series_begins_with_its_snapshot_where_what_was_before_is_long(host: Host) -> None:
    host.look()
    host.recorder.run(3, 2000)
    snapshot = make_snapshot(host.journal, MACHINE_VERSION)
    assert snapshot
    assert int(snapshot.stem) > names.MOST_PROVING + 1
    before = set(host.objects())
    host.look(90_000)
    (series,) = {key.split("/")[3] for key in set(host.objects()) - before} - {key.split("/")[3] for key in before}
    found = {key.split("/", 4)[4].split("/")[1] for key in host.objects() if f"/{series}/journal/" in key}
    assert min(found) == snapshot.stem
    assert names.MOST_PROVING == journal_bucket.MOST_PROVING


def test_a_changed_configuration_goes_once_and_the_one_before_stays(host: Host) -> None:
    host.look()
    (host.etc / "engine.toml").write_text("# changed\n")
    host.look()
    host.look()
    contents = [host.body(key) for key in host.objects() if key.endswith("engine.toml")]
    assert contents == [b"# the engine's\n", b"# changed\n"]


def test_a_new_series_has_each_file_again(host: Host) -> None:
    """The shipper begins a new series, a new complete copy in the bucket. It contains every file again.

    A rebuild after a rollback needs the wheels of an older release, so the series contains these wheels too.
    """
    for release in ("a", "b"):
        (host.etc / f"{release}.toml").write_text(release)
    for seconds in (0, 90_000):
        host.look(seconds)
    ends = sorted(["a.toml", "b.toml", "engine.toml"] * 2)
    assert sorted(key.rpartition("/")[2] for key in host.objects() if "/file/" in key) == ends


def test_a_shipper_that_was_restarted_goes_on_where_it_was(host: Host) -> None:
    host.look()
    host.recorder.run(4, 50)
    host.look()
    before = host.objects()
    host.restarted()
    host.look()
    assert host.objects() == before
    host.recorder.run(5, 50)
    host.look()
    assert len(host.objects()) == len(before) + 1
    assert len({key.split("/")[3] for key in host.objects()}) == 1


def test_an_object_that_was_put_before_a_crash_is_no_error(host: Host, tmp_path: Path) -> None:
    host.look()
    state = (tmp_path / "sent.json").read_text()
    host.recorder.run(6, 50)
    host.look()
    before = host.objects()
    (tmp_path / "sent.json").write_text(state)  # it died before it recorded what it had put
    host.restarted()
    status = host.look()
    assert (status.error, status.backlog_bytes) == ("", 0)
    assert host.objects() == before


def test_while_the_bucket_is_away_the_backlog_grows_and_then_all_of_it_goes(host: Host) -> None:
    host.look()
    waiting = []
    with host.server.away():
        for seed in range(3):
            host.recorder.run(seed, 500)
            status = host.look()
            waiting.append(status.backlog_bytes)
        assert waiting == sorted(set(waiting))
        assert status.oldest_unsent_seconds == 3 * RPO_S
        assert "could not connect" in status.error.lower()
    host.s3.create_bucket(Bucket=BUCKET)
    status = host.look(120)
    assert (status.backlog_bytes, status.oldest_unsent_seconds, status.error) == (0, 0, "")


def test_a_host_that_never_reached_the_bucket_tells_how_long_it_has_tried(host: Host) -> None:
    with host.server.away():
        host.look()
        status = host.look()
    assert status.backlog_bytes > 0
    assert status.oldest_unsent_seconds == RPO_S
    assert "who this host is" in status.error


def test_after_a_failure_it_waits_before_it_tries_again(host: Host) -> None:
    host.look()
    for key in host.objects():
        host.s3.delete_object(Bucket=BUCKET, Key=key)
    host.s3.delete_bucket(Bucket=BUCKET)
    host.recorder.run(7, 10)
    assert "NoSuchBucket" in host.look().error
    host.s3.create_bucket(Bucket=BUCKET)
    assert host.look(0.5).error  # during the pause
    assert host.look(5).error == ""


def test_a_segment_that_was_deleted_before_it_was_sent_is_counted_and_a_new_series_begins(host: Host) -> None:
    host.look()
    with host.server.away():
        host.recorder.run(8, 1000)
        assert host.look().error
        assert make_snapshot(host.journal, MACHINE_VERSION)
        for number in (1, 2):
            journal.segment_path(host.journal, number).unlink()
    status = host.look(120)
    assert status.lost_segments == 2
    assert status.oldest_unsent_seconds >= RPO_S  # a loss counts as unsent for an hour
    assert (status.error, status.backlog_bytes) == ("", 0)
    assert len({key.split("/")[3] for key in host.objects()}) == 2
    assert host.look(3600).oldest_unsent_seconds == 0
    assert host.restarted().look(host.now_s + 1).lost_segments == 2


def test_a_segment_that_only_proves_the_newest_snapshot_is_no_loss(host: Host) -> None:
    for seed in (8, 9):
        host.recorder.run(seed, 800)
        assert make_snapshot(host.journal, MACHINE_VERSION)
    host.look()
    newest = int(max(host.journal.glob("*.snapshot")).stem)
    with host.server.away():
        assert host.look(90_000).error  # a new series begins before the newest snapshot
        for path in host.journal.glob("*.journal"):
            if int(path.stem) < newest:
                path.unlink()
    status = host.look(120)
    assert (status.error, status.lost_segments, status.oldest_unsent_seconds) == ("", 0, 0)
    assert f"snapshot/{newest:012d}" in host.names()[-1]


def test_a_segment_that_is_not_what_was_sent_of_it_begins_a_new_series(host: Host) -> None:
    """When a segment differs from what was sent of it, the shipper begins a new series, a new complete copy.

    After a power failure, the host's disk can lack a part of the journal that was already sent.
    """
    host.look()
    path = host.recorder.writer.path
    os.truncate(path, 100)
    host.recorder.run(9, 1000)
    host.look()
    assert host.shipper.look(host.now_s).error == ""
    assert len({key.split("/")[3] for key in host.objects()}) == 2


def test_another_journal_in_its_place_begins_a_new_series(host: Host) -> None:
    host.recorder.run(10, 1000)
    host.look()
    for path in [*host.journal.glob("*.journal"), *host.journal.glob("*.snapshot")]:
        if int(path.stem) > 1:
            path.unlink()
    host.look()
    assert len({key.split("/")[3] for key in host.objects()}) == 2
    assert host.look().lost_segments == 0


@pytest.mark.parametrize("away", ["empty", "not there"])
def test_a_journal_that_is_away_is_no_shipped_journal(host: Host, away: str) -> None:
    """When the journal is missing, the shipper does not report the journal as sent.

    The directory is empty when the journal's volume is not mounted. At a wrong path there is no directory.
    """
    host.look()
    host.journal.rename(host.journal.with_name("elsewhere"))
    if away == "empty":
        host.journal.mkdir()
    host.look(90_000)  # also when a new series is due
    status = host.look()
    assert str(host.journal) in status.error
    assert status.oldest_unsent_seconds == RPO_S
    assert len({key.split("/")[3] for key in host.objects()}) == 1
    if away == "empty":
        host.journal.rmdir()
    host.journal.with_name("elsewhere").rename(host.journal)
    status = host.look()
    assert (status.error, status.oldest_unsent_seconds) == ("", 0)


def test_a_file_that_cannot_be_read_keeps_nothing_else_from_the_bucket(host: Host) -> None:
    file = host.etc / "accounts.toml"
    file.mkdir()  # a directory, because root can read any file
    host.look()
    (host.etc / "limits.toml").write_text("# later\n")
    status = host.look()
    assert f"cannot read {file}: Is a directory" in status.error
    assert status.oldest_unsent_seconds == RPO_S
    assert [key.rpartition("/")[2] for key in host.objects() if "/file/" in key] == ["engine.toml", "limits.toml"]
    assert "complete" in host.names()
    host.recorder.run(11, 20)
    assert host.look(RPO_S / 2).backlog_bytes == 0  # the journal is sent nevertheless
    file.rmdir()
    status = host.look(5)
    assert (status.error, status.oldest_unsent_seconds) == ("", 0)


def test_a_record_of_the_same_tick_of_the_file_system_is_seen(host: Host) -> None:
    host.look()
    path = host.recorder.writer.path

    def written_now() -> None:
        os.utime(path, (host.now_s, host.now_s))

    host.recorder.run(12, 5)
    host.now_s += RPO_S
    written_now()
    host.look(0)
    host.recorder.run(13, 5)
    written_now()
    assert host.look(5).backlog_bytes > 0
    assert host.look().backlog_bytes == 0


def test_what_is_there_is_never_overwritten(host: Host) -> None:
    host.look()
    key = next(key for key in host.objects() if "/journal/" in key)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        host.s3.put_object(Bucket=BUCKET, Key=key, Body=b"other", IfNoneMatch="*")


def test_each_object_carries_its_checksum_by_which_s3_refuses_what_was_damaged_on_its_way(host: Host) -> None:
    host.look()
    for key in host.objects():
        known = host.s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")["ChecksumSHA256"]
        assert known == base64.b64encode(hashlib.sha256(host.body(key)).digest()).decode()


def test_the_service_ships_until_it_is_told_to_end(host: Host, tmp_path: Path) -> None:
    text = host.file.read_text().replace("rpo_seconds = 60", "rpo_seconds = 2")
    host.file.write_text(text)
    command = [sys.executable, "-m", "trading_backup", "ship", str(host.file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            assert "begins at segment 1" in process.stderr.readline()
        finally:
            process.terminate()
        assert process.wait(20) == 0
    assert not (tmp_path / "status.json").exists()
    assert json.loads((tmp_path / "sent.json").read_text())["segment"] == 1
    assert "complete" in host.names()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rpo_seconds = 1\n", "rpo_seconds must be a whole number from 2"),
        ("buckt = 1\n", "unknown key 'buckt'; did you mean bucket?"),
        ('files = ["etc"]\n', "files must be a list of absolute paths"),
    ],
)
def test_a_wrong_configuration_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    file = tmp_path / "backup.toml"
    file.write_text('[backup]\nbucket = "b"\nhost = "h"\nregion = "us-east-1"\n' + change)
    assert main(["check-config", str(file)]) == 2
    assert said in capsys.readouterr().err
