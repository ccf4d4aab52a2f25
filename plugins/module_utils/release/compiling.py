# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions by which the module wheel_set compiles the engine on the controller.

They decide whether the controller can compile for a host, set up the tools, and check the compiled wheel.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shlex
import shutil
import struct
import sys
import sysconfig
import zipfile
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.release.release import ReleaseError

NEWEST_GLIBC = (2, 28)
OLDEST_MYPY = (1, 20)  # the first version whose mypyc knows acyclic classes
OLDEST_SETUPTOOLS = (77,)  # the first version that accepts a license as an expression
ELF_MACHINES = {"aarch64": 183, "x86_64": 62}  # elf(5), e_machine
_NEEDED = re.compile(rb"GLIBC_(\d+)\.(\d+)")
_CONFIGURATION = "pyconfig.h"
_CROSS_CONFIGURATION = "_sysconfigdata_of_the_host"


def obstacle(python_version: str, architecture: str) -> str:
    """Return why this controller cannot compile the engine for hosts of this kind, and what to do about it.

    Return an empty text when it can. A kind of host is a version of Python and an architecture.
    """
    own_version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if platform.system() != "Linux":
        return f"this controller runs {platform.system()}; run Ansible on Linux"
    if own_version != python_version:
        return (
            f"Ansible runs on Python {own_version} here and the host has {python_version}; run Ansible on that version"
        )
    for package, module, oldest in (("mypy", "mypyc", OLDEST_MYPY), ("setuptools", "setuptools", OLDEST_SETUPTOOLS)):
        if importlib.util.find_spec(module) is None:
            return f"{sys.executable} has no {module}; install {package} there"
        version = importlib.metadata.version(package)
        if tuple(int(part) for part in version.split(".")[: len(oldest)]) < oldest:
            wanted = ".".join(map(str, oldest))
            return f"{sys.executable} has {package} {version}; install {wanted} or newer there"
    if not is_cross(architecture):
        compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
        if shutil.which(compiler) is None:
            return f"this controller has no C compiler {compiler}; install it (Debian: gcc and libc6-dev)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return f"this controller has no headers of Python {own_version}; install them (Debian: python3-dev)"
    return ""


def is_cross(architecture: str) -> bool:
    """Return whether the host's architecture differs from the controller's."""
    return platform.machine() != architecture


def cross_environment(zig: Path, architecture: str, python_version: str, scratch: Path, kept: Path) -> dict[str, str]:
    """Return the environment variables with which setuptools builds for hosts of another architecture.

    The compiler is `zig`. `kept` is the compiler's cache directory: when zig first compiles for an architecture, it
    also builds a part of its C library for that architecture there. `scratch` is a directory for temporary files.
    """
    glibc = ".".join(map(str, NEWEST_GLIBC))
    headers = target_headers(scratch / "headers")
    compiler = [str(zig), "cc", "-target", f"{architecture}-linux-gnu.{glibc}", f"-I{headers}"]
    return {
        "CC": shlex.join(compiler),
        "LDSHARED": shlex.join([*compiler, "-shared"]),
        "PYTHONPATH": str(target_configuration(scratch / "configuration", python_version, architecture)),
        "_PYTHON_SYSCONFIGDATA_NAME": _CROSS_CONFIGURATION,
        "_PYTHON_HOST_PLATFORM": f"linux-{architecture}",
        "ZIG_GLOBAL_CACHE_DIR": str(kept),
        "ZIG_LOCAL_CACHE_DIR": str(scratch / "zig"),
    }


def target_headers(to: Path) -> Path:
    """Fill the directory `to` with C headers of the controller's Python that fit any architecture. Return `to`.

    Headers of two architectures differ only in pyconfig.h. Between 64-bit little-endian Linux systems that file differs
    only in Python's own build options. Some distributions install headers for several architectures. There pyconfig.h
    only includes the file of the right architecture; in `to`, pyconfig.h is that included file.
    """
    own = Path(sysconfig.get_path("include"))
    shutil.copytree(own, to, symlinks=False)
    multiarch = own.parent / str(sysconfig.get_config_var("MULTIARCH")) / own.name / _CONFIGURATION
    if multiarch.is_file():
        shutil.copyfile(multiarch, to / _CONFIGURATION)
    return to


def target_configuration(to: Path, python_version: str, architecture: str) -> Path:
    """Make the directory `to` with a module that tells sysconfig how the host names extension modules.

    Return the directory.
    """
    multiarch = f"{architecture}-linux-gnu"
    told = {
        **sysconfig.get_config_vars(),
        "EXT_SUFFIX": extension_suffix(python_version, architecture),
        "MULTIARCH": multiarch,
        "SOABI": extension_suffix(python_version, architecture).split(".")[1],
    }
    to.mkdir()
    (to / f"{_CROSS_CONFIGURATION}.py").write_text(f"build_time_vars = {told!r}\n", encoding="utf-8")
    return to


def extension_suffix(python_version: str, architecture: str) -> str:
    return f".cpython-{python_version.replace('.', '')}-{architecture}-linux-gnu.so"


def check_compiled(wheel: Path, python_version: str, architecture: str) -> None:
    """Raise ReleaseError unless the wheel has compiled modules that every host of this kind can load.

    The modules must be for the host's Python and architecture. They must not need a glibc that is newer than the oldest
    glibc of any host.
    """
    with zipfile.ZipFile(wheel) as archive:
        modules = {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    if not modules:
        raise ReleaseError(f"{wheel.name} was to be compiled and is not: its project knows no TRADING_ENGINE_COMPILED")
    suffix = extension_suffix(python_version, architecture)
    for name, content in modules.items():
        (machine,) = struct.unpack_from("<H", content, 18)
        if not name.endswith(suffix) or machine != ELF_MACHINES[architecture]:
            raise ReleaseError(f"compiled here, {name} is not for Python {python_version} on {architecture} with glibc")
    versions = [(int(major), int(minor)) for module in modules.values() for major, minor in _NEEDED.findall(module)]
    needed = max(versions, default=NEWEST_GLIBC)
    if needed > NEWEST_GLIBC:
        raise ReleaseError(
            f"compiled here, {wheel.name} needs glibc {needed[0]}.{needed[1]}, which hosts may not have; "
            "compile it on an older distribution, or set trading_engine_compiled to never"
        )
