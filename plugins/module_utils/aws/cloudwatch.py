# Copyright: lowlatency.trading contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Functions that compare CloudWatch alarms and check dashboards.

The modules cloudwatch_alarms and cloudwatch_dashboard use them. The functions take and return structures of the API,
and send no requests. Sources: CloudWatch API reference, PutMetricAlarm, PutCompositeAlarm and "Dashboard body structure
and syntax".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GRID_COLUMNS = 24
GRID_HEIGHT_MAX = 1000

# The default values of PutMetricAlarm's parameters. DescribeAlarms returns such a value, or omits the parameter.
_ALARM_DEFAULTS: dict[str, Any] = {
    "ActionsEnabled": True,
    "AlarmActions": [],
    "OKActions": [],
    "InsufficientDataActions": [],
    "Dimensions": [],
    "Metrics": [],
    "TreatMissingData": "missing",
    "AlarmDescription": "",
}
_METRIC_ALARM_KEYS = (
    "AlarmName",
    "AlarmDescription",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "ExtendedStatistic",
    "Period",
    "Unit",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "EvaluateLowSampleCountPercentile",
    "Metrics",
)
_COMPOSITE_ALARM_KEYS = (
    "AlarmName",
    "AlarmDescription",
    "AlarmRule",
    "ActionsSuppressor",
    "ActionsSuppressorWaitPeriod",
    "ActionsSuppressorExtensionPeriod",
    "ActionsEnabled",
    "OKActions",
    "AlarmActions",
    "InsufficientDataActions",
)


def _normal(alarm: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the alarm's settings in comparable form. Settings that the alarm lacks get their default.

    A list is sorted when its order has no meaning.
    """
    normal = {}
    for key in keys:
        value = alarm.get(key)
        if value is None:
            value = _ALARM_DEFAULTS.get(key)
        if value is None or value == "":
            continue
        if key == "Dimensions":
            value = sorted(value, key=lambda dimension: dimension["Name"])
        elif key.endswith("Actions"):
            value = sorted(value)
        elif key == "Threshold":
            value = float(value)
        normal[key] = value
    return normal


def settings(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alarm's settings in comparable form.

    ``alarm`` is an alarm that a user wants, or one that DescribeAlarms returned. An alarm with an AlarmRule is a
    composite alarm, and any other alarm is a metric alarm.
    """
    return _normal(alarm, _COMPOSITE_ALARM_KEYS if alarm.get("AlarmRule") else _METRIC_ALARM_KEYS)


@dataclass(frozen=True)
class AlarmPlan:
    """The changes to make: alarms to put, and names of alarms to delete.

    A composite alarm is put after the alarms that its rule names, and deleted before them.
    """

    put: list[dict[str, Any]]
    put_composite: list[dict[str, Any]]
    delete_composite: list[str]
    delete: list[str]


def plan_alarms(wanted: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]) -> AlarmPlan:
    """Return the changes that turn the ``current`` alarms into exactly the ``wanted`` ones."""
    there = {alarm["AlarmName"]: settings(alarm) for alarm in current}
    asked = {alarm["AlarmName"]: settings(alarm) for alarm in wanted}
    put = [alarm for name, alarm in asked.items() if there.get(name) != alarm]
    delete = sorted(set(there) - set(asked))
    return AlarmPlan(
        put=[alarm for alarm in put if "AlarmRule" not in alarm],
        put_composite=[alarm for alarm in put if "AlarmRule" in alarm],
        # Delete an alarm before its suppressor: CloudWatch refuses to delete a suppressor that an alarm still names.
        delete_composite=sorted(
            (name for name in delete if "AlarmRule" in there[name]),
            key=lambda name: "ActionsSuppressor" not in there[name],
        ),
        delete=[name for name in delete if "AlarmRule" not in there[name]],
    )


def _overlap(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return bool(
        first["x"] < second["x"] + second["width"]
        and second["x"] < first["x"] + first["width"]
        and first["y"] < second["y"] + second["height"]
        and second["y"] < first["y"] + first["height"]
    )


def _title(index: int, widget: Mapping[str, Any]) -> str:
    return f"widget {index} ({widget.get('properties', {}).get('title', widget.get('type', 'no type'))})"


def dashboard_problems(body: Mapping[str, Any], region: str) -> Iterator[str]:
    """Yield one sentence for each fault of a dashboard's body.

    The faults are widgets off the grid, widgets that overlap, and metrics of another region. CloudWatch accepts a body
    with such faults without an error, but displays it differently.
    """
    widgets = body.get("widgets")
    if not isinstance(widgets, list):
        yield "the body has no list of widgets"
        return
    placed: list[tuple[int, Mapping[str, Any]]] = []
    for index, widget in enumerate(widgets):
        title = _title(index, widget)
        place = [widget.get(key) for key in ("x", "y", "width", "height")]
        if not all(isinstance(value, int) for value in place):
            yield f"{title}: x, y, width and height are not all whole numbers"
            continue
        x, y, width, height = place
        if x < 0 or y < 0 or width < 1 or height < 1 or x + width > GRID_COLUMNS or height > GRID_HEIGHT_MAX:
            yield f"{title}: is not inside the grid of {GRID_COLUMNS} columns"
        for other_index, other in placed:
            if _overlap(widget, other):
                yield f"{title}: covers {_title(other_index, other)}"
        placed.append((index, widget))
        shown_in = widget.get("properties", {}).get("region")
        if widget.get("type") == "metric" and shown_in != region:
            yield f"{title}: shows region {shown_in}, the dashboard is for {region}"
