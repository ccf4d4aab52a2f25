# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that read, compare and write the values in /proc/sys and /sys, for the tuning modules."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning import cpuset
from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError


def path_of(name: str) -> str:
    """Return the absolute path of a sysctl key. A path below /sys is returned unchanged.

    The key is read as in sysctl.d(5). If its first separator is a dot, dots separate its parts. A slash then stands for
    a dot. Raises TuningError when the path would be outside /proc/sys and /sys.
    """
    if name.startswith("/"):
        if not name.startswith("/sys/") or ".." in name.split("/"):
            raise TuningError(f"tunable '{name}': a path must be below /sys and without '..'")
        return name
    separator = next((character for character in name if character in "./"), "")
    parts = name.translate(str.maketrans("./", "/.")) if separator == "." else name
    if not separator or any(part in ("", ".", "..") for part in parts.split("/")):
        raise TuningError(f"tunable '{name}' is not a sysctl key such as vm.swappiness, nor a path below /sys")
    return f"/proc/sys/{parts}"


def under(root: Path, path: str) -> Path:
    """Return the path at which a file of the host is found when the host's root directory is `root`."""
    return root / path.lstrip("/")


class RefusedError(Exception):
    """The kernel refused to set a value. The message has the kernel's error."""


class Files:
    """The kernel's files below a root directory. The class has the methods of settings.Store. Paths are absolute."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> str | None:
        """Return the value in comparable form, or None when the file does not exist or cannot be read."""
        try:
            text = under(self._root, path).read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return None
        return canonical(path, text)

    def write(self, path: str, value: str) -> None:
        """Write one value in one system call, as these files require.

        Raises RefusedError when the kernel refuses the value.
        """
        try:
            descriptor = os.open(under(self._root, path), os.O_WRONLY | os.O_TRUNC)
            try:
                os.write(descriptor, f"{value}\n".encode(errors="surrogateescape"))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RefusedError(_explain(error)) from error

    def refusal(self, path: str) -> str:
        """Return why the file cannot be opened for writing, or an empty text when it can. Nothing is written."""
        try:
            os.close(os.open(under(self._root, path), os.O_WRONLY))
        except OSError as error:
            return _explain(error)
        return ""


def _explain(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "error")
    return f"{name}: {os.strerror(error.errno or 0)}"


def canonical(path: str, text: str) -> str:
    """Return a value in comparable form.

    Of a choice such as "always [madvise] never" the word in brackets is returned. Padding is removed from CPU masks and
    lists. In other values each run of blanks becomes a single blank.
    """
    words = text.split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    if chosen:
        return chosen[0]
    value = " ".join(words)
    try:
        if path.endswith(("cpumask", "smp_affinity")):
            return cpuset.mask(cpuset.parse_mask(value))
        if path.endswith("_list"):
            return cpuset.render(cpuset.parse(value))
    except ValueError:
        return value
    return value
