"""moto's CloudWatch lacks composite alarms, notifications of topics, and the history of alarms.

This patch corrects that.
"""

import json
import re
from typing import Any

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm, CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.sns.models import sns_backends

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

_NAME_IN_RULE = re.compile(r'(?:ALARM|OK|INSUFFICIENT_DATA)\("?([^")]+)"?\)')


def install(hooks: Hooks) -> None:
    """Add composite alarms, notifications of topics, and the history of alarms to moto in this process.

    A second call changes nothing more.
    """
    if hasattr(CloudWatchResponse, "put_composite_alarm"):
        return
    _take_composite_alarms()
    _keep_alarms_that_others_stand_on()
    _notify_topics()
    _tell_history()


def _rule_names(rule: str) -> set[str]:
    return set(_NAME_IN_RULE.findall(rule))


def _take_composite_alarms() -> None:
    """Accept composite alarms. moto reads their rule, but then answers that the action is not implemented."""

    def put_composite_alarm(self: CloudWatchResponse) -> ActionResult:
        rule = self._get_param("AlarmRule") or ""
        suppressor = self._get_param("ActionsSuppressor")
        named = _rule_names(rule) | ({suppressor} if suppressor else set())
        unknown = named - set(self.cloudwatch_backend.alarms)
        if unknown or not _rule_names(rule):
            raise ValidationError(f"Could not save the composite alarm as alarms in the rule do not exist: {unknown}")
        answer: ActionResult = self.put_metric_alarm()
        alarm: Any = self.cloudwatch_backend.alarms[self._get_param("AlarmName")]
        alarm.actions_suppressor = suppressor
        alarm.actions_suppressor_wait_period = self._get_param("ActionsSuppressorWaitPeriod")
        alarm.actions_suppressor_extension_period = self._get_param("ActionsSuppressorExtensionPeriod")
        return answer

    setattr(CloudWatchResponse, "put_composite_alarm", put_composite_alarm)  # noqa: B010  moto does not declare it


def _keep_alarms_that_others_stand_on() -> None:
    """Refuse to delete an alarm that a composite alarm names. moto deletes it."""
    delete = CloudWatchBackend.delete_alarms

    def delete_alarms(self: CloudWatchBackend, alarm_names: list[str]) -> None:
        others: list[Any] = [alarm for name, alarm in self.alarms.items() if alarm.rule and name not in alarm_names]
        for name in alarm_names:
            if any(name in {*_rule_names(one.rule), one.actions_suppressor} for one in others):
                raise ValidationError(f"Cannot delete {name} as there are composite alarm(s) depending on it.")
        delete(self, alarm_names)

    replace(CloudWatchBackend, "delete_alarms", delete_alarms)


def _notify_topics() -> None:
    """Send a message to an alarm's topics when its state changes. moto does not run actions of alarms."""
    update = Alarm.update_state

    def update_state(self: Alarm, reason: str, reason_data: str, state_value: str) -> None:
        before = self.state_value
        update(self, reason, reason_data, state_value)
        actions: dict[str, list[str]] = {
            "ALARM": self.alarm_actions,
            "OK": self.ok_actions,
            "INSUFFICIENT_DATA": self.insufficient_data_actions,
        }
        if self.actions_enabled and state_value != before:
            for arn in actions[state_value]:
                if ":sns:" in arn:
                    _publish(arn, self, before)

    replace(Alarm, "update_state", update_state)


def _publish(arn: str, alarm: Alarm, before: str) -> None:
    _, _, _, region, account, _ = arn.split(":", 5)
    _history(alarm).insert(0, f"Successfully executed action {arn}")
    message = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "OldStateValue": before,
    }
    subject = f'{alarm.state_value}: "{alarm.name}"'[:100]
    sns_backends[account][region].publish(
        json.dumps(message), subject=subject, arn=arn, phone_number=None, message_attributes={}
    )


def _history(alarm: Alarm) -> list[str]:
    history: list[str] = alarm.__dict__.setdefault("actions_run", [])
    return history


def _tell_history() -> None:
    """Add DescribeAlarmHistory, which moto lacks. It returns one alarm's actions, newest first, and ignores dates."""

    def describe_alarm_history(self: CloudWatchResponse) -> ActionResult:
        name = self._get_param("AlarmName")
        alarm = self.cloudwatch_backend.alarms.get(name)
        items = [
            {"AlarmName": name, "Timestamp": utcnow(), "HistoryItemType": "Action", "HistorySummary": summary}
            for summary in (_history(alarm) if alarm else [])
        ]
        return ActionResult({"AlarmHistoryItems": items})

    setattr(CloudWatchResponse, "describe_alarm_history", describe_alarm_history)  # noqa: B010  moto does not declare it
