"""A histogram of durations from 1 µs to 68 s.

Each doubling of the duration (octave) is divided into 64 buckets of equal width. So the middle of a bucket differs from
each duration in it by at most 0.8 %. Durations under 1,024 ns count in the first bucket, and those over 68 s in the
last. The longest duration, `maximum_ns`, is exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OCTAVES: Final = 26
BUCKETS_PER_OCTAVE: Final = 64
BUCKETS: Final = OCTAVES * BUCKETS_PER_OCTAVE
LOWEST_NS: Final = 1024
HIGHEST_NS: Final = (LOWEST_NS << OCTAVES) - 1


def bucket_of(duration_ns: int) -> int:
    """Return the index of the bucket that counts `duration_ns`."""
    if duration_ns < LOWEST_NS:
        return 0
    if duration_ns > HIGHEST_NS:
        return BUCKETS - 1
    bits = duration_ns.bit_length()
    return ((bits - 11) << 6) + (duration_ns >> (bits - 7)) - BUCKETS_PER_OCTAVE


def lower_bound_ns(bucket: int) -> int:
    """Return the smallest duration that `bucket` counts. The first bucket also counts everything below it."""
    octave, step = divmod(bucket, BUCKETS_PER_OCTAVE)
    return (BUCKETS_PER_OCTAVE + step) << (octave + 4)


def middle_ns(bucket: int) -> float:
    """Return the middle between the bounds of `bucket`."""
    return (lower_bound_ns(bucket) + lower_bound_ns(bucket + 1)) / 2


class Histogram:
    """The histogram that the engine writes. It is never reset: readers subtract two readings to get a period."""

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * BUCKETS))
        self.total_ns = 0
        self.maximum_ns = 0

    def record(self, duration_ns: int, times: int = 1) -> None:
        """Record that a duration occurred `times` times.

        The engine calls this twice for each read of a socket. So the code of `bucket_of` is repeated here instead of a
        call, which saves a third of the time.
        """
        if duration_ns < LOWEST_NS:
            bucket = 0
            duration_ns = max(duration_ns, 0)
        elif duration_ns > HIGHEST_NS:
            bucket = BUCKETS - 1
        else:
            bits = duration_ns.bit_length()
            bucket = ((bits - 11) << 6) + (duration_ns >> (bits - 7)) - BUCKETS_PER_OCTAVE
        self.counts[bucket] += times
        self.total_ns += duration_ns * times
        if duration_ns > self.maximum_ns:
            self.maximum_ns = duration_ns


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram as readers get it: the count of each bucket, the sum of all durations, and the longest duration."""

    counts: Sequence[int]
    total_ns: int
    maximum_ns: int

    @property
    def count(self) -> int:
        return sum(self.counts)

    def since(self, earlier: Distribution) -> Distribution:
        """Return the distribution of what was recorded after the earlier reading `earlier`.

        Only `maximum_ns` covers the whole time since the start.
        """
        return Distribution(
            [now - before for now, before in zip(self.counts, earlier.counts, strict=True)],
            self.total_ns - earlier.total_ns,
            self.maximum_ns,
        )
