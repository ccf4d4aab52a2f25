"""Object names with all information: the host may not list or read its objects, and the reader needs no index.

A series is self-contained: it begins with a snapshot (or the journal's first segment) and contains everything after it,
in order. It also contains a little of the journal before its newest snapshot, so that a restore can check that
snapshot. plugins/module_utils/aws/journal_bucket.py reads these names.
"""

from datetime import UTC, datetime

MOST_PROVING = 4
"""The largest number of segments that are sent only to prove the snapshot after them; a restore replays no more."""
COMPLETE = "complete"
"""The empty object that marks a series as restorable: the series has caught up with the host once."""


def host_prefix(user_id: str, host: str) -> str:
    """Return the prefix of all objects of a host: AWS lets a host write only below the id of its own session."""
    return f"hosts/{user_id}/{host}/"


def series(begun_s: float) -> str:
    """Return the name of the series that begins now; later ones sort after it."""
    return f"{datetime.fromtimestamp(begun_s, UTC):%Y%m%dT%H%M%S.%fZ}"


def of_range(segment: int, start: int, end: int, digest: str) -> str:
    """Return the name of the object with the bytes from `start` to `end` of a segment."""
    return f"journal/{segment:012d}/{start:012d}-{end:012d}.{digest}"


def of_seal(segment: int, end: int, size: int, digest: str) -> str:
    """Return the name of the empty object that ends a segment: after `end`, the segment is zeros up to its size."""
    return f"journal/{segment:012d}/sealed-{end:012d}-{size:012d}.{digest}"


def of_snapshot(segment: int, digest: str) -> str:
    """Return the name of the snapshot before a segment's first record."""
    return f"snapshot/{segment:012d}.{digest}"


def of_file(path: str, changed_s: float, digest: str) -> str:
    """Return the name of a configuration file as it was at that time."""
    return f"file/{series(changed_s)}.{digest}{path}"
