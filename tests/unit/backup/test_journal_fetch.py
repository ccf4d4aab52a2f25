"""The module journal_fetch makes a journal's directory from the objects in the bucket.

The directory is equal to the host's directory. When an object is wrong, the module names it and makes nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from ansible_collections.lowlatency.trading.plugins.module_utils.aws.journal_bucket import BackupError, choose
from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import (
    LOCK,
    MANIFEST,
    ReleaseError,
    archived,
    release_name,
    render_manifest,
)
from ansible_collections.lowlatency.trading.plugins.modules.journal_fetch import IN_FORCE, JOURNAL, WHEELS
from trading_backup import names
from trading_engine.machine.version import MACHINE_VERSION
from trading_engine.process import tools
from trading_engine.process.statecheck import check_state
from trading_engine.storage.recovery import make_snapshot
from trading_engine.storage.snapshot import SnapshotError

from tests.unit.backup.conftest import BUCKET, NAME, Fetch, Host, RunModule
from tests.unit.engine.test_statecheck import without_one_order

ACCOUNTS = """
[accounts.BENCH]
password = "scrypt$1$bench"
test = true

[accounts.ANNA]
password = "scrypt$1$anna"
"""


@pytest.fixture
def shipped(host: Host) -> Host:
    """Return a host whose journal is in the bucket: complete segments, a snapshot, and an open segment."""
    host.look()
    host.recorder.run(1, 800)
    host.look()
    assert make_snapshot(host.journal, MACHINE_VERSION)
    host.recorder.run(2, 400)
    host.look()
    host.recorder.run(3, 50)
    host.look()
    return host


def unpacked(archive: Path) -> Path:
    folder = archive.with_name("unpacked")
    folder.mkdir()
    subprocess.run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], check=True)
    return folder


def put(host: Host, name: str, data: bytes) -> None:
    """Put one more object into the host's series.

    A series is a folder in the bucket with a whole copy of the host's state.
    """
    series = next(key for key in host.objects() if key.endswith("/complete")).rpartition("/")[0]
    host.s3.put_object(Bucket=BUCKET, Key=f"{series}/{name}", Body=data)


def test_the_assembled_directory_implies_the_same_state(shipped: Host, fetch: Fetch, tmp_path: Path) -> None:
    report = fetch()
    assert (report.get("msg"), report["changed"]) == (None, True)
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    assert tools.check_journal(journal) == shipped.recorder.writer.records
    assert "from its first record on implies the same" in check_state(journal)
    assert shipped.digest(journal) == shipped.digest()
    sealed = sorted(journal.glob("*.journal"))[:-1]
    assert sealed
    assert [path.read_bytes() for path in sealed] == [(shipped.journal / path.name).read_bytes() for path in sealed]


def test_a_new_series_has_what_proves_its_newest_snapshot(shipped: Host, fetch: Fetch, tmp_path: Path) -> None:
    shipped.recorder.run(4, 400)
    assert make_snapshot(shipped.journal, MACHINE_VERSION)
    for segment in shipped.journal.glob("*.journal"):
        if int(segment.stem) < int(min(shipped.journal.glob("*.snapshot")).stem):
            segment.unlink()  # the engine deletes older segments
    shipped.look(90_000)
    assert fetch().get("warnings", []) == []
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    older, _newest = sorted(path.name for path in shipped.journal.glob("*.snapshot"))
    assert f"the journal since {older} implies the same" in check_state(journal)
    assert shipped.digest(journal) == shipped.digest()


def test_a_state_that_somebody_changed_with_all_its_digests_is_seen_by_the_engine(
    shipped: Host, fetch: Fetch, tmp_path: Path
) -> None:
    (key,) = (key for key in shipped.objects() if "/snapshot/" in key)
    file = tmp_path / f"{key.rpartition('/')[2].partition('.')[0]}.snapshot"
    file.write_bytes(shipped.body(key))
    without_one_order(file)
    shipped.s3.delete_object(Bucket=BUCKET, Key=key)
    put(shipped, names.of_snapshot(int(file.stem), hashlib.sha256(file.read_bytes()).hexdigest()), file.read_bytes())
    assert fetch()["changed"]
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    with pytest.raises(SnapshotError, match=f"{file.name} is not what the journal from its first record on implies"):
        check_state(journal)


def test_what_only_the_comparison_needs_may_be_missing_and_is_named(
    shipped: Host, fetch: Fetch, tmp_path: Path
) -> None:
    key = next(key for key in shipped.objects() if f"journal/{1:012d}/sealed-" in key)
    shipped.s3.delete_object(Bucket=BUCKET, Key=key)
    warning = str(fetch()["warnings"])
    assert "not compared with a replay" in warning
    assert "segment 1: the object that ends it is missing" in warning
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    assert "not compared with a replay, because the journal before it is not there" in check_state(journal)
    assert tools.check_journal(journal) == shipped.recorder.writer.records


@pytest.mark.parametrize("kind", ["journal", "snapshot"])
def test_what_only_the_comparison_needs_may_be_changed_and_is_named(
    host: Host, fetch: Fetch, tmp_path: Path, kind: str
) -> None:
    host.look()
    for seed in (1, 2):
        host.recorder.run(seed, 400)
        assert make_snapshot(host.journal, MACHINE_VERSION)
        host.look()
    older, _newest = sorted(key for key in host.objects() if "/snapshot/" in key)
    between = f"/journal/{older.rpartition('/')[2].partition('.')[0]}/{0:012d}-"
    key = older if kind == "snapshot" else next(key for key in host.objects() if between in key)
    host.s3.put_object(Bucket=BUCKET, Key=key, Body=host.body(key)[:-1] + b"x")
    report = fetch()
    assert report["changed"], report["msg"]
    assert f"not compared with a replay: {key}: its content is not what its name says" in str(report["warnings"])
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    assert "not compared with a replay, because the journal before it is not there" in check_state(journal)
    assert host.digest(journal) == host.digest()


def test_many_segments_are_not_replayed_to_prove_a_snapshot(host: Host, fetch: Fetch) -> None:
    host.look()
    host.recorder.run(1, 2000)
    assert make_snapshot(host.journal, MACHINE_VERSION)
    host.look()
    warning = str(fetch()["warnings"])
    assert re.search(r"would replay \d+ segments, and 4 are the most", warning)


def test_without_a_snapshot_it_begins_with_the_first_segment(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    host.recorder.run(4, 50)
    host.look()
    assert fetch()["segments"] == 1
    assert host.digest(unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal") == host.digest()


def test_what_a_restarted_shipper_put_twice_does_no_harm(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    host.look()
    state = (tmp_path / "sent.json").read_text()
    host.recorder.run(5, 50)
    host.look()
    (tmp_path / "sent.json").write_text(state)
    host.recorder.run(6, 50)
    host.restarted()
    host.look()
    assert fetch()["changed"]
    assert host.digest(unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal") == host.digest()


def test_a_record_that_was_cut_in_two_is_dealt_with_by_recovery(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    host.recorder.run(7, 50)
    with host.recorder.writer.path.open("r+b") as segment:
        segment.truncate(host.written() - 5)
    host.look()
    assert fetch()["changed"]
    journal = unpacked(tmp_path / "archive.tar.gz") / "var/lib/trading/journal"
    assert tools.check_journal(journal) == host.recorder.writer.records - 1


def test_the_accounts_come_back_by_their_hashes_and_the_newest_configuration_counts(
    host: Host, fetch: Fetch, tmp_path: Path
) -> None:
    host.look()
    for changed_s, text in ((1.0, "old"), (3.0, ACCOUNTS), (2.0, "older")):
        digest = hashlib.sha256(text.encode()).hexdigest()
        put(host, names.of_file("/etc/trading/accounts.toml", changed_s, digest), text.encode())
    wheels = b"the release"
    put(host, names.of_file("/opt/trading/wheels/1.tar", 1.0, hashlib.sha256(wheels).hexdigest()), wheels)
    fetch()
    folder = unpacked(tmp_path / "archive.tar.gz")
    assert (folder / "etc/trading/accounts.toml").read_text() == ACCOUNTS
    secrets = folder / "etc/trading/secrets"
    assert {path.name: path.read_text() for path in secrets.iterdir()} == {"ANNA.hash": "scrypt$1$anna\n"}
    assert not (folder / "opt").exists()


def packed(release: str, wheels: dict[str, str]) -> bytes:
    """Return an archive like those of the module wheel_set. It has the list of wheels, but not the wheels."""
    return with_manifest(render_manifest(release, wheels).encode())


def put_file(host: Host, path: str, changed_s: float, data: bytes) -> None:
    put(host, names.of_file(path, changed_s, hashlib.sha256(data).hexdigest()), data)


def test_the_release_comes_back_that_was_in_force_last(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    host.look()
    wheels = {release: {f"engine-{n}.whl": str(n)} for n, release in enumerate(("a" * 16, "b" * 16))}
    old, new = wheels
    assert fetch(release_dir=str(tmp_path / "got"), replace=True)["release"] == ""  # the bucket has no release

    def installed(release: str) -> bytes:
        return json.dumps({"wheels": wheels[release], "compiled": True}).encode()

    for release, changed_s in ((old, 1.0), (new, 2.0)):
        put_file(host, f"/opt/trading/wheels/{release}.tar", changed_s, packed(release, wheels[release]))
        put_file(host, "/opt/trading/current/.complete", changed_s, installed(release))
    report = fetch(release_dir=str(tmp_path / "got"), replace=True)
    assert (report["release"], Path(report["release_archive"]).name) == (new, f"{new}.tar")
    assert (tmp_path / f"got/{new}.tar").read_bytes() == packed(new, wheels[new])

    put_file(host, "/opt/trading/current/.complete", 3.0, installed(old))  # a rollback to the old release
    assert fetch(release_dir=str(tmp_path / "got"), replace=True)["release"] == old
    assert fetch(replace=True)["release"] == ""  # without release_dir
    assert hashlib.sha256(packed(new, wheels[new])).hexdigest() == report["release_sha256"]

    put_file(host, "/opt/trading/current/.complete", 4.0, b'{"wheels": {"engine-3.whl": "3"}}')
    assert fetch(release_dir=str(tmp_path / "got"), replace=True)["release_archive"] == ""


def put_release(host: Host, release: str, *wheels: str) -> bytes:
    """Put a release into the bucket as the installed release. Return its archive."""
    digests = dict.fromkeys(wheels, "0" * 64)
    put_file(host, f"{WHEELS}{release}.tar", 1.0, packed(release, digests))
    put_file(host, IN_FORCE, 1.0, json.dumps({"wheels": digests}).encode())
    return packed(release, digests)


def test_an_archive_that_cannot_be_read_keeps_nobody_from_the_one_that_can(
    host: Host, fetch: Fetch, tmp_path: Path
) -> None:
    host.look()
    release = "c" * 16
    put_release(host, release, "engine-1.whl")
    put_file(host, f"{WHEELS}{'b' * 16}.tar", 5.0, b"no archive")
    asked = {"release_dir": str(tmp_path / "got"), "replace": True}
    report = fetch(**asked)
    assert report["release"] == release
    assert "no archive of a release's wheels" in str(report["warnings"])

    put_file(host, IN_FORCE, 2.0, b'{"wheels": {"engine-2.whl": "2"}}')
    refused = fetch(**asked)["msg"]
    assert f"{'b' * 16}.tar: this is no archive of a release's wheels" in refused
    assert "-e aws_backup_release=controller rebuilds with the controller's release" in refused


def with_manifest(manifest: bytes, mode: Literal["w", "w:gz"] = "w") -> bytes:
    """Return a tar archive that contains only this manifest. A manifest is the list of a release's wheels."""
    entry = tarfile.TarInfo(MANIFEST)
    entry.size = len(manifest)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        archive.addfile(entry, io.BytesIO(manifest))
    return buffer.getvalue()


