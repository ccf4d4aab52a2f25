"""The two files that the backup writes: the record of what was sent, and the status that telemetry reads."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Sent:
    """The record of what was sent of the current series.

    The series begins with segment `first`. Segments before `needed` only serve to check the snapshot after them.
    `segment` is the current segment, of which `sent_bytes` were sent. `sent_digest` is the SHA-256 of these bytes,
    which is compared with the file after a restart. All data up to the Unix time `clean_s` was sent. `lost_s` is the
    Unix time at which a loss of segments was last noticed. `lost_since_s` is the last time before that loss at which
    all data had been sent.
    """

    prefix: str = ""
    series: str = ""
    begun_s: float = 0.0
    complete: bool = False
    first: int = 0
    needed: int = 0
    segment: int = 0
    sent_bytes: int = 0
    sent_digest: str = ""
    snapshot: int = 0
    files: dict[str, str] = field(default_factory=dict)
    clean_s: float = 0.0
    lost_segments: int = 0
    lost_s: float = 0.0
    lost_since_s: float = 0.0


@dataclass(frozen=True)
class Status:
    """The status of the backup, which telemetry reads.

    `looked_s` is the Unix time of the last look for new data. `lost_s` is the Unix time of the last loss, or 0 without
    one.
    """

    looked_s: float
    rpo_seconds: int
    backlog_bytes: int
    oldest_unsent_seconds: float
    lost_segments: int
    lost_s: float
    objects: int
    error: str


def load(path: Path) -> Sent:
    """Return the record of what was sent, from the file `path`.

    Without a valid file the record is empty, so that a new series begins.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sent = Sent(**found)
    except (OSError, ValueError, TypeError):
        return Sent()
    same = all(isinstance(value, type(vars(sent)[name])) for name, value in vars(Sent()).items() if name != "files")
    return sent if same and isinstance(sent.files, dict) else Sent()


def keep(path: Path, what: Sent | Status) -> None:
    """Write a record or a status to the file `path`, completely or not at all. Raises OSError."""
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(asdict(what)), encoding="utf-8")
    os.replace(part, path)


def forget(path: Path) -> None:
    """Remove the status file when the backup ends. Errors are ignored."""
    with contextlib.suppress(OSError):
        path.unlink()
