# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that store a host's original values, as JSON on the host, from the tuning until the values are restored."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from pathlib import Path

from ansible_collections.lowlatency.trading.plugins.module_utils.tuning.errors import TuningError

DIRECTORY = "/var/lib/os-tuning"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Touch:
    """One value that tuning changed.

    It has the original, the wanted and the resulting value, and the write that restores the original value.
    """

    path: str
    previous: str
    asked: str
    ours: str
    restore_path: str
    restore_value: str


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A value that the kernel rejected or ignored. Check mode predicts from it that the kernel would do so again."""

    value: str
    status: str
    reason: str


@dataclasses.dataclass
class Record:
    """All values that one module changed on a host (`touched`), and all that the kernel rejected (`rejected`).

    The keys are the names of the values.
    """

    touched: dict[str, Touch] = dataclasses.field(default_factory=dict)
    rejected: dict[str, Rejection] = dataclasses.field(default_factory=dict)

    def copy(self) -> Record:
        return Record(dict(self.touched), dict(self.rejected))


def load(path: Path) -> Record:
    """Return the stored record, or an empty record without a file. Raises TuningError for a malformed file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} instead of {VERSION}")
        return Record(
            {name: Touch(**entry) for name, entry in document["touched"].items()},
            {name: Rejection(**entry) for name, entry in document["rejected"].items()},
        )
    except FileNotFoundError:
        return Record()
    except OSError as error:
        raise TuningError(f"{path}: cannot be read ({error.strerror}); nothing was changed") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TuningError(
            f"{path}: is damaged ({error}); nothing was changed. It holds the host's values from before tuning: "
            "restore it from a backup, or move it away to take today's values as the original ones"
        ) from error


def save(path: Path, record: Record) -> None:
    """Write the record to its file, or remove the file when the record is empty.

    Raises TuningError when the file cannot be written or removed.
    """
    if not record.touched and not record.rejected:
        place_record(path, "")
        return
    document = {
        "version": VERSION,
        "touched": {name: dataclasses.asdict(touch) for name, touch in sorted(record.touched.items())},
        "rejected": {name: dataclasses.asdict(entry) for name, entry in sorted(record.rejected.items())},
    }
    place_record(path, json.dumps(document, indent=1) + "\n")


def place_record(path: Path, text: str) -> None:
    """Write a record's file, or remove it when the text is empty.

    When the removed file was the last one in its directory, the directory is removed as well. Raises TuningError when
    that fails.
    """
    if place_file(path, text) and not text:
        with contextlib.suppress(OSError):  # other modules' records are still in it
            path.parent.rmdir()


def write_file(path: Path, text: str, mode: int = 0o644) -> bool:
    """Write a file atomically and flush it to disk. Return whether its content changed.

    Raises TuningError when the file cannot be written.
    """
    content = text.encode(errors="surrogateescape")
    temporary = None
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise TuningError(f"{path}: cannot be written ({error.strerror})") from error
    return True


def read_file(path: Path) -> str:
    """Return a file's text, or an empty text without a file. Raises TuningError for an unreadable file.

    Bytes that are not UTF-8 are kept, so that `write_file` can write the same bytes.
    """
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise TuningError(f"{path}: cannot be read ({error.strerror})") from error


def place_file(path: Path, text: str) -> bool:
    """Write the file, or remove it when the text is empty. Return whether anything changed.

    Raises TuningError when that fails.
    """
    return write_file(path, text) if text else remove(path)


def remove(path: Path) -> bool:
    """Remove a file if it exists. Return whether it existed. Raises TuningError when it cannot be removed."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TuningError(f"{path}: cannot be removed ({error.strerror})") from error
    return True
