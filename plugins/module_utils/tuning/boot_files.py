# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that write files which set kernel values at each boot, and find later files that set the same keys."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import kernelfs, undo
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

SYSCTL_FILE = "/etc/sysctl.d/95-os-tuning.conf"
# Directories in the order of precedence: of files with the same name, only the one in the first directory is read.
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
HEADER = "# Written by lowlatency.trading.os_tuning; changes are lost. untune.yml removes this file.\n"


def sysctl_text(values: dict[str, str]) -> str:
    """Return the text of a sysctl.d file that gives each key its value. Without values the text is empty."""
    return _text([f"{name} = {value}" for name, value in values.items()])


def tmpfiles_text(values: dict[str, str], may_fail: bool = False) -> str:
    """Return the text of a tmpfiles.d file that writes each value to its path or pattern of paths.

    Without values the text is empty. With `may_fail` the service that reads the file at boot succeeds even if a path
    refuses its value.
    """
    kind = "w-" if may_fail else "w"
    return _text([f"{kind} {path} - - - - {value}" for path, value in values.items()])


def _text(lines: list[str]) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines) if lines else ""


# One assignment in a later file: the file's name, the path of the key or a pattern of paths, and the value.
Assignment = tuple[str, str, str]


def overriding(later: list[Assignment], values: dict[str, str]) -> dict[str, str]:
    """Return one text for each key that a later file sets to another value: that file's name, and its value."""
    found: dict[str, str] = {}
    by_path = {kernelfs.path_of(name): name for name in values}
    for file, pattern, value in later:
        for path in fnmatch.filter(by_path, pattern):
            name = by_path[path]
            if kernelfs.canonical(path, value) != kernelfs.canonical(path, values[name]):
                found[name] = f"{file} sets {value}"
            else:
                found.pop(name, None)
    return found


def later_assignments(root: Path) -> list[Assignment]:
    """Return the assignments of files that are read after this collection's file, in the order of reading.

    Invalid lines are skipped, as at boot. Raises TuningError when a file cannot be read.
    """
    found = []
    for file in _later_files(root):
        for key, value in _assignments(file):
            with contextlib.suppress(TuningError):
                found.append((f"/{file.relative_to(root)}", kernelfs.path_of(key), value))
    return found


def _firewalls_file(root: Path) -> list[Path]:
    """Return a list with the file from which the firewall ufw sets kernel values at each start.

    ufw starts after all files of the boot are read. The list is empty when ufw is off; see ufw(8).
    """
    enabled = kernelfs.under(root, "/etc/ufw/ufw.conf"), r"^ENABLED=[\"']?yes"
    named = kernelfs.under(root, "/etc/default/ufw"), r"^IPT_SYSCTL=[\"']?(/[^\"'\s]+)"
    is_enabled, name = (re.search(pattern, undo.read_file(file), re.MULTILINE) for file, pattern in (enabled, named))
    return [kernelfs.under(root, name[1])] if is_enabled and name else []


def _later_files(root: Path) -> list[Path]:
    files: dict[str, Path] = {}
    for directory in SYSCTL_DIRECTORIES:
        for file in sorted(kernelfs.under(root, directory).glob("*.conf")):
            files.setdefault(file.name, file)
    own = SYSCTL_FILE.rpartition("/")[2]
    return [files[name] for name in sorted(files) if name > own] + _firewalls_file(root)


def _assignments(file: Path) -> list[tuple[str, str]]:
    if not file.is_file():  # such as a broken link, or a link to /dev/null
        return []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise TuningError(f"{file}: cannot be read ({error.strerror})") from error
    found = []
    for line in lines:
        key, equals, value = line.strip().partition("=")
        name = key.strip().lstrip("-").strip()
        if equals and name and name[0] not in "#;" and ("." in name or "/" in name) and not name.startswith("/"):
            found.append((name, " ".join(value.split())))
    return found