def test_an_archive_that_wears_the_controller_out_is_none() -> None:
    manifest = render_manifest("c" * 16, {"engine.whl": "1"}).encode()
    assert archived(with_manifest(manifest))[0] == "c" * 16
    for wearing in (
        with_manifest(manifest, "w:gz"),
        with_manifest(manifest + b" " * (1 << 20)),
        with_manifest(b"[" * 100_000),
    ):
        with pytest.raises(ReleaseError, match="no archive of a release's wheels"):
            archived(wearing)


@pytest.mark.parametrize("name", [f"../{NAME}.tar.gz", f"{NAME}.tar.gz", "x.tar", f"{'c' * 16}.tar.gz"])
def test_no_name_in_the_bucket_says_where_a_release_is_written(
    host: Host, fetch: Fetch, tmp_path: Path, name: str
) -> None:
    host.look()
    wheels = {"engine-1.whl": "1"}
    put_file(host, f"{WHEELS}{name}", 1.0, packed("c" * 16, wheels))
    put_file(host, IN_FORCE, 1.0, json.dumps({"wheels": wheels}).encode())
    dest = tmp_path / f"{NAME}.tar.gz"
    assert fetch(dest=str(dest), release_dir=str(tmp_path))["release_archive"] == ""
    assert tarfile.is_tarfile(dest)
    with tarfile.open(dest) as archive:
        assert JOURNAL in archive.getnames()
    assert not list(tmp_path.glob("*.tar"))


