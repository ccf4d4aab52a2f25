#!/usr/bin/python
# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module that collects on the controller the wheels of one release for one kind of host.

A kind of host is a version of Python and an architecture.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_set
short_description: Collect the wheels of a release for a host's Python and architecture
version_added: 0.1.0
description:
  - Run on the controller. Download the dependencies in a lock file with hashes, as wheels for the given Python and
    architecture. Build the wheel of the project itself. Pack all wheels, with a manifest of their SHA-256, into one
    archive.
  - Cache the archive under a name that is computed from its inputs, so that nothing is downloaded or built twice.
  - Read the project's directory, but write nothing there.
author:
  - lowlatency.trading contributors (@lowlatency)
options:
  project:
    description: The directory of a Python project with a C(pyproject.toml) and a C(requirements.lock).
    type: path
  wheel_dir:
    description: The directory of ready wheels, including dependencies and pip, to use instead of O(project).
    type: path
  archive:
    description: The path of an archive that this module has made, to use instead of O(project).
    type: path
    version_added: 0.2.0
  python_version:
    description: The host's version of Python, such as C(3.11).
    type: str
    required: true
  architecture:
    description: The host's architecture.
    type: str
    choices: [aarch64, x86_64]
    required: true
  compiled:
    description:
      - Compile the project's wheel. This needs a Linux controller whose Ansible runs on the host's version of Python,
        with mypy 1.20 or newer, a C compiler and Python's headers.
      - Compile for hosts of another architecture by PyPI's C(ziglang) of 100 MB. It is used from the environment of
        Ansible, or downloaded into O(cache_dir) as C(requirements-cross.lock) of the project pins it.
      - Build the project with C(TRADING_ENGINE_COMPILED=1) then. The archive also contains its pure wheel, for hosts on
        which the compiled one fails (M(lowlatency.trading.python_release)).
      - Take only the pure wheel and give a warning when the project cannot be compiled (V(auto)), or fail then
        (V(always)).
    type: str
    choices: [auto, always, never]
    default: never
  cache_dir:
    description: The directory for archives, which must be outside the checkout.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Report the name of the release, and build nothing.
  diff_mode:
    support: none
    description: An archive has no useful difference to show.
"""

EXAMPLES = r"""
- name: Collect the engine's wheels for a Graviton host
  lowlatency.trading.wheel_set:
    project: files/engine
    python_version: "3.11"
    architecture: aarch64
    cache_dir: ~/.cache/lowlatency.trading/wheels
  delegate_to: localhost
"""

RETURN = r"""
release:
  description: The name of the release, which is a digest of its inputs.
  type: str
  returned: always
archive:
  description: The path of the archive on the controller.
  type: str
  returned: always
compiled:
  description: Whether the project's wheel is, or would be, compiled.
  type: bool
  returned: always
reason:
  description: Why the wheel is not compiled although O(compiled) asks for it; otherwise empty.
  type: str
  returned: always
"""

import fcntl
import importlib.util
import os
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lowlatency.trading.plugins.module_utils import outside
from ansible_collections.lowlatency.trading.plugins.module_utils.release import pip_settings
from ansible_collections.lowlatency.trading.plugins.module_utils.release.compiling import (
    check_compiled,
    cross_environment,
    is_cross,
    obstacle,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import (
    LOCK,
    MANIFEST,
    PLATFORMS,
    ReleaseError,
    archived,
    content_digest,
    hash_wheels,
    installer,
    pure_twins,
    render_manifest,
    source_files,
    unfit,
)
from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import (
    release_name as observe,
)

CROSS_LOCK = "requirements-cross.lock"
SCRATCH = ".making-"
ZIG_CACHE = "zig-cache"
_COMPILER_ERROR = re.compile(r":\d+: (fatal )?error: |\b\w*Error: ")


def plan(cache: Path, release: str) -> Path:
    """Return the path of the release's archive in the cache."""
    return cache / f"{release}.tar"


