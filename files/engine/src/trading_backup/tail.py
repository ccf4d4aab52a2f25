"""Functions that read the journal's segments while the engine, in another process, writes them."""

import os
from collections.abc import Iterator
from pathlib import Path

PAGE_BYTES = 4096
READ_BYTES = 1 << 20


def segments(directory: Path) -> list[int]:
    """Return the numbers of the segments in `directory` in increasing order. Raises OSError.

    The engine writes only to the last segment.
    """
    return _numbers(directory, ".journal")


def snapshots(directory: Path) -> list[int]:
    """Return the numbers of the snapshots in `directory` in increasing order. Raises OSError."""
    return _numbers(directory, ".snapshot")


def _numbers(directory: Path, suffix: str) -> list[int]:
    # Path.glob() is not used, because it raises nothing for a directory that is missing or may not be read.
    stems = (name.removesuffix(suffix) for name in os.listdir(directory) if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def end_of_data(descriptor: int, start: int) -> int:
    """Return the offset after the segment's last byte that is not zero, but at least `start`.

    A segment has its full size from the beginning: records, followed by zeros. The records are written in order, so
    that a binary search finds the first page of zeros. All bytes before the returned offset are final. Raises OSError
    when the segment cannot be read.
    """
    low, high = start // PAGE_BYTES, -(-os.fstat(descriptor).st_size // PAGE_BYTES)
    while low < high:
        middle = (low + high) // 2
        if os.pread(descriptor, PAGE_BYTES, middle * PAGE_BYTES).strip(b"\0"):
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return start
    at = (low - 1) * PAGE_BYTES
    return max(start, at + len(os.pread(descriptor, PAGE_BYTES, at).rstrip(b"\0")))


def chunks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes of a segment from offset `start` up to but excluding `end`, in pieces of at most READ_BYTES.

    Raises OSError when the bytes cannot be read, or when the file ends before `end`.
    """
    while start < end:
        data = os.pread(descriptor, min(READ_BYTES, end - start), start)
        if not data:
            raise OSError(f"the file ends at {start}, before {end}")
        yield data
        start += len(data)
