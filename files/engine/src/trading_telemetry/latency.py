"""Average and percentiles of the latencies in a histogram. The page, /latest and /metrics show these figures."""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil

from trading_engine.published.histogram import LOWEST_NS, Distribution, middle_ns

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
CURVE = (0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.995, 99.999, 100.0)


@dataclass(frozen=True)
class Latency:
    """The latencies that a histogram has counted, prepared for the computation of percentiles."""

    below: list[int]
    """For each bucket, the number of latencies in this bucket and all lower ones."""
    total_ns: int
    maximum_ns: int

    @classmethod
    def of(cls, distribution: Distribution) -> "Latency":
        return cls(list(accumulate(distribution.counts)), distribution.total_ns, distribution.maximum_ns)

    @property
    def count(self) -> int:
        return self.below[-1]

    def percentile_us(self, percent: float) -> float:
        """Return a percentile of the latencies in µs. The histogram must contain at least one latency.

        The result is within 0.8 % of the true value, because it is the middle of a bucket.
        """
        bucket = bisect_left(self.below, max(ceil(self.count * percent / 100), 1))
        return min(middle_ns(bucket), max(self.maximum_ns, LOWEST_NS)) / 1e3

    @cached_property
    def figures_us(self) -> dict[str, float]:
        """The figures avg, p50, p95, p99 and p999 by name, in µs. Without a latency this is {}."""
        if not self.count:
            return {}
        figures = {name: self.percentile_us(percent) for name, percent in PERCENTILES.items()}
        return {"avg": self.total_ns / self.count / 1e3, **figures}

    @cached_property
    def curve_us(self) -> list[tuple[float, float]]:
        """Pairs of a percentile and its latency in µs, for a chart. Without a latency this is []."""
        return [(percent, self.percentile_us(percent)) for percent in CURVE] if self.count else []
