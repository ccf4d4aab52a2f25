"""What an object is, said by its name: the host may not list or read what it has put, and the reader needs no index.

A series is self-contained: it begins with a snapshot (or the journal's first segment) and has everything since, in
order. Before its newest snapshot it has a little of the journal more, so that a restore can prove that snapshot.
plugins/module_utils/aws/journal_bucket.py reads these names again.
"""

from datetime import UTC, datetime

MOST_PROVING = 4
"""So many segments at most are sent only for the proof of the snapshot after them; a restore replays no more."""
COMPLETE = "complete"
"""The empty object that says that a series has caught up with the host once: from then on it may be restored."""


def host_prefix(user_id: str, host: str) -> str:
    """Return below which a host puts everything: AWS lets it write below the id of its own session alone."""
    return f"hosts/{user_id}/{host}/"


def series(begun_s: float) -> str:
    """Return the name of the series that begins now; later ones sort after it."""
    return f"{datetime.fromtimestamp(begun_s, UTC):%Y%m%dT%H%M%S.%fZ}"


def of_range(segment: int, start: int, end: int, digest: str) -> str:
    """Return the name of the bytes from `start` to `end` of a segment."""
    return f"journal/{segment:012d}/{start:012d}-{end:012d}.{digest}"


def of_seal(segment: int, end: int, size: int, digest: str) -> str:
    """Return the name of the empty object that ends a segment: its bytes are those, and zeros up to its size."""
    return f"journal/{segment:012d}/sealed-{end:012d}-{size:012d}.{digest}"


def of_snapshot(segment: int, digest: str) -> str:
    """Return the name of the state before a segment's first record."""
    return f"snapshot/{segment:012d}.{digest}"


def of_file(path: str, changed_s: float, digest: str) -> str:
    """Return the name of a configuration file as it was from that time on."""
    return f"file/{series(changed_s)}.{digest}{path}"
