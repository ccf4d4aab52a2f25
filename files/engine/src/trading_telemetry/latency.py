"""A window's latencies as figures, which all views show."""

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
    """Cumulative counts, up to and with each of the histogram's buckets; all figures follow from them."""

    below: list[int]
    total_ns: int
    maximum_ns: int

    @classmethod
    def of(cls, distribution: Distribution) -> "Latency":
        return cls(list(accumulate(distribution.counts)), distribution.total_ns, distribution.maximum_ns)

    @property
    def count(self) -> int:
        return self.below[-1]

    def percentile_us(self, percent: float) -> float:
        """Return the middle of the percentile's bucket, within 0.8 %. There must be at least one count."""
        bucket = bisect_left(self.below, max(ceil(self.count * percent / 100), 1))
        return min(middle_ns(bucket), max(self.maximum_ns, LOWEST_NS)) / 1e3

    @cached_property
    def figures_us(self) -> dict[str, float]:
        """Return avg, p50, p95, p99 and p999; empty without a count."""
        if not self.count:
            return {}
        figures = {name: self.percentile_us(percent) for name, percent in PERCENTILES.items()}
        return {"avg": self.total_ns / self.count / 1e3, **figures}

    @cached_property
    def curve_us(self) -> list[tuple[float, float]]:
        """Return percentiles and latencies for a drawing; empty without a count."""
        return [(percent, self.percentile_us(percent)) for percent in CURVE] if self.count else []
