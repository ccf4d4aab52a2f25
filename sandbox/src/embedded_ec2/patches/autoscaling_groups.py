"""moto changes Auto Scaling groups only within requests, and lacks hooks, health checks and refreshes.

This patch corrects that.
"""

from typing import Any

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.models import (
    Activity,
    AutoScalingBackend,
    FakeAutoScalingGroup,
    LifecycleHook,
)
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult, EmptyResult

from embedded_ec2 import groups
from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

_hooks = Hooks()


def install(hooks: Hooks) -> None:
    """Let the module embedded_ec2.groups manage the groups.

    Also answer requests about hooks, refreshes and activities.
    """
    global _hooks
    _hooks = hooks
    if FakeAutoScalingGroup.set_desired_capacity.__module__ == __name__:
        return
    _size_groups()
    _make_and_delete()
    _terminate()
    _take_hooks()
    _take_refreshes()
    _tell_activities()


def _look(group: FakeAutoScalingGroup, *, strict: bool = False) -> None:
    groups.look(group, _hooks.watcher.targets, strict=strict)


def _group(backend: AutoScalingBackend, name: str) -> FakeAutoScalingGroup:
    if name not in backend.autoscaling_groups:
        raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    return backend.autoscaling_groups[name]


def _member(backend: AutoScalingBackend, instance_id: str) -> groups.Member:
    for state in backend.describe_auto_scaling_instances([instance_id]):
        if isinstance(state, groups.Member):
            return state
    raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")


def _size_groups() -> None:
    """Let embedded_ec2.groups launch and terminate instances. Refuse a size outside the group's limits.

    moto launches and terminates instances once, within the request, and accepts any size.
    """

    def set_desired_capacity(self: FakeAutoScalingGroup, new_capacity: int | None) -> None:
        wanted = self.min_size if new_capacity is None else new_capacity
        for limit, what, exceeds in ((self.max_size, "above max", 1), (self.min_size, "below min", -1)):
            if limit is not None and wanted is not None and (wanted - limit) * exceeds > 0:
                raise ValidationError(
                    f"New SetDesiredCapacity value {wanted} is {what} value {limit} for the AutoScalingGroup."
                )
        with groups.lock:
            self.desired_capacity = wanted
            is_new = self.name not in self.autoscaling_backend.autoscaling_groups
            _look(self, strict=is_new)

    def update_attached_target_groups(self: AutoScalingBackend, group_name: str) -> None:
        _look(_group(self, group_name))

    def notify_terminate_instances(self: AutoScalingBackend, instance_ids: list[str]) -> None:
        for group in list(self.autoscaling_groups.values()):
            if any(state.instance.id in instance_ids for state in group.instance_states):
                _look(group)

    def detach_load_balancer_target_groups(
        self: AutoScalingBackend, group_name: str, target_group_arns: list[str]
    ) -> None:
        # moto deregisters every instance. It fails for an instance that is no target yet because it waits for its hook.
        group = _group(self, group_name)
        group.target_group_arns = [arn for arn in group.target_group_arns if arn not in target_group_arns]
        _look(group)

    replace(FakeAutoScalingGroup, "set_desired_capacity", set_desired_capacity)
    replace(AutoScalingBackend, "detach_load_balancer_target_groups", detach_load_balancer_target_groups)
    replace(AutoScalingBackend, "update_attached_target_groups", update_attached_target_groups)
    replace(AutoScalingBackend, "notify_terminate_instances", notify_terminate_instances)


