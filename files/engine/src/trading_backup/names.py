"""The names of the objects in the backup bucket.

The names hold all information that a restore needs about the objects. So no index is needed. A host could not update an
index anyway, because it may not read or list objects.

The objects form series. Each series suffices for a restore: it begins with a snapshot, or with the journal's first
segment, and contains all later data. If possible it begins a few segments before its newest snapshot. A restore can
then check the snapshot by a replay of these segments. The names are read by plugins/module_utils/aws/journal_bucket.py.
"""

from datetime import UTC, datetime

MOST_PROVING = 4
"""At most so many segments are sent only to check the snapshot after them. A restore has to replay them."""
COMPLETE = "complete"
"""The name of an empty object. It means that the series once had all of the host's data: a restore can use it."""


def host_prefix(user_id: str, host: str) -> str:
    """Return the beginning of the names of all objects of a host.

    The bucket's policy allows a host only names with its `user_id`.
    """
    return f"hosts/{user_id}/{host}/"


def series(begun_s: float) -> str:
    """Return the name of a series that begins at the Unix time `begun_s`. Names of later series sort after it."""
    return f"{datetime.fromtimestamp(begun_s, UTC):%Y%m%dT%H%M%S.%fZ}"


def of_range(segment: int, start: int, end: int, digest: str) -> str:
    """Return the name of the object with the bytes of a segment from offset `start` up to but excluding `end`."""
    return f"journal/{segment:012d}/{start:012d}-{end:012d}.{digest}"


def of_seal(segment: int, end: int, size: int, digest: str) -> str:
    """Return the name of the empty object that marks a segment of the journal as complete.

    The segment has `size` bytes. Its bytes from offset `end` on are zeros. `digest` is that of the bytes before `end`.
    """
    return f"journal/{segment:012d}/sealed-{end:012d}-{size:012d}.{digest}"


def of_snapshot(segment: int, digest: str) -> str:
    """Return the name of a snapshot's object. The snapshot has the engine's state before the segment's first record."""
    return f"snapshot/{segment:012d}.{digest}"


def of_file(path: str, changed_s: float, digest: str) -> str:
    """Return the name of the object with a configuration file. `path` is the file's path.

    The file had this content at the Unix time `changed_s`.
    """
    return f"file/{series(changed_s)}.{digest}{path}"
