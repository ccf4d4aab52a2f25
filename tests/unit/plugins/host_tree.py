"""A fake host for tests of modules. Real files in a directory replace the host's /proc, /sys and /etc."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest


@contextmanager
def full_disk() -> Iterator[None]:
    """Until the context ends, no file can become longer, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class HostTree:
    """Files of a fake host, in the directory `root`.

    The methods take the paths that these files would have on a real host.
    """

    def __init__(self, root: Path, cpus: str = "0", ram_mib: int = 2048) -> None:
        self.root = root
        self.put("/sys/devices/system/cpu/online", cpus)
        self.put("/proc/meminfo", f"MemTotal: {ram_mib * 1024} kB\nMemFree: 1 kB")

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def put(self, path: str, text: str) -> Path:
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text}\n")
        return place

    def put_sysctls(self, **values: str) -> None:
        """Write kernel settings. In the arguments' names, two underscores mean a dot: vm__swappiness="60"."""
        for key, value in values.items():
            self.put(f"/proc/sys/{key.replace('__', '/')}", value)

    def link(self, path: str, target: str) -> None:
        """Make a link from a path of the fake host to a file of this machine's kernel.

        The kernel's files behave in ways in which a plain file cannot.
        """
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def text(self, path: str) -> str:
        return self.place(path).read_text().strip()

    def sysctl(self, key: str) -> str:
        return self.text(f"/proc/sys/{key.replace('.', '/')}")

    def snapshot(self) -> dict[str, str]:
        """Return the text of every file, by its path. Links are left out."""
        return {
            f"/{file.relative_to(self.root)}": file.read_text()
            for file in sorted(self.root.rglob("*"))
            if file.is_file() and not file.is_symlink()
        }

    def stand_in(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        """Let the module's `main` function use this fake host: the module finds `root` in place of the path "/"."""

        def place(path: str) -> Path:
            assert path == "/", f"{path} is not the root, which alone this stands in for"
            return self.root

        monkeypatch.setattr(module, "Path", place)