def _make_and_delete() -> None:
    """Refuse a second group of the same name, and refuse to delete a group in use.

    In moto a second group replaces the first. Lifecycle hooks in a request that creates a group are also made here.
    """
    create_group = AutoScalingBackend.create_auto_scaling_group
    answer_create = AutoScalingResponse.create_auto_scaling_group

    def create_auto_scaling_group(self: AutoScalingBackend, name: str, *args: Any, **kwargs: Any) -> Any:
        if name in self.autoscaling_groups:
            message = f"AutoScalingGroup by this name already exists - A group with the name {name} already exists"
            raise AutoscalingClientError("AlreadyExists", message)
        unknown = set(kwargs.get("target_group_arns") or []) - set(self.elbv2_backend.target_groups)
        if unknown:
            raise ValidationError(f"Provided Target Groups may not be valid. Not found: {', '.join(sorted(unknown))}")
        made = create_group(self, name, *args, **kwargs)
        # AWS's default is 0 seconds, which means no grace period. moto turns 0 and a missing value into 300 seconds.
        made.health_check_grace_period = int(kwargs.get("health_check_period") or 0)
        _hooks.watcher.begin()
        return made

    def create_with_hooks(self: AutoScalingResponse) -> ActionResult:
        name, backend = self._get_param("AutoScalingGroupName"), self.autoscaling_backend
        before = dict(backend.lifecycle_hooks)
        try:
            for hook in self._get_param("LifecycleHookSpecificationList", []):
                _put_hook(backend, name, hook)
            return answer_create(self)
        except Exception:
            backend.lifecycle_hooks = before
            raise

    def delete_auto_scaling_group(self: AutoScalingBackend, group_name: str) -> None:
        with groups.lock:
            group = _group(self, group_name)
            for state in list(group.instance_states):
                if state.instance.state != "terminated":
                    self.ec2_backend.terminate_instances([state.instance.id])
            self.elbv2_backend.notify_terminate_instances([state.instance.id for state in group.instance_states])
            group.instance_states, group.desired_capacity = [], 0
            del self.autoscaling_groups[group_name]
            self.lifecycle_hooks = {
                key: hook for key, hook in self.lifecycle_hooks.items() if hook.auto_scaling_group_name != group_name
            }
            self.policies = {
                key: policy for key, policy in self.policies.items() if policy.auto_scaling_group_name != group_name
            }
        _hooks.machines.look_again()

    def answer_delete(self: AutoScalingResponse) -> ActionResult:
        name = self._get_param("AutoScalingGroupName")
        if _group(self.autoscaling_backend, name).instance_states and not self._get_bool_param("ForceDelete", False):
            raise AutoscalingClientError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        self.autoscaling_backend.delete_auto_scaling_group(name)
        return EmptyResult()

    replace(AutoScalingBackend, "create_auto_scaling_group", create_auto_scaling_group)
    replace(AutoScalingResponse, "create_auto_scaling_group", create_with_hooks)
    replace(AutoScalingBackend, "delete_auto_scaling_group", delete_auto_scaling_group)
    replace(AutoScalingResponse, "delete_auto_scaling_group", answer_delete)


def _terminate() -> None:
    """Terminate an instance only after target groups and hooks have released it. moto terminates at once."""

    def terminate_instance(self: AutoScalingBackend, instance_id: str, should_decrement: bool) -> Activity:
        with groups.lock:
            member = _member(self, instance_id)
            group = member.auto_scaling_group
            cause = "an instance was taken out of service in response to a user request"
            if should_decrement:
                if group.desired_capacity <= (group.min_size or 0):
                    raise ValidationError(
                        f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                        "replacement will violate group's min size constraint. Either set "
                        "shouldDecrementDesiredCapacity flag to false or lower group's min size."
                    )
                group.desired_capacity -= 1
                cause += f", shrinking the capacity to {group.desired_capacity}"
            groups.leave(member, f"{cause}.")
            activity = member.activity
            _look(group)
        _hooks.machines.look_again()
        return activity

    def set_instance_health(self: AutoScalingBackend, instance_id: str, health_status: str) -> None:
        member = _member(self, instance_id)
        member.health_status = health_status
        _look(member.auto_scaling_group)

    replace(AutoScalingBackend, "terminate_instance", terminate_instance)
    replace(AutoScalingBackend, "set_instance_health", set_instance_health)


def _put_hook(backend: AutoScalingBackend, group_name: str, asked: dict[str, Any]) -> None:
    name, timeout_s = asked["LifecycleHookName"], int(asked.get("HeartbeatTimeout") or 3600)
    transition, result = asked.get("LifecycleTransition"), asked.get("DefaultResult") or "ABANDON"
    if not 30 <= timeout_s <= 7200:
        raise ValidationError(f"HeartbeatTimeout of {name} is {timeout_s}: it must be from 30 to 7200 seconds.")
    if transition not in (groups.LAUNCHING, groups.TERMINATING):
        raise ValidationError(f"LifecycleTransition of {name} is {transition}: it is none of AWS's.")
    if result not in ("CONTINUE", "ABANDON"):
        raise ValidationError(f"DefaultResult of {name} is {result}: it is neither CONTINUE nor ABANDON.")
    hook: Any = LifecycleHook(name, group_name, transition, timeout_s, result)
    hook.role_arn, hook.notification_target_arn = asked.get("RoleARN"), asked.get("NotificationTargetARN")
    hook.notification_metadata = asked.get("NotificationMetadata")
    hook.global_timeout = min(100 * timeout_s, 48 * 3600)
    backend.lifecycle_hooks[f"{group_name}_{name}"] = hook


