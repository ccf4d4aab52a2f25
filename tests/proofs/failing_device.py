"""A file system on a device that can be told at any moment to fail. The kernel's device mapper makes the device.

This module needs root rights, and a machine with its own kernel.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BYTES = 64 << 20
_SECTOR = 512
_FOR_EVER = "0 3600 1 error_writes"  # for dm-flakey: fail writes for an hour, but not reads
# The machine may have no udev. Therefore dmsetup itself creates the device's file, and does not wait for udev.
_DMSETUP = ("dmsetup", "--noudevsync", "--noudevrules")
# A line of filefrag's output about one part of a file. Its groups are the first and the last sector of the part.
_EXTENT = re.compile(r"^\s*\d+:\s+\d+\.\.\s*\d+:\s+(\d+)\.\.\s*(\d+):", re.MULTILINE)


@dataclass(frozen=True)
class FailingDevice:
    """The device `name`, with a file system that is mounted on `mount`. Its data is in the file `backing`."""

    name: str
    loop: str
    backing: Path
    mount: Path

    @property
    def _sectors(self) -> int:
        return _BYTES // _SECTOR

    def fail_writes_of(self, file: Path) -> None:
        """From now on, let writes to the sectors of this file fail. All other writes succeed."""
        table, at = [], 0
        for first, last in sorted(_extents(file)):
            table.append(self._part(at, first - at, "linear"))
            table.append(self._part(first, last + 1 - first, "flakey", _FOR_EVER))
            at = last + 1
        assert table, f"{file} has no place yet"
        self._become([*table, self._part(at, self._sectors - at, "linear")])

    def fail_writes(self) -> None:
        """From now on, let every write fail. The file system's own journal cannot be written either."""
        self._become([self._part(0, self._sectors, "flakey", _FOR_EVER)])

    def heal(self) -> None:
        self._become([self._part(0, self._sectors, "linear")])

    def cut_off(self) -> None:
        """From now on, let all reads and writes fail, as in a power failure. The content of the device stays."""
        self._become([f"0 {self._sectors} error"])

    def mount_again(self) -> None:
        """Unmount the file system, repair the device, and mount it again.

        The kernel then reads from the device, because unmounting has emptied its cache.
        """
        _run("umount", str(self.mount))
        self.heal()
        _run("mount", f"/dev/mapper/{self.name}", str(self.mount))

    def stored(self, file: Path) -> bytes:
        """Return what the device has as the file's content. The kernel's cache can have another content."""
        with self.backing.open("rb") as device:
            parts = []
            for first, last in _extents(file):
                device.seek(first * _SECTOR)
                parts.append(device.read((last + 1 - first) * _SECTOR))
        return b"".join(parts)

    def _part(self, at: int, sectors: int, target: str, more: str = "") -> str:
        return f"{at} {sectors} {target} {self.loop} {at} {more}" if sectors else ""

    def _become(self, table: list[str]) -> None:
        _dmsetup("load", self.name, table="\n".join(line for line in table if line))
        _dmsetup("suspend", "--noflush", "--nolockfs", self.name)  # without these options it would write
        _dmsetup("resume", self.name)


@contextmanager
def made(name: str, directory: Path) -> Iterator[FailingDevice]:
    """Yield a working device with an empty ext4 file system. Remove the device at the end."""
    backing, mount = directory / "device", directory / "mount"
    mount.mkdir()
    with backing.open("wb") as file:
        file.truncate(_BYTES)
    device = FailingDevice(name, _run("losetup", "--find", "--show", str(backing)).strip(), backing, mount)
    try:
        _dmsetup("create", name, table=f"0 {_BYTES // _SECTOR} linear {device.loop} 0")
        _dmsetup("mknodes", name)
        _run("mke2fs", "-q", "-t", "ext4", f"/dev/mapper/{name}")
        _run("mount", f"/dev/mapper/{name}", str(mount))
        yield device
    finally:
        for words in (["umount", mount], [*_DMSETUP, "remove", "--retry", name], ["losetup", "--detach", device.loop]):
            subprocess.run([str(word) for word in words], check=False, stderr=subprocess.DEVNULL)
        backing.unlink()


def _extents(file: Path) -> list[tuple[int, int]]:
    """Return the contiguous parts of a file, in the file's order.

    For each part, return the first and the last sector.
    """
    shown = _run("filefrag", f"-b{_SECTOR}", "-e", str(file))
    return [(int(first), int(last)) for first, last in _EXTENT.findall(shown)]


def _dmsetup(*words: str, table: str = "") -> None:
    _run(*_DMSETUP, *words, table=table)


def _run(*words: str, table: str = "") -> str:
    """Run a program as root and return its output. When it fails, raise RuntimeError with its error output."""
    done = subprocess.run(words, input=table, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
