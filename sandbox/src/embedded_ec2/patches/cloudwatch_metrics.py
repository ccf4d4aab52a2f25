"""moto's CloudWatch returns no percentiles of metrics.

This patch corrects that.
"""

import math
import re
from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import Statistics

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")


def install(hooks: Hooks) -> None:
    """Make moto answer requests for percentiles in this process. A second call changes nothing more."""
    if Statistics.get_statistics_for_type.__module__ != __name__:
        _answer_percentiles()


def _answer_percentiles() -> None:
    """Return percentiles, such as p99 or p99.9, for metrics whose data are single values."""
    usual: Callable[..., Any] = Statistics.get_statistics_for_type

    def get_statistics_for_type(self: Statistics, stat: str) -> Any:
        percentile = _PERCENTILE.fullmatch(stat)
        if percentile is None:
            return usual(self, stat)
        if self.metric_aggregated_list:  # AWS has none either for values sent as StatisticValues
            return None
        values = sorted(self.metric_single_values_list)
        return values[max(math.ceil(len(values) * float(percentile[1]) / 100), 1) - 1]

    replace(Statistics, "get_statistics_for_type", get_statistics_for_type)
