"""A small module is compiled for hosts with another architecture. `scripts/prove graviton` tests the whole engine."""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.collected_wheels import CACHE, ROOT, collect
from tests.unit.plugins.test_release import PYPROJECT, QUICK, SETUP

OTHER = "x86_64" if platform.machine() == "aarch64" else "aarch64"
E_MACHINE = {"aarch64": 183, "x86_64": 62}
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "a project"
    directory.mkdir()
    (lock,) = re.findall(r"^pip==(?:.*\\\n)*.*\n", (ROOT / "files/engine/requirements.lock").read_text(), re.MULTILINE)
    (directory / "requirements.lock").write_text(lock)
    shutil.copy(ROOT / "files/engine/requirements-cross.lock", directory)
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (directory / "setup.py").write_text(SETUP)
    (directory / "greeter.py").write_text("def main() -> None: print('hello')\n")
    (directory / "quick.c").write_text(QUICK)
    return directory


def test_a_wheel_for_the_other_architecture_has_its_suffix_its_machine_and_its_tag(
    project: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "a cache"
    cache.mkdir()
    CACHE.joinpath("zig-cache").mkdir(parents=True, exist_ok=True)
    for kept in CACHE.glob("zig*"):
        (cache / kept.name).symlink_to(kept)
    made = collect(
        project=str(project), cache_dir=str(cache), architecture=OTHER, python_version=VERSION, compiled="always"
    )
    for compiler in cache.glob("ziglang-*"):
        if not compiler.is_symlink():
            compiler.rename(CACHE / compiler.name)
    tag = f"cp{VERSION.replace('.', '')}"
    name = f"greeter-1.0-{tag}-{tag}-linux_{OTHER}.whl"
    with tarfile.open(made["archive"]) as archive:
        archive.extract(name, tmp_path)
    with zipfile.ZipFile(tmp_path / name) as wheel:
        module = wheel.read(f"quick.cpython-{VERSION.replace('.', '')}-{OTHER}-linux-gnu.so")
    assert module[:4] == b"\x7fELF"
    assert int.from_bytes(module[18:20], "little") == E_MACHINE[OTHER]
    assert not list(cache.glob(".making-*"))
