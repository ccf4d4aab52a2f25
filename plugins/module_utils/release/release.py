# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of a release: a set of wheels of the engine and its dependencies, named by a digest of its sources.

This module computes digests, checks manifests and chooses the releases to keep. Modules on the controller and on hosts
use it. It builds, downloads and installs nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path

DIGEST_LENGTH = 16
MANIFEST = "manifest.json"
LOCK = "requirements.lock"
# Every supported host has a newer glibc than 2.28 (Debian 12: 2.36, Amazon Linux 2023: 2.34).
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
_MANIFEST_BYTES = 1 << 20
_ARCHITECTURES = ("aarch64", "x86_64")
_PYTHONS = tuple(f"3.{minor}" for minor in range(11, 20))
_OF_A_KIND = re.compile(r".*-cp3(\d+)-cp3\1-.*_(aarch64|x86_64)\.whl")
_NAME = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}")
# Directories that Python and its build tools create in a source tree. They are no source files.
LEFTOVERS = ("__pycache__", "build", "dist")


class ReleaseError(Exception):
    """A release cannot be made or trusted. The message says what is wrong, where, and what to do."""


def source_files(project: Path) -> list[Path]:
    """Return the files of a Python project that go into its wheel, always in the same order."""
    found = []
    for path in sorted(project.rglob("*")):
        parts = path.relative_to(project).parts
        leftover = any(part in LEFTOVERS or part.endswith(".egg-info") or part.startswith(".") for part in parts)
        if path.is_file() and path.suffix != ".pyc" and not leftover:
            found.append(path)
    return found


