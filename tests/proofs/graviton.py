"""An engine is cross-compiled for aarch64, and its self-check runs on an emulated CPU.

The self-check replays a journal that is part of the release, and compares the SHA-256 of the result. QEMU emulates only
the CPU of one process, Debian's Python for arm64. The packages of QEMU and of this Python are unpacked into a
directory, and not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tests.collected_wheels import CACHE, ROOT, collect
from tests.proofs.evidence import Evidence

_PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_VERSION = _PYTHON.removeprefix("python")
_FOREIGN = (
    f"{_PYTHON}-minimal", f"lib{_PYTHON}-minimal", f"lib{_PYTHON}-stdlib", "libc6", "libssl3", "libffi8", "zlib1g",
    "libexpat1", "libbz2-1.0", "liblzma5", "libuuid1", "libsqlite3-0", "libgcc-s1", "libcrypt1",
)  # fmt: skip


def prove(replays: int) -> Path:
    """Run the self-check this many times. Write the record and return its path.

    Raises AssertionError when the self-check fails.
    """
    evidence = Evidence("graviton", replays)
    made = collect(
        project=str(ROOT / "files/engine"), cache_dir=str(CACHE), architecture="aarch64", python_version=_VERSION,
        compiled="always",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="graviton-") as name:
        work = Path(name)
        _fetch(work, "arm64", _FOREIGN)
        _fetch(work, "", ("qemu-user-static",))
        _unpack(Path(made["archive"]), work / "release")
        for _ in range(evidence.done, replays):
            result = subprocess.run(
                [
                    work / "own/usr/bin/qemu-aarch64-static", "-L", work / "arm64", work / f"arm64/usr/bin/{_PYTHON}",
                    "-m", "trading_engine", "self-check",
                ],
                env={
                    "PYTHONPATH": str(work / "release"), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"],
                    "PYTHONHOME": str(work / "arm64/usr"),
                },
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert result.returncode == 0, result.stderr
            found = json.loads(result.stdout)
            assert found["compiled"], found
            evidence.add(found)
    return evidence.finish({"release": made["release"], "architecture": "aarch64", "self_checks": evidence.results})


def _fetch(work: Path, architecture: str, packages: tuple[str, ...]) -> None:
    """Download Debian packages and unpack them, without an installation.

    The packages are for `architecture`. When it is empty, they are for this machine.
    """
    target = work / (architecture or "own")
    debs = work / f"{target.name}.debs"
    apt = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]
    if architecture:
        (debs / "lists/partial").mkdir(parents=True)
        settings = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "Dir::State::Lists": debs / "lists",
        }
        apt += [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        subprocess.run([*apt, "update"], check=True)
    debs.mkdir(exist_ok=True)
    subprocess.run([*apt, "download", *packages], cwd=debs, check=True)
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", deb, target], check=True)


def _unpack(archive: Path, to: Path) -> None:
    """Unpack the wheels of a release to the directory `to`, except the wheel with the pure engine."""
    wheels = to.with_name("wheels")
    wheels.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar.getnames():
            tar.extract(member, wheels)
    pure_engine = set(wheels.glob("trading_engine-*-none-any.whl"))
    for wheel in sorted(set(wheels.glob("*.whl")) - pure_engine):
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(to)  # noqa: S202  # our own