def test_the_controllers_own_release_is_recognized_by_its_name(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    for file in ("pyproject.toml", LOCK):
        (project / file).write_text("# ours\n")
    of_old_host = release_name(project, None, "3.13", "aarch64", True)
    asked = {"release_dir": str(tmp_path / "got"), "project": str(project), "replace": True}
    host.look()
    put_release(host, of_old_host, "httptools-1-cp313-cp313-manylinux_2_28_aarch64.whl")
    looked = fetch(**asked, check=True)
    assert (looked["controller_release"], looked["release"], looked["release_archive"]) == (*[of_old_host] * 2, "")
    assert not (tmp_path / "got").exists()
    assert fetch(**asked)["controller_release"] == of_old_host

    (project / LOCK).write_text("# newer\n")
    other = fetch(**asked)["controller_release"]
    assert other == release_name(project, None, "3.13", "aarch64", False)
    assert other != of_old_host

    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "engine-1.whl").write_bytes(b"ready")
    assert fetch(**asked, wheel_dir=str(ready))["controller_release"] == release_name(None, ready, "", "", False)
    assert "the controller's own release" in fetch(**{**asked, "project": str(tmp_path / "none")})["msg"]


def test_a_time_that_s3_contradicts_makes_no_file_the_newest() -> None:
    """The newest file is chosen by the time at which S3 received it, not by the time in its name.

    A file's name can claim a time in the far future. An attacker with the host's credentials could otherwise choose the
    host's configuration.
    """
    came = {"20991130T000000.000000Z": 8, "20261130T085959.000000Z": 9, "20261130T070000.000000Z": 7}
    series = "hosts/AROA:i-1/trading-demo-1/20261130T060000.000000Z"
    keys = {
        f"{series}/file/{time}.{hour:064d}/etc/trading/engine.toml": datetime(2026, 11, 30, hour, tzinfo=UTC)
        for time, hour in came.items()
    }
    keys[f"{series}/complete"] = datetime(2026, 11, 30, 6, tzinfo=UTC)
    (file,) = choose(keys, NAME).files
    assert file.part.digest == f"{9:064d}"
    keys[f"{series}/file/20269930T000000.000000Z.{0:064d}/etc/x"] = datetime(2026, 11, 30, 9, tzinfo=UTC)
    with pytest.raises(BackupError, match=r"20269930T.* a foreign object"):
        choose(keys, NAME)


