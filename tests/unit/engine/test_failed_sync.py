"""After a failed sync of the journal, the next start first writes the whole journal to the disk again.

This is necessary because the kernel marks pages as written even when their sync failed. One test replaces the disk by a
model in Python, in which a failed sync does the same as with ext4 and XFS. In another test, the sync at the start fails
too. The engine must then refuse to serve.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from trading_engine.engine import Engine
from trading_engine.machine import inputs
from trading_engine.wire import ouch, soupbintcp

from tests.unit.engine.process import DEADLINE_S, ENVIRONMENT, Client, EngineProcess

PAGE = 4096
FAULTS = Path(__file__).parents[2] / "proofs/faults.c"
ORDER = ouch.EnterOrder("one", "B", 100, "TEST", 1_000_000)


class Disk:
    """A model of a disk. It keeps what a real disk would have after a power failure.

    These are the pages of the journal whose sync succeeded.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing = False
        self._dirty: dict[int, set[int]] = {}
        self._stored: dict[int, dict[int, bytes]] = {}
        self._write, self._pwrite, self._fdatasync, self._fsync = os.write, os.pwrite, os.fdatasync, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "pwrite", self.pwrite)
        monkeypatch.setattr(os, "fdatasync", lambda descriptor: self.sync(descriptor, self._fdatasync))
        monkeypatch.setattr(os, "fsync", lambda descriptor: self.sync(descriptor, self._fsync))

    def write(self, descriptor: int, data: bytes) -> int:
        if os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")).startswith(("0", "spare")):
            self._touch(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), len(data))
        return self._write(descriptor, data)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self._touch(descriptor, offset, len(data))
        return self._pwrite(descriptor, data, offset)

    def sync(self, descriptor: int, really: Callable[[int], None]) -> None:
        inode = os.fstat(descriptor).st_ino
        dirty = self._dirty.pop(inode, set())  # before the sync: what is written during it stays dirty
        content = {page: os.pread(descriptor, PAGE, page * PAGE) for page in dirty}
        really(descriptor)
        if self.failing and dirty:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._stored.setdefault(inode, {}).update(content)

    def lose_power(self, directory: Path) -> None:
        for path in directory.glob("*.journal"):
            status = path.stat()
            content = bytearray(status.st_size)
            for page, data in self._stored.get(status.st_ino, {}).items():
                content[page * PAGE : page * PAGE + len(data)] = data
            path.write_bytes(content[: status.st_size])
        self._dirty.clear()

    def _touch(self, descriptor: int, offset: int, size: int) -> None:
        pages = range(offset // PAGE, (offset + size - 1) // PAGE + 1)
        self._dirty.setdefault(os.fstat(descriptor).st_ino, set()).update(pages)


@pytest.mark.parametrize("durability", ["disk", "os"])
def test_what_a_restart_says_is_there_without_power(
    start: Callable[[], Engine], loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    engine = start()
    engine.submit(inputs.CONNECT, 0)
    turns_until(loop, lambda: synced(engine))
    disk.failing = True  # from here on one record is written, so that no write follows the sync that fails
    engine.read(0, soupbintcp.unsequenced(ouch.INBOUND.encode(ORDER)), 0)
    turns_until(loop, lambda: synced(engine))
    assert engine.failure.startswith("journal sync: ")
    disk.failing = False
    again = start()
    turns_until(loop, lambda: synced(again))
    assert told(again) == ["one"]
    disk.lose_power(tmp_path / "journal")
    assert told(start()) == ["one"]


def synced(engine: Engine) -> bool:
    engine.tick()
    return bool(engine.failure) or not engine.unsynced_bytes


def told(engine: Engine) -> list[str]:
    packets, _ = engine.outbox.log(0).read_from(1, 1 << 16)
    messages = [ouch.OUTBOUND.decode(payload) for _, payload in soupbintcp.Splitter().feed(packets)]
    return [message.token for message in messages if isinstance(message, ouch.Accepted)]


def turns_until(loop: asyncio.AbstractEventLoop, reached: Callable[[], bool]) -> None:
    async def reach() -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not reached():
                await asyncio.sleep(0.001)

    loop.run_until_complete(reach())


@pytest.mark.parametrize("durability", ["disk", "os"])
def test_a_start_whose_sync_fails_serves_nobody(
    tmp_path: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(FAULTS), "-ldl"], check=True)
    with EngineProcess(tmp_path, journal={"durability": durability}) as engine:
        client = Client(engine.port)
        client.send(ORDER)
        client.wait_for(2)
        client.close()
        engine.stop(signal.SIGKILL)
    monkeypatch.setitem(ENVIRONMENT, "LD_PRELOAD", str(library))
    monkeypatch.setitem(ENVIRONMENT, "FAULT", "fdatasync:EIO:1")
    command = [sys.executable, "-m", "trading_engine", "--config", str(engine.config)]
    refused = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert refused.returncode == 2
    assert "Input/output error; the device or its file system has failed. See dmesg" in refused.stderr
    assert "user needs" not in refused.stderr  # advice about another error
