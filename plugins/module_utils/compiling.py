# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the engine can be compiled on this controller for a host, and whether the result runs there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.release import ReleaseError

NEWEST_GLIBC = (2, 28)
OLDEST_MYPY = (1, 20)  # the first whose mypyc knows acyclic classes
_NEEDED = re.compile(rb"GLIBC_(\d+)\.(\d+)")


def obstacle(python_version: str, architecture: str) -> str:
    """Return why nothing can be compiled here for that kind of host, and what to do; empty when it can."""
    own_version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if platform.machine() != architecture:
        return f"this controller is {platform.machine()} and the host {architecture}; run Ansible on one like the host"
    if own_version != python_version:
        return (
            f"Ansible runs on Python {own_version} here and the host has {python_version}; run Ansible on that version"
        )
    if importlib.util.find_spec("mypyc") is None:
        return f"{sys.executable} has no mypyc; install mypy there"
    mypy_version = importlib.metadata.version("mypy")
    if tuple(int(part) for part in mypy_version.split(".")[:2]) < OLDEST_MYPY:
        return f"{sys.executable} has mypy {mypy_version}; install {OLDEST_MYPY[0]}.{OLDEST_MYPY[1]} or newer there"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"this controller has no C compiler {compiler}; install it (Debian: gcc)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return f"this controller has no headers of Python {own_version}; install them (Debian: python3-dev)"
    return ""


def check_compiled(wheel: Path) -> None:
    """Raise ReleaseError unless the wheel holds compiled modules that run with every supported host's C library."""
    with zipfile.ZipFile(wheel) as archive:
        modules = [archive.read(name) for name in archive.namelist() if name.endswith(".so")]
    if not modules:
        raise ReleaseError(f"{wheel.name} was to be compiled and is not: its project knows no TRADING_ENGINE_COMPILED")
    versions = [(int(major), int(minor)) for module in modules for major, minor in _NEEDED.findall(module)]
    needed = max(versions, default=NEWEST_GLIBC)
    if needed > NEWEST_GLIBC:
        raise ReleaseError(
            f"compiled here, {wheel.name} needs glibc {needed[0]}.{needed[1]}, which hosts may not have; "
            "compile it on an older distribution, or set trading_engine_compiled to never"
        )