def pip(module: AnsibleModule, what: str, arguments: list[str], environment: dict[str, str] | None = None) -> None:
    """Run pip with the user's settings for the package index. Raises ReleaseError with pip's first error line."""
    common = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "20"]
    program = [sys.executable, "-m", "pip"]
    returned, out, err = outside.run(module, [*program, "config", "list"])
    if returned != 0 and "No module named pip" not in err:
        raise ReleaseError(f"cannot {what}: pip cannot read its settings: {' '.join(err.split())[-300:]}")
    if returned == 0:
        settings = pip_settings.of_the_index(out, os.environ)
        command = [*program, arguments[0], *common, *arguments[1:]]
        returned, out, err = outside.run(module, command, {**settings, **(environment or {})})
    if returned == 0:
        return
    if "No module named pip" in err:
        raise ReleaseError(f"{sys.executable} has no pip: install the controller's packages (requirements.txt)")
    said = (err + out).splitlines()
    lines = [line for line in said if line.startswith("ERROR")] or said[-1:]
    if arguments[0] == "wheel":
        of_compiler = [line.strip() for line in said if _COMPILER_ERROR.search(line)]
        raise ReleaseError(f"cannot {what}: {(of_compiler or lines)[0]}")
    broken = re.search(r"\[Errno -?\d+\] [^'\")]+", err)
    raise ReleaseError(
        f"cannot {what}: {' | '.join(lines[:2])}{f' ({broken[0]})' if broken else ''}. "
        "Is a package index reachable from this machine? "
        "Name a mirror in PIP_INDEX_URL, or give a directory of ready wheels (trading_engine_wheel_dir)"
    )


def dependencies(module: AnsibleModule, project: Path, cache: Path) -> Path:
    """Return the directory with the wheels that the lock file names. Download them when the cache lacks them.

    The cache depends on the lock file only, so a change of the project's code does not download them again.
    """
    python_version, architecture = module.params["python_version"], module.params["architecture"]
    lock = project / LOCK
    name = content_digest(lock.read_text(encoding="utf-8"), python_version, architecture, *PLATFORMS)
    home = cache / f"dependencies-{name}"
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            fresh = Path(scratch) / "wheels"
            # The lock file has all dependencies. Without --no-deps pip would resolve them again, and evaluate markers
            # for the controller's Python.
            wanted = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--requirement", str(lock)]
            platforms = [word for tag in PLATFORMS for word in ("--platform", f"{tag}_{architecture}")]
            host = ["--implementation", "cp", "--python-version", python_version, *platforms]
            what = f"collect the wheels of {lock.resolve()} for Python {python_version} on {architecture}"
            pip(module, what, ["download", *wanted, *host, "--dest", str(fresh)])
            fresh.rename(home)
    return home