def _take_hooks() -> None:
    """Make lifecycle hooks effective.

    moto only stores hooks, with another role and queue than the request had. It never waits until a hook is completed.
    """

    def put_lifecycle_hook(self: AutoScalingResponse) -> ActionResult:
        group = _group(self.autoscaling_backend, self._get_param("AutoScalingGroupName"))
        _put_hook(self.autoscaling_backend, group.name, self._get_params())
        return EmptyResult()

    def open_wait(self: AutoScalingResponse) -> tuple[groups.Member, groups.Wait]:
        group = _group(self.autoscaling_backend, self._get_param("AutoScalingGroupName"))
        hook, instance_id = self._get_param("LifecycleHookName"), self._get_param("InstanceId")
        token = self._get_param("LifecycleActionToken")
        for member in groups.members(group):
            wait = member.waits.get(hook)
            if wait and not wait.outcome() and (member.instance_id == instance_id or wait.token == token):
                return member, wait
        raise ValidationError(f"No active Lifecycle Action found with instance ID {instance_id}")

    def complete_lifecycle_action(self: AutoScalingResponse) -> ActionResult:
        with groups.lock:
            member, wait = open_wait(self)
            wait.result = "CONTINUE" if self._get_param("LifecycleActionResult") == "CONTINUE" else "ABANDON"
            _look(member.auto_scaling_group)
        return EmptyResult()

    def record_lifecycle_action_heartbeat(self: AutoScalingResponse) -> ActionResult:
        with groups.lock:
            open_wait(self)[1].beat()
        return EmptyResult()

    replace(AutoScalingResponse, "put_lifecycle_hook", put_lifecycle_hook)
    for action in (complete_lifecycle_action, record_lifecycle_action_heartbeat):
        setattr(AutoScalingResponse, action.__name__, action)


def _take_refreshes() -> None:
    """Add instance refreshes, which moto lacks."""

    def start_instance_refresh(self: AutoScalingResponse) -> ActionResult:
        with groups.lock:
            group = _group(self.autoscaling_backend, self._get_param("AutoScalingGroupName"))
            if groups.course(group).refresh:
                raise AutoscalingClientError(
                    "InstanceRefreshInProgress",
                    "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
                )
            refresh = groups.start_refresh(group, self._get_params())
            _look(group)
        return ActionResult({"InstanceRefreshId": refresh.instance_refresh_id})

    def describe_instance_refreshes(self: AutoScalingResponse) -> ActionResult:
        group = _group(self.autoscaling_backend, self._get_param("AutoScalingGroupName"))
        asked = self._get_param("InstanceRefreshIds", [])
        found = [one for one in groups.course(group).refreshes if not asked or one.instance_refresh_id in asked]
        return ActionResult({"InstanceRefreshes": found})

    def cancel_instance_refresh(self: AutoScalingResponse) -> ActionResult:
        with groups.lock:
            group = _group(self.autoscaling_backend, self._get_param("AutoScalingGroupName"))
            refresh = groups.course(group).refresh
            if refresh is None:
                raise AutoscalingClientError(
                    "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found."
                )
            refresh.end("Cancelled", "Cancelled due to user request.")
        return ActionResult({"InstanceRefreshId": refresh.instance_refresh_id})

    for action in (start_instance_refresh, describe_instance_refreshes, cancel_instance_refresh):
        setattr(AutoScalingResponse, action.__name__, action)


def _tell_activities() -> None:
    """Answer DescribeScalingActivities with the groups' activities. moto returns none."""

    def describe_scaling_activities(self: AutoScalingResponse) -> ActionResult:
        name, asked = self._get_param("AutoScalingGroupName"), self._get_param("ActivityIds", [])
        found = [
            one
            for one in groups.activities(self.autoscaling_backend)
            if (not name or one.auto_scaling_group_name == name) and (not asked or one.activity_id in asked)
        ]
        return ActionResult({"Activities": found})

    replace(AutoScalingResponse, "describe_scaling_activities", describe_scaling_activities)
