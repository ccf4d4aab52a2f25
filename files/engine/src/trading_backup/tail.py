"""The journal's segments as another process sees them while the engine writes."""

import os
from collections.abc import Iterator
from pathlib import Path

PAGE_BYTES = 4096
READ_BYTES = 1 << 20


def segments(directory: Path) -> list[int]:
    """Return the numbers of the present segments, in order; raises OSError.

    All but the last are final.
    """
    return _numbers(directory, ".journal")


def snapshots(directory: Path) -> list[int]:
    """Return the numbers of the present snapshots, in order; raises OSError."""
    return _numbers(directory, ".snapshot")


def _numbers(directory: Path, suffix: str) -> list[int]:
    # A glob would silently find nothing in a directory that is missing or may not be read.
    stems = (name.removesuffix(suffix) for name in os.listdir(directory) if name.endswith(suffix))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def end_of_data(descriptor: int, start: int) -> int:
    """Return the offset after the last byte that is not zero, at least `start`; raises OSError.

    A segment is preallocated: records, then zeros. The records are written in order, so bisection finds the first page
    of zeros. Every byte before that end was written earlier, so a later read gets it whole.
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
    """Yield the bytes from `start` to `end`; raises OSError, also when the file is shorter."""
    while start < end:
        data = os.pread(descriptor, min(READ_BYTES, end - start), start)
        if not data:
            raise OSError(f"the file ends at {start}, before {end}")
        yield data
        start += len(data)
