"""A model of how CloudWatch evaluates alarms, minute by minute. The AWS emulator moto does not evaluate alarms.

The model follows these pages of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/: alarm-evaluation.html
(states, periods), alarms-and-missing-data.html (how missing data points are treated), Create_Composite_Alarm.html
(rules) and Create_Composite_Alarm_Suppression.html (WaitPeriod, ExtensionPeriod).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# CloudWatch reads more data points than an alarm requires. In the guide's table, it reads five for an alarm that
# requires three.
_LOOKED_BACK = 2
_WORD = re.compile(r'\s*(AND|OR|NOT|\(|\)|(ALARM|OK|INSUFFICIENT_DATA)\(\s*"?([^")]+)"?\s*\))')
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
_BREACHES: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "SampleCount": len,
    "Minimum": min,
    "Maximum": max,
}


@dataclass(frozen=True)
class Notice:
    """A message to an alarm's subscribers: its minute, the alarm's name without prefix, and the alarm's new state."""

    minute: int
    alarm: str
    state: str


@dataclass
class Watch:
    """Evaluates alarms from the minute of their creation on, and collects the notices that they send.

    Each alarm in `alarms` has the form of the parameters of PutMetricAlarm or PutCompositeAlarm. An alarm from the
    answer of DescribeAlarms is accepted as well.
    """

    alarms: Iterable[Mapping[str, Any]]
    minute: int = 0
    states: dict[str, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._metric = [alarm for alarm in self.alarms if not alarm.get("AlarmRule")]
        self._composite = [alarm for alarm in self.alarms if alarm.get("AlarmRule")]
        self.states = {alarm["AlarmName"]: "INSUFFICIENT_DATA" for alarm in self.alarms}
        self._data: dict[str, tuple[list[int], list[float]]] = {}  # by metric: the minutes and the values
        self._waiting: dict[str, tuple[str, int]] = {}  # by alarm: its state before, and when its wait ends
        self._follow()

    def pass_minute(self, data: Mapping[str, float]) -> None:
        """Advance the time by a minute, and then evaluate the alarms, one after the other.

        `data` has the values of metrics in this minute.
        """
        self.minute += 1
        for metric, value in data.items():
            minutes, values = self._data.setdefault(metric, ([], []))
            minutes.append(self.minute)
            values.append(value)
        for alarm in self._metric:
            before = self.states[alarm["AlarmName"]]
            after = _judged(alarm, self._points(alarm), before)
            if after != before:  # otherwise no composite alarm can change
                self._change(alarm, after)
                self._follow()
        self._stop_waiting()

    def _points(self, alarm: Mapping[str, Any]) -> list[float | None]:
        """Return the data points that the evaluation of the alarm uses, newest first. A missing data point is None."""
        length, (minutes, values) = alarm["Period"] // 60, self._data.get(alarm["MetricName"], ([], []))
        points: list[float | None] = []
        for number in range(alarm["EvaluationPeriods"] + _LOOKED_BACK):
            after = self.minute - number * length + 1
            taken = values[bisect_left(minutes, after - length) : bisect_left(minutes, after)]
            points.append(_statistic(alarm, taken) if taken else None)
        return points

    def _follow(self) -> None:
        """Set the state of each composite alarm by the alarm's rule. Repeat this until no state changes."""
        before: dict[str, str] = {}
        while before != self.states:
            before = dict(self.states)
            for alarm in self._composite:
                self._change(alarm, "ALARM" if _holds(alarm["AlarmRule"], self.states) else "OK")

    def _change(self, alarm: Mapping[str, Any], state: str) -> None:
        name = alarm["AlarmName"]
        before, self.states[name] = self.states[name], state
        if state == before:
            return
        if not alarm.get("ActionsSuppressor"):
            self._act(alarm)
        elif name in self._waiting and self._waiting[name][0] == state:
            del self._waiting[name]  # the state returned before a notice was due
        else:
            self._waiting.setdefault(name, (before, self.minute + alarm["ActionsSuppressorWaitPeriod"] // 60))

    def _stop_waiting(self) -> None:
        for alarm in self._composite:
            name = alarm["AlarmName"]
            if name not in self._waiting:
                continue
            before, until = self._waiting[name]
            if self.states[alarm["ActionsSuppressor"]] == "ALARM":
                self._waiting[name] = (before, self.minute + alarm["ActionsSuppressorExtensionPeriod"] // 60)
            elif self.minute >= until:
                del self._waiting[name]
                self._act(alarm)

    def _act(self, alarm: Mapping[str, Any]) -> None:
        state = self.states[alarm["AlarmName"]]
        if any(":sns:" in action for action in alarm.get(_ACTIONS[state]) or []):
            self.notices.append(Notice(self.minute, alarm["AlarmName"].rpartition("/")[2], state))


def _statistic(alarm: Mapping[str, Any], values: list[float]) -> float:
    if alarm.get("ExtendedStatistic"):
        return max(values)
    return _STATISTICS[alarm["Statistic"]](values)


def _judged(alarm: Mapping[str, Any], points: list[float | None], state: str) -> str:
    """Return the alarm's new state by the table in alarms-and-missing-data.html.

    When there are enough real data points, only these count. When there are too few, the alarm's setting
    TreatMissingData decides how the missing ones count.
    """
    wanted = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm") or wanted
    breaches = _BREACHES[alarm["ComparisonOperator"]]
    real = [breaches(point, alarm["Threshold"]) for point in points if point is not None][:wanted]
    treatment = alarm.get("TreatMissingData", "missing")
    if len(real) < wanted and treatment in ("missing", "ignore") and all(real):
        return state if treatment == "ignore" else "ALARM" if real else "INSUFFICIENT_DATA"
    filled = real + [treatment == "breaching"] * (wanted - len(real))
    return "ALARM" if sum(filled) >= needed else "OK"


def _holds(rule: str, states: Mapping[str, str]) -> bool:
    """Return whether a composite alarm's rule is true. NOT is evaluated before AND, and AND before OR."""
    words = [(word, state, name) for word, state, name in _WORD.findall(rule)]
    assert "".join(word for word, _, _ in words) == re.sub(r"\s+", "", rule), f"not understood: {rule}"

    def either() -> bool:
        held = both()
        while words and words[0][0] == "OR":
            words.pop(0)
            held = both() or held
        return held

    def both() -> bool:
        held = one()
        while words and words[0][0] == "AND":
            words.pop(0)
            held = one() and held
        return held

    def one() -> bool:
        word, state, name = words.pop(0)
        if word == "NOT":
            return not one()
        if word == "(":
            held = either()
            assert words.pop(0)[0] == ")", rule
            return held
        return bool(states[name] == state)

    return either()
