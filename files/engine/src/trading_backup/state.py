"""The record of what was sent, on the host's disk, and the shipper's status for telemetry."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Sent:
    """The progress of a series, which begins with segment `first`.

    Segments before `needed` only prove its newest snapshot. The digest covers the current segment's sent bytes: a
    restart compares them.
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
    """The status for telemetry. Times are those of the wall clock."""

    looked_s: float
    rpo_seconds: int
    backlog_bytes: int
    oldest_unsent_seconds: float
    lost_segments: int
    lost_s: float
    objects: int
    error: str


def load(path: Path) -> Sent:
    """Return the record of what was sent. Without a valid file it is empty, and a new series begins."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        sent = Sent(**found)
    except (OSError, ValueError, TypeError):
        return Sent()
    same = all(isinstance(value, type(vars(sent)[name])) for name, value in vars(Sent()).items() if name != "files")
    return sent if same and isinstance(sent.files, dict) else Sent()


def keep(path: Path, what: Sent | Status) -> None:
    """Write the record completely or not at all; raises OSError."""
    part = path.with_name(f".{path.name}")
    part.write_text(json.dumps(asdict(what)), encoding="utf-8")
    os.replace(part, path)


def forget(path: Path) -> None:
    """Remove the status of a shipper that ends."""
    with contextlib.suppress(OSError):
        path.unlink()
