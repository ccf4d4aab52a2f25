"""Fixtures for tests of backups: a host's directories with a real journal, and a bucket in an emulated S3.

The shipper is the program that sends the journal to the bucket. It runs in the test's process.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from trading_backup.bucket import Bucket
from trading_backup.config import load_config
from trading_backup.shipper import Shipper
from trading_engine.process import tools

from tests import descriptions
from tests.unit.engine.test_journal import Recorder
from tests.unit.plugins.conftest import RunModule, run_module

__all__ = ["Host", "Report", "RunModule", "run_module"]

BUCKET = "trading-demo-123456789012-us-east-1"
NAME = "trading-demo-1"
RPO_S = 60
Report = dict[str, Any]


class Server:
    """An emulated S3 at a loopback address. A test can switch it off."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0)
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()
        self.url = f"http://{self.host}:{self.port}"

    def empty(self) -> None:
        """Delete all buckets and their objects."""
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()

    def stop(self) -> None:
        self._server.stop()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Until the context ends, the emulated S3 answers no request.

        Afterwards it answers again, because other tests use it.
        """
        self._server.stop()
        try:
            yield
        finally:
            self._server = ThreadedMotoServer(self.host, self.port)
            self._server.start()


@functools.cache
def client(url: str) -> Any:
    """Return an S3 client. All tests share one, because it takes longer to create a client than to run a test."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


class Host:
    """A host's directories, its shipper, and a clock that advances only when a test advances the clock."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        self.journal = folder / "journal"
        self.etc = folder / "etc"
        for path in (self.journal, self.etc):
            path.mkdir()
        (self.etc / "engine.toml").write_text("# the engine's\n")
        self.file = folder / "backup.toml"
        self.file.write_text(
            f'[backup]\nbucket = "trading-demo-{{account}}-{{region}}"\nhost = "{NAME}"\nrpo_seconds = {RPO_S}\n'
            f'region = "us-east-1"\nendpoint = "{server.url}"\njournal = "{self.journal}"\n'
            f'files = ["{self.etc}/*.toml"]\nstate = "{folder}/sent.json"\nstatus = "{folder}/status.json"\n'
        )
        self.now_s = 1_800_000_000.0
        self.recorder = Recorder(self.journal)
        self.recorder.start()
        self.shipper = self.restarted()
        self.s3 = client(server.url)
        self.s3.create_bucket(Bucket=BUCKET)

    def restarted(self) -> Shipper:
        """Replace the shipper by a new one and return it. The new one knows only the files on the disk."""
        config = load_config(self.file)
        self.shipper = Shipper(config, Bucket(config))
        return self.shipper

    def look(self, seconds: float = RPO_S) -> Any:
        """Advance the clock by `seconds`. Then call the shipper's method `look` and return its result."""
        self.now_s += seconds
        return self.shipper.look(self.now_s)

    def objects(self) -> list[str]:
        """Return the keys of all objects in the bucket."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def names(self) -> list[str]:
        """Return the names of the journal's objects in the bucket.

        A key has a path before this name and a digest after it. Both are left out.
        """
        return [key.split("/", 4)[4].split(".")[0] for key in self.objects() if "/file/" not in key]

    def written(self) -> int:
        """Return how many bytes of the journal's open segment have data.

        A segment has a fixed size. After its last record, it is filled with zeros.
        """
        return len(self.recorder.writer.path.read_bytes().rstrip(b"\0"))

    def digest(self, journal: Path | None = None) -> str:
        """Replay a journal, by default the host's. Return the SHA-256 of the engine's state after the replay."""
        return str(tools.replay(journal or self.journal)["sha256"]["state"])

    def body(self, key: str) -> bytes:
        """Return the content of the object with this key."""
        content: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return content


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Host:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    descriptions.share(monkeypatch)
    server.empty()
    return Host(tmp_path, server)


Fetch = Callable[..., Report]


@pytest.fixture
def fetch(host: Host, run_module: RunModule, tmp_path: Path) -> Fetch:
    """Return a function that runs the module journal_fetch, and returns the module's report.

    The module writes the content of the bucket to an archive. The function's keyword arguments override the module's
    arguments.
    """

    def fetched(**arguments: Any) -> Report:
        given = {"bucket": BUCKET, "owner": "123456789012", "host": NAME, "dest": str(tmp_path / "archive.tar.gz")}
        return run_module("journal_fetch", **{**given, **arguments}, region="us-east-1", endpoint_url=host.server.url)

    return fetched