def cross_compiler(module: AnsibleModule, project: Path, cache: Path) -> Path:
    """Return the path of the program `zig` in Ansible's own environment, or of a copy that is downloaded once.

    Raises ReleaseError when neither is available.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "zig"
    lock = project / CROSS_LOCK
    if not lock.is_file():
        raise ReleaseError(f"{sys.executable} has no ziglang, which compiles for other architectures; install it there")
    home = cache / f"ziglang-{content_digest(lock.read_text(encoding='utf-8'))}"
    if not home.exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix=SCRATCH) as scratch:
            fresh = Path(scratch) / "ziglang"
            wanted = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "--requirement", str(lock)]
            what = f"fetch the compiler for other architectures that {lock.resolve()} names"
            pip(module, what, ["install", *wanted, "--no-compile", "--target", str(fresh)])
            fresh.rename(home)
    return home / "ziglang" / "zig"


def build_environment(module: AnsibleModule, project: Path, cache: Path, scratch: Path) -> dict[str, str]:
    """Return the environment variables for a build that compiles for the host's architecture.

    Raises ReleaseError when the controller cannot compile for it.
    """
    environment = {"TRADING_ENGINE_COMPILED": "1"}
    architecture = module.params["architecture"]
    if is_cross(architecture):
        zig = cross_compiler(module, project, cache)
        python_version = module.params["python_version"]
        environment.update(cross_environment(zig, architecture, python_version, scratch, cache / ZIG_CACHE))
    return environment


def build_project(
    module: AnsibleModule, project: Path, scratch: Path, to: Path, environment: dict[str, str] | None = None
) -> None:
    """Build the project's wheel into the directory `to`. Raises ReleaseError when the build fails.

    The build uses a copy of the sources, because a build writes next to its sources, and these may be read-only.
    """
    copy = Path(tempfile.mkdtemp(dir=scratch)) / "project"
    for path in source_files(project):
        target = copy / path.relative_to(project)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    pip(
        module,
        f"build the wheel of {project}",
        ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(to), str(copy)],
        environment,
    )


def apply(module: AnsibleModule, release: str, archive: Path, compiled: bool) -> None:
    """Collect all wheels of the release and write them to `archive` atomically. Raises ReleaseError when that fails."""
    parameters = module.params
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=SCRATCH) as scratch_name:
        scratch = Path(scratch_name)
        wheels = scratch / "wheels"
        wheels.mkdir()
        if parameters["wheel_dir"]:
            ready = Path(parameters["wheel_dir"])
        else:
            project = Path(parameters["project"])
            ready = dependencies(module, project, archive.parent)
            if compiled:
                environment = build_environment(module, project, archive.parent, scratch)
                build_project(module, project, scratch, wheels, environment)
                for wheel in wheels.glob("*.whl"):
                    check_compiled(wheel, parameters["python_version"], parameters["architecture"])
            build_project(module, project, scratch, wheels)
        for path in sorted(ready.glob("*.whl")):
            shutil.copyfile(path, wheels / path.name)
        collected = hash_wheels(wheels)
        installer(collected)
        (wheels / MANIFEST).write_text(render_manifest(release, collected), encoding="utf-8")
        packed = scratch / "archive.tar"
        with tarfile.open(packed, "w") as tar:
            for path in sorted(wheels.iterdir()):
                tar.add(path, arcname=path.name)
        os.replace(packed, archive)


def collect(module: AnsibleModule, compiled: bool) -> dict[str, object]:
    """Make the release's archive if the cache lacks it, and return the module's result.

    Raises ReleaseError when that fails.
    """
    parameters = module.params
    release = observe(
        Path(parameters["project"]) if parameters["project"] else None,
        Path(parameters["wheel_dir"]) if parameters["wheel_dir"] else None,
        parameters["python_version"],
        parameters["architecture"],
        compiled,
    )
    archive = plan(Path(parameters["cache_dir"]), release)
    changed = not archive.exists()
    if changed and not module.check_mode:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # The hosts of a play run in parallel. The first one makes the archive, and the others wait and find it.
        with open(archive.parent / ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in archive.parent.glob(f"{SCRATCH}*"):  # a killed run left it, as the lock shows
                shutil.rmtree(left, ignore_errors=True)
            if not archive.exists():
                apply(module, release, archive, compiled)
    return {"changed": changed, "release": release, "archive": str(archive), "compiled": compiled, "reason": ""}


def ready(archive: Path, python_version: str, architecture: str) -> dict[str, object]:
    """Check a given archive and return the module's result for it.

    Raises ReleaseError when the archive cannot be used or does not fit the host.
    """
    try:
        release, wheels = archived(archive.read_bytes())
    except OSError as error:
        raise ReleaseError(f"{archive} cannot be read: {error.strerror}") from error
    others = unfit(wheels, python_version, architecture)
    if others:
        raise ReleaseError(
            f"{archive} is for another kind of host: {others[0]} does not fit Python {python_version} on "
            f"{architecture}. In a rebuild -e aws_backup_release=controller installs the controller's release"
        )
    compiled = bool(pure_twins(wheels))
    return {"changed": False, "release": release, "archive": str(archive), "compiled": compiled, "reason": ""}


def collect_as_asked(module: AnsibleModule) -> dict[str, object]:
    """Collect the release as the options demand, and return the module's result.

    A failed compilation gives a warning with `compiled: auto`. With `compiled: always` it raises ReleaseError.
    """
    parameters = module.params
    if parameters["archive"]:
        return ready(Path(parameters["archive"]), parameters["python_version"], parameters["architecture"])
    choice, python_version, architecture = (parameters[key] for key in ("compiled", "python_version", "architecture"))
    if choice == "never" or parameters["wheel_dir"]:
        return collect(module, False)
    reason = obstacle(python_version, architecture)
    if not reason:
        try:
            return collect(module, True)
        except ReleaseError as error:
            reason = str(error)
    if choice == "always":
        raise ReleaseError(f"cannot compile for Python {python_version} on {architecture}: {reason}")
    module.warn(f"the engine is not compiled for Python {python_version} on {architecture}: {reason}")
    return {**collect(module, False), "reason": reason}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "path"},
            "wheel_dir": {"type": "path"},
            "archive": {"type": "path"},
            "python_version": {"type": "str", "required": True},
            "architecture": {"type": "str", "choices": ["aarch64", "x86_64"], "required": True},
            "compiled": {"type": "str", "choices": ["auto", "always", "never"], "default": "never"},
            "cache_dir": {"type": "path", "required": True},
        },
        mutually_exclusive=[["project", "wheel_dir", "archive"]],
        required_one_of=[["project", "wheel_dir", "archive"]],
        supports_check_mode=True,
    )
    try:
        report = collect_as_asked(module)
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**report)


if __name__ == "__main__":
    main()