def remove(kind: str) -> Callable[[Host], str]:
    def change(host: Host) -> str:
        key = [key for key in host.objects() if kind in key][-1]
        host.s3.delete_object(Bucket=BUCKET, Key=key)
        return key

    return change


def tamper(kind: str) -> Callable[[Host], str]:
    def change(host: Host) -> str:
        key = [key for key in host.objects() if kind in key][-1]
        host.s3.put_object(Bucket=BUCKET, Key=key, Body=host.body(key)[:-1] + b"x")
        return key

    return change


def foreign(name: str) -> Callable[[Host], str]:
    def change(host: Host) -> str:
        put(host, name, b"x")
        return name

    return change


def foreign_below(host: Host) -> str:
    user = next(key for key in host.objects() if key.startswith("hosts/")).split("/")[1]
    host.s3.put_object(Bucket=BUCKET, Key=f"hosts/{user}/stray.txt", Body=b"x")
    return f"hosts/{user}/stray.txt"


def first_range(host: Host) -> str:
    """Remove the object with the first bytes of the open segment.

    Return the text by which the module must name the missing bytes.
    """
    (snapshot,) = host.journal.glob("*.snapshot")
    number = int(snapshot.stem)
    key = next(key for key in host.objects() if f"journal/{number:012d}/{0:012d}-" in key)
    host.s3.delete_object(Bucket=BUCKET, Key=key)
    return f"segment {number}: the object with its bytes from 0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (tamper("/journal/"), "somebody has tampered with it"),
        (tamper("/snapshot/"), "somebody has tampered with it"),
        (first_range, "is missing"),
        (remove("/complete"), "half-written: its object `complete` is missing"),
        (remove("sealed-"), "the object that ends it is missing"),
        (foreign("journal/stray"), "a foreign object"),
        (foreign_below, "a foreign object"),
    ],
    ids=["range", "snapshot", "missing", "half-written", "end", "foreign", "foreign-below"],
)
def test_what_is_wrong_is_named_and_no_archive_is_written(
    shipped: Host, fetch: Fetch, tmp_path: Path, change: Callable[[Host], str], said: str
) -> None:
    named = change(shipped)
    report: dict[str, Any] = fetch()
    assert report["failed"]
    assert said in report["msg"]
    assert said.startswith(("half-written", "the object that ends")) or named in report["msg"]
    assert not (tmp_path / "archive.tar.gz").exists()