def content_digest(*texts: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of these texts."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:DIGEST_LENGTH]


def source_digest(project: Path, target: tuple[str, ...]) -> str:
    """Return the name of the release built from `project` for `target` (Python version, architecture and so on).

    Names and contents of files count; times and the project's directory do not. So the same checkout has the same
    digest on every controller.
    """
    digest = hashlib.sha256(json.dumps(target).encode())
    for path in source_files(project):
        content = path.read_bytes()
        digest.update(json.dumps([path.relative_to(project).as_posix(), len(content)]).encode())
        digest.update(content)
    return digest.hexdigest()[:DIGEST_LENGTH]


def wheels_digest(wheels: dict[str, str]) -> str:
    """Return the name of the release that consists of these wheels. `wheels` maps file names to their sha256."""
    return content_digest(json.dumps(sorted(wheels.items())))


def hash_wheels(directory: Path) -> dict[str, str]:
    """Return a dictionary with every wheel in `directory`: file name → sha256."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.whl"))}


def installer(wheels: Iterable[str]) -> str:
    """Return the file name of pip's wheel, which installs the other wheels on a host without pip and network.

    Raises ReleaseError when there is none.
    """
    for name in wheels:
        if name.startswith("pip-"):
            return name
    raise ReleaseError("the release has no wheel of pip, which installs the others: add it (pip download pip)")


def pure_twins(wheels: Iterable[str]) -> dict[str, str]:
    """Return a dictionary: compiled wheel → pure wheel of the same project.

    It has only the projects with exactly one wheel of each kind.
    """
    of_project: dict[str, list[str]] = {}
    for name in wheels:
        of_project.setdefault(name.split("-")[0], []).append(name)
    twins = {}
    for names in of_project.values():
        pure = [name for name in names if name.endswith("-none-any.whl")]
        compiled = [name for name in names if name not in pure]
        if len(pure) == len(compiled) == 1:
            twins[compiled[0]] = pure[0]
    return twins


def release_name(
    project: Path | None, wheel_dir: Path | None, python_version: str, architecture: str, compiled: bool
) -> str:
    """Return the name of the release that is made from a project or from a directory of wheels.

    Raises ReleaseError when neither of the two is given, or when the given one is incomplete.
    """
    if wheel_dir is not None:
        wheels = hash_wheels(wheel_dir)
        if not wheels:
            raise ReleaseError(f"{wheel_dir} holds no wheel: put the engine's and those of its dependencies there")
        return wheels_digest(wheels)
    if project is None:
        raise ReleaseError("one of project and wheel_dir must be given")
    for name in ("pyproject.toml", LOCK):
        if not (project / name).is_file():
            raise ReleaseError(f"{project} is no project to make a release of: it has no {name}")
    kind = ["compiled and pure"] if compiled else []
    return source_digest(project, (python_version, architecture, *PLATFORMS, *kind))


def own_counterpart(release: str, wheels: Iterable[str], project: Path | None, wheel_dir: Path | None) -> str:
    """Return the name of the release that the inputs make for the same kind of host as the given ``release``.

    The inputs are ``project`` or ``wheel_dir``. A kind of host is a version of Python and an architecture. If the
    inputs make ``release`` itself for any kind of host, return ``release``. Otherwise the kind is found by the names of
    the release's ``wheels``. Return an empty text when these names do not tell the kind, or without inputs. Raises
    ReleaseError when the inputs cannot make a release.
    """
    if project is None and wheel_dir is None:
        return ""
    if wheel_dir is not None:  # ready wheels make the same release for every kind of host
        return release_name(None, wheel_dir, "", "", False)
    for python_version, architecture, compiled in product(_PYTHONS, _ARCHITECTURES, (True, False)):
        if release == release_name(project, None, python_version, architecture, compiled):
            return release
    compiled = bool(pure_twins(wheels))
    for match in filter(None, map(_OF_A_KIND.fullmatch, wheels)):
        return release_name(project, None, f"3.{match[1]}", match[2], compiled)
    return ""


def render_manifest(release: str, wheels: dict[str, str]) -> str:
    return json.dumps({"release": release, "wheels": wheels}, indent=2, sort_keys=True) + "\n"


def archived(archive: bytes) -> tuple[str, dict[str, str]]:
    """Return the name of the release in a packed archive of wheels, and its wheels (file name → sha256).

    Raises ReleaseError for a file that is no such archive. The wheels' digests are verified later, at installation.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as packed:  # compressed, it might be endless
            if packed.getmember(MANIFEST).size > _MANIFEST_BYTES:
                raise ValueError(f"its {MANIFEST} has more than {_MANIFEST_BYTES} bytes")
            content = packed.extractfile(MANIFEST)
            manifest = json.loads(content.read() if content else b"")
        release, wheels = str(manifest["release"]), dict(manifest["wheels"])
        if not _NAME.fullmatch(release):
            raise ValueError(f"{release} is no release's name")
        return release, wheels
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReleaseError(f"this is no archive of a release's wheels ({error})") from error


def unfit(wheels: Iterable[str], python_version: str, architecture: str) -> list[str]:
    """Return the names of the wheels that are for another Python or architecture, according to their names."""
    own = f"cp{python_version.replace('.', '')}"
    found = []
    for name in wheels:
        abi, platform = name[: -len(".whl")].split("-")[-2:] if name.count("-") > 3 else ("none", "any")
        if (abi.startswith("cp") and abi != own) or (platform != "any" and architecture not in platform):
            found.append(name)
    return sorted(found)


def check_manifest(directory: Path, release: str) -> dict[str, str]:
    """Check the wheels in `directory` against its manifest, and return them: file name → sha256.

    Raises ReleaseError unless the manifest names `release`, and lists exactly the wheels that are there, with their
    sha256.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        named, wanted = manifest["release"], manifest["wheels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"the archive of release {release} has no readable {MANIFEST} ({error})") from error
    if named != release:
        raise ReleaseError(f"the archive holds release {named}, not {release}")
    found = hash_wheels(directory)
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        raise ReleaseError(f"release {release} arrived damaged: sha256 differs for {', '.join(differing)}")
    return found


def superseded(installed_s: dict[str, float], in_use: set[str], keep: int) -> list[str]:
    """Return the releases to remove, so that `keep` releases stay: those in use, and the newest of the others.

    Releases in use are never removed. `installed_s` maps a release to the Unix time of its installation in seconds.
    """
    youngest_first = sorted(installed_s, key=lambda release: installed_s[release], reverse=True)
    spare = [release for release in youngest_first if release not in in_use]
    return sorted(spare[max(0, keep - len(in_use)) :])