def of_instance(instance: str, hour: int, *hosts: str) -> dict[str, datetime]:
    """Return keys of objects that an instance has in the bucket, each with its time.

    For each host name, these objects are the smallest series that the instance can have.
    """
    came = datetime(2026, 11, 30, hour, tzinfo=UTC)
    series = f"{came:%Y%m%dT%H%M%S.%fZ}"
    return {f"hosts/AROA:{instance}/{host}/{series}/complete": came for host in hosts or (NAME,)}


def test_of_several_instances_one_has_to_be_named() -> None:
    """When the bucket has series of several instances, the user must name one of them.

    The new, empty instance has the newest series, but the user needs the series of the lost instance.
    """
    keys = {**of_instance("i-lost", 8), **of_instance("i-new", 9)}
    with pytest.raises(BackupError, match=r"i-lost \(until 2026-11-30T08:00:00\+00:00\), i-new \(until .*aws_backup_"):
        choose(keys, NAME)
    for instance in ("i-lost", "i-new"):
        chosen = choose(keys, NAME, instance)
        assert (chosen.instance, len(chosen.remarks)) == (instance, 1)
    with pytest.raises(BackupError, match=r"nothing of trading-demo-1 on i-0, but of i-lost .* i-new"):
        choose(keys, NAME, "i-0")
    assert list(choose(of_instance("i-1", 8), NAME, "i-1").remarks) == []


def test_no_host_forges_or_blocks_the_backup_of_another() -> None:
    own, other = of_instance("i-1", 8), "trading-demo-2"
    forged = of_instance("i-2", 9, other, NAME)
    chosen = choose({**own, **forged, "hosts/AROA:i-2/stray": datetime(2026, 11, 30, tzinfo=UTC)}, NAME)
    assert chosen.instance == "i-1"
    (remark,) = chosen.remarks
    assert f"AROA:i-2 has shipped as {NAME} is left out" in remark
    with pytest.raises(BackupError, match=r"nothing of trading-demo-1; what AROA:i-2 has shipped"):
        choose(forged, NAME)
    assert choose(forged, other, "i-2").instance == "i-2"  # the user names the instance


def test_an_empty_bucket_is_no_backup_and_may_be_none(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    assert "the bucket has nothing of trading-demo-1" in fetch()["msg"]
    assert fetch(optional=True)["changed"] is False
    host.look()
    assert "has nothing of trading-demo-1 on i-1" in fetch(instance="i-1")["msg"]
    assert fetch(check=True)["changed"] is True
    assert not (tmp_path / "archive.tar.gz").exists()


def test_the_archive_that_is_there_stays(host: Host, fetch: Fetch, tmp_path: Path) -> None:
    host.look()
    (tmp_path / "archive.tar.gz").write_bytes(b"of the controller")
    assert fetch()["changed"] is False
    assert (tmp_path / "archive.tar.gz").read_bytes() == b"of the controller"
    assert fetch(replace=True)["changed"] is True
    assert unpacked(tmp_path / "archive.tar.gz")


def test_what_the_bucket_holds_is_told_by_host(host: Host, run_module: RunModule) -> None:
    host.look()
    host.s3.put_object(Bucket=BUCKET, Key=f"{NAME}.tar.gz", Body=b"an archive")
    where = {"owner": "123456789012", "region": "us-east-1", "endpoint_url": host.server.url}
    report = run_module("journal_backup_info", bucket=BUCKET, **where)
    (shipped,) = report["hosts"]
    assert (shipped["host"], shipped["objects"]) == (NAME, 3)
    assert report["others"] == [f"{NAME}.tar.gz"]
    assert [line.split(":")[0].split(" on ")[0] for line in report["text"]] == [NAME, f"{NAME}.tar.gz"]
    assert run_module("journal_backup_info", bucket="trading-none", **where)["hosts"] == []


def test_a_locked_bucket_says_until_when(host: Host, run_module: RunModule) -> None:
    where = {"owner": "123456789012", "region": "us-east-1", "endpoint_url": host.server.url}
    host.look()
    assert run_module("journal_backup_info", bucket=BUCKET, **where)["locked_until"] == ""
    host.s3.create_bucket(Bucket="trading-locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 20}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    host.s3.put_object_lock_configuration(Bucket="trading-locked", ObjectLockConfiguration=lock)
    assert run_module("journal_backup_info", bucket="trading-locked", **where)["locked_until"] == ""
    host.s3.put_object(Bucket="trading-locked", Key="a", Body=b"")
    host.s3.delete_object(Bucket="trading-locked", Key="a")  # its locked version stays
    until = datetime.fromisoformat(run_module("journal_backup_info", bucket="trading-locked", **where)["locked_until"])
    assert 19 <= (until - datetime.now(UTC)).days <= 20
