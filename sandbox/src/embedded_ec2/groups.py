"""Functions that keep Auto Scaling groups at their size. AWS does so at any time, moto only within a request.

Each turn ends expired waits of lifecycle hooks and replaces unhealthy instances. It advances an instance refresh, and
launches or terminates instances until the group has its wanted size. Then it registers the instances in service with
the target groups. Quoted sections are those of the Amazon EC2 Auto Scaling user guide.
"""

import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.autoscaling.models import (
    ASG_NAME_TAG,
    Activity,
    AutoScalingBackend,
    FakeAutoScalingGroup,
    InstanceState,
    autoscaling_backends,
)
from moto.core.utils import utcnow
from moto.ec2.utils import convert_tag_spec
from moto.elbv2.models import FakeTargetGroup

LOOK_EVERY_SECONDS = 1.0
RETRY_LIMIT_SECONDS = 60.0
REFRESH_LIMIT_SECONDS = 3600.0
ACTIVITIES_KEPT = 100
LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"
ENDED = ("Successful", "Failed", "Cancelled")

# Each request has its own thread, and the watcher is another one. All of them change groups.
lock = threading.RLock()


@dataclass
class Wait:
    """An open lifecycle action: a hook holds an instance until the action is completed or its time is over."""

    heartbeat_s: float
    default: str
    ends: float
    last: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: str = ""

    def beat(self) -> None:
        self.ends = min(time.monotonic() + self.heartbeat_s, self.last)

    def outcome(self) -> str:
        """Return the action's result, CONTINUE or ABANDON, or an empty text while the action is open."""
        return self.result or (self.default if time.monotonic() >= self.ends else "")


class Member(InstanceState):
    """An instance of an Auto Scaling group.

    It extends moto's class by a template version and open lifecycle actions.
    """

    def __init__(self, instance: Any, group: FakeAutoScalingGroup, version: int | None, activity: Activity) -> None:
        super().__init__(
            instance,
            lifecycle_state="Pending",
            protected_from_scale_in=group.new_instances_protected_from_scale_in,
            autoscaling_group=group,
        )
        self.version = version
        self.activity = activity
        self.waits: dict[str, Wait] = {}
        self.in_service_at = 0.0

    @property
    def launch_template(self) -> dict[str, Any] | None:
        """The template version from which the instance was launched.

        moto would return the template's default version instead.
        """
        template = self.auto_scaling_group.ec2_launch_template
        if template is None or self.version is None:
            return None
        names = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
        return {**names, "Version": str(self.version)}


@dataclass
class Refresh:
    """An instance refresh ("Use an instance refresh to update instances"), which replaces one instance at a time."""

    auto_scaling_group_name: str
    old: set[str]
    warmup_s: float
    launch_first: bool
    preferences: dict[str, Any]
    desired_configuration: dict[str, Any] | None
    total: int
    begun: float
    strategy: str = "Rolling"
    status: str = "InProgress"
    status_reason: str | None = None
    start_time: datetime = field(default_factory=utcnow)
    end_time: datetime | None = None
    instance_refresh_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def instances_to_update(self) -> int:
        return len(self.old)

    @property
    def percentage_complete(self) -> int:
        return 100 * (self.total - len(self.old)) // self.total if self.total else 100

    def end(self, status: str, reason: str | None = None) -> None:
        self.status, self.status_reason, self.end_time = status, reason, utcnow()


@dataclass
class Course:
    """The part of an Auto Scaling group's state that moto does not store.

    It has registered targets, instance refreshes, and failed launches.
    """

    registered: dict[str, set[str]] = field(default_factory=dict)
    refreshes: list[Refresh] = field(default_factory=list)
    failures: int = 0
    retry_at: float = 0.0

    @property
    def refresh(self) -> Refresh | None:
        """The instance refresh that is in progress, or None."""
        return next((one for one in self.refreshes if one.status not in ENDED), None)


@dataclass(frozen=True)
class Targets:
    """Functions by which groups read the state of targets. By default every target is healthy, and none is draining."""

    health: Callable[[FakeTargetGroup, str], str] = lambda _group, _instance_id: "healthy"
    is_draining: Callable[[FakeTargetGroup, str], bool] = lambda _group, _instance_id: False


def course(group: FakeAutoScalingGroup) -> Course:
    found: Course = group.__dict__.setdefault("course", Course())
    return found


def activities(backend: AutoScalingBackend) -> list[Activity]:
    """Return the activities of all groups of this account and region, newest first."""
    found: list[Activity] = backend.__dict__.setdefault("activities", [])
    return found


def all_groups() -> list[FakeAutoScalingGroup]:
    backends = [backend for account in list(autoscaling_backends.values()) for backend in list(account.values())]
    return [group for backend in backends for group in list(backend.autoscaling_groups.values())]


class Watcher:
    """The object that takes a turn for every Auto Scaling group repeatedly (see `look`).

    It works from the creation of the first group until no group is left.
    """

    def __init__(self, targets: Targets | None = None) -> None:
        self.targets = targets or Targets()
        self._thread: threading.Thread | None = None
        self._complaint = ""

    @property
    def is_running(self) -> bool:
        return self._thread is not None

    def begin(self) -> None:
        with lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="groups", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(LOOK_EVERY_SECONDS)
            with lock:
                groups = all_groups()
                if not groups:
                    self._thread = None
                    return
            for group in groups:
                try:
                    look(group, self.targets)
                    self._complaint = ""
                except Exception:  # an error of one group must not end the watcher
                    complaint = traceback.format_exc()
                    if complaint != self._complaint:
                        self._complaint = complaint
                        print(complaint, file=sys.stderr, flush=True)


def look(group: FakeAutoScalingGroup, targets: Targets, *, strict: bool = False) -> None:
    """Take one turn for an Auto Scaling group: do everything that is possible at this moment without waiting.

    With `strict` a failed launch raises its error, because AWS checks a template when the group is created. Without it
    the error is recorded in the group's activities, and the launch is repeated later.
    """
    with lock:
        _adopt(group)
        _judge(group, targets)
        _advance_refresh(group, targets)
        for member in members(group):
            _advance(member, targets)
        _resize(group, strict)
        for member in members(group):
            _advance(member, targets)
        _register(group)


def members(group: FakeAutoScalingGroup) -> list[Member]:
    return [state for state in group.instance_states if isinstance(state, Member)]


def _adopt(group: FakeAutoScalingGroup) -> None:
    """Replace moto's entries for attached instances by objects of the class Member."""
    for number, state in enumerate(group.instance_states):
        if not isinstance(state, Member):
            member = Member(state.instance, group, None, _note(group, "", "", "Successful", kept=False))
            member.lifecycle_state, member.in_service_at = state.lifecycle_state, time.monotonic()
            group.instance_states[number] = member


def _is_suspended(group: FakeAutoScalingGroup, process: str) -> bool:
    return process in group._suspended_processes


def _is_leaving(member: Member) -> bool:
    return member.lifecycle_state.startswith("Terminat")


def _counts(member: Member) -> bool:
    """Return whether the instance counts towards the group's size: it is neither leaving nor in standby."""
    return not _is_leaving(member) and member.lifecycle_state != "Standby"


# Functions for health: "Health checks for instances in an Auto Scaling group".


def _judge(group: FakeAutoScalingGroup, targets: Targets) -> None:
    for member in members(group):
        if _is_leaving(member) or member.lifecycle_state == "Standby":
            continue
        reason = "" if _is_suspended(group, "HealthCheck") else _illness(member, targets)
        if reason:
            member.health_status = "Unhealthy"
        elif member.health_status == "Unhealthy":
            reason = "a user health-check"
        if reason and not _is_suspended(group, "ReplaceUnhealthy"):
            leave(member, f"an instance was taken out of service in response to {reason}.")


def _illness(member: Member, targets: Targets) -> str:
    group = member.auto_scaling_group
    if not member.instance.is_running():  # this counts even within the grace period
        return f"an EC2 health check indicating it has been {member.instance.state}"
    in_grace = time.monotonic() - member.in_service_at < (group.health_check_grace_period or 0)
    if "ELB" not in group.health_check_type or member.lifecycle_state != "InService" or in_grace:
        return ""
    states = {targets.health(each, member.instance_id) for each in _target_groups(group)}
    return "an ELB system health check failure" if "unhealthy" in states else ""


def _target_groups(group: FakeAutoScalingGroup) -> Iterator[FakeTargetGroup]:
    known = group.autoscaling_backend.elbv2_backend.target_groups
    return (known[arn] for arn in list(group.target_group_arns) if arn in known)


# Functions for the lifecycle: "Amazon EC2 Auto Scaling instance lifecycle".


def leave(member: Member, cause: str) -> None:
    """Begin to terminate an instance of a group. `cause` is the text for the group's list of activities."""
    if member.lifecycle_state == "Pending:Wait":
        _end(member.activity, "Cancelled")
    member.waits = {}
    member.lifecycle_state = "Terminating"
    member.activity = _note(member.auto_scaling_group, f"Terminating EC2 instance: {member.instance_id}", cause)
    _register(member.auto_scaling_group)


def _advance(member: Member, targets: Targets) -> None:
    """Advance an instance of a group through its lifecycle as far as is possible without waiting."""
    if member.lifecycle_state == "Pending":
        member.waits = _waits(member, LAUNCHING)
        member.lifecycle_state = "Pending:Wait"
    if member.lifecycle_state == "Pending:Wait":
        outcomes = {wait.outcome() for wait in member.waits.values()}
        if "ABANDON" in outcomes:
            leave(member, "a lifecycle action was abandoned, or ran out of time.")
        elif outcomes <= {"CONTINUE"}:
            member.waits, member.lifecycle_state, member.in_service_at = {}, "InService", time.monotonic()
            _end(member.activity, "Successful")
    if member.lifecycle_state == "Terminating":
        if member.instance.is_running() and any(
            targets.is_draining(each, member.instance_id) for each in _target_groups(member.auto_scaling_group)
        ):
            member.activity.status_code = "WaitingForELBConnectionDraining"
            return
        member.waits = _waits(member, TERMINATING)
        member.lifecycle_state = "Terminating:Wait"
    if member.lifecycle_state == "Terminating:Wait" and all(wait.outcome() for wait in member.waits.values()):
        _terminate(member)


def _waits(member: Member, transition: str) -> dict[str, Wait]:
    group, now = member.auto_scaling_group, time.monotonic()
    hooks = group.autoscaling_backend.describe_lifecycle_hooks(group.name)
    # A heartbeat extends the wait, to at most 100 times the timeout and at most 48 hours.
    return {
        hook.name: Wait(
            hook.heartbeat_timeout,
            hook.default_result,
            now + hook.heartbeat_timeout,
            now + min(100 * hook.heartbeat_timeout, 48 * 3600),
        )
        for hook in hooks
        if hook.lifecycle_transition == transition
    }


def _terminate(member: Member) -> None:
    group = member.auto_scaling_group
    if member.instance.state != "terminated":
        group.ec2_backend.terminate_instances([member.instance_id])
    group.autoscaling_backend.elbv2_backend.notify_terminate_instances([member.instance_id])
    group.instance_states = [state for state in group.instance_states if state is not member]
    _end(member.activity, "Successful")


def _register(group: FakeAutoScalingGroup) -> None:
    """Register all instances in service with each target group, and deregister those that are no longer in service.

    Targets that others registered stay.
    """
    in_service = {member.instance_id for member in members(group) if member.lifecycle_state == "InService"}
    registered = course(group).registered
    elbv2 = group.autoscaling_backend.elbv2_backend
    for target_group in _target_groups(group):
        mine = registered.setdefault(target_group.arn, set())
        gone = [{"Id": each} for each in sorted(mine - in_service) if each in target_group.targets]
        if gone:
            elbv2.deregister_targets(target_group.arn, gone)
        mine &= in_service
        if not _is_suspended(group, "AddToLoadBalancer"):
            new = {member.instance_id for member in members(group) if member.instance.is_running()} & in_service - mine
            asked = [{"Id": each, "Port": target_group.port} for each in sorted(new)]
            elbv2.register_targets(target_group.arn, asked)
            mine |= new
    for arn in set(registered) - set(group.target_group_arns):
        left = elbv2.target_groups.get(arn)
        gone = [{"Id": each} for each in sorted(registered.pop(arn)) if left and each in left.targets]
        if gone:
            elbv2.deregister_targets(arn, gone)


# Functions for the group's size.


def _resize(group: FakeAutoScalingGroup, strict: bool) -> None:
    here = [member for member in members(group) if _counts(member)]
    refresh = course(group).refresh
    extra = 1 if refresh and refresh.launch_first and refresh.old else 0
    missing = (group.desired_capacity or 0) + extra - len(here)
    if missing > 0 and not _is_suspended(group, "Launch"):
        for _ in range(missing):
            if not _try_to_launch(group, strict):
                return
    elif missing < 0 and not extra and not _is_suspended(group, "Terminate"):
        unprotected = [member for member in here if not member.protected_from_scale_in]
        for member in sorted(unprotected, key=_first_to_go)[:-missing]:
            leave(member, f"an instance was taken out of service, shrinking the capacity to {group.desired_capacity}.")


def _first_to_go(member: Member) -> tuple[bool, int, float]:
    """Return a sort key by which the instance to terminate next comes first.

    First come members that are not in service, then members of old template versions, then the oldest members.
    """
    return member.lifecycle_state == "InService", member.version or 0, member.in_service_at


def _try_to_launch(group: FakeAutoScalingGroup, strict: bool) -> bool:
    state = course(group)
    if time.monotonic() < state.retry_at:
        return False
    activity = _note(group, "Launching a new EC2 instance", "an instance was started to reach the desired capacity.")
    try:
        group.instance_states.append(_launch(group, activity))
    except Exception as error:
        if strict:
            raise
        state.failures += 1
        state.retry_at = time.monotonic() + min(2.0**state.failures, RETRY_LIMIT_SECONDS)
        _end(activity, "Failed", f"{error} Launching EC2 instance failed.")
        return False
    state.failures, state.retry_at = 0, 0.0
    return True


def _launch(group: FakeAutoScalingGroup, activity: Activity) -> Member:
    """Launch one instance with all settings of the template, most of which moto ignores."""
    version, data = _template_of(group)
    options: dict[str, Any] = {}
    if group.ec2_launch_template is not None:
        options = {
            "launch_template": {"LaunchTemplateId": group.ec2_launch_template.id, "Version": str(version)},
            "security_group_ids": list(data.get("SecurityGroupIds", [])),
            "nics": data.get("NetworkInterfaces", []),
            "metadata_options": data.get("MetadataOptions", {}),
            "instance_initiated_shutdown_behavior": data.get("InstanceInitiatedShutdownBehavior"),
            "ebs_optimized": data.get("EbsOptimized") or False,
            "monitoring_state": "enabled" if data.get("Monitoring", {}).get("Enabled") else "disabled",
            "instance_market_options": data.get("InstanceMarketOptions", {}).get("MarketType"),
            "key_name": data.get("KeyName"),
            "associate_public_ip": None,  # the template's interface or the subnet decides
        }
    else:
        options = {"launch_config": group.launch_config, "key_name": group.launch_config.key_name}
        options["associate_public_ip"] = group.launch_config.associate_public_ip_address
    tags = {**group.get_propagated_tags(), ASG_NAME_TAG: group.name}
    member: list[Member] = []

    def prepare(reservation: Any) -> None:
        """Set everything that the new machine may query. This is called before the machine starts."""
        (instance,) = reservation.instances
        instance.autoscaling_group = group
        instance.placement.group_name = data.get("Placement", {}).get("GroupName") or group.placement_group or ""
        if data.get("CpuOptions"):
            instance.cpus_asked_for = {name: int(value) for name, value in data["CpuOptions"].items()}
        _give_profile(group, instance.id, data)
        member.append(Member(instance, group, version, activity))
        activity.description = f"Launching a new EC2 instance: {instance.id}"

    group.ec2_backend.run_instances(
        group.image_id,
        1,
        group.user_data,
        list(group.security_groups or []),
        instance_type=group.instance_type,
        is_instance_type_default=False,
        region_name=group.region,
        subnet_id=_next_subnet(group),
        placement=None if group.vpc_zone_identifier else group.availability_zones[0],
        tags={"instance": tags, "volume": convert_tag_spec(data.get("TagSpecifications", [])).get("volume", {})},
        prepare=prepare,
        **options,
    )
    return member[0]


def _template_of(group: FakeAutoScalingGroup) -> tuple[int | None, dict[str, Any]]:
    """Return the number and the data of the template version to launch. `$Latest` means the newest version now."""
    if group.ec2_launch_template is None:
        return None, {}
    version = group.ec2_launch_template.get_version(group.launch_template_version)
    return version.number, version.data


def _give_profile(group: FakeAutoScalingGroup, instance_id: str, data: dict[str, Any]) -> None:
    profile = dict(data.get("IamInstanceProfile") or {})
    if not data and group.launch_config.iam_instance_profile:
        asked = group.launch_config.iam_instance_profile
        profile = {"Arn" if asked.startswith("arn:") else "Name": asked}
    if profile:
        group.ec2_backend.associate_iam_instance_profile(
            instance_id, iam_instance_profile_name=profile.get("Name"), iam_instance_profile_arn=profile.get("Arn")
        )


def _next_subnet(group: FakeAutoScalingGroup) -> str | None:
    """Return the subnet that has the fewest instances of the group. moto always takes the first subnet."""
    if not group.vpc_zone_identifier:
        return None
    used = [member.instance.subnet_id for member in members(group)]
    subnets: list[str] = group.vpc_zone_identifier.split(",")
    return min(subnets, key=used.count)


# Functions for instance refreshes.


def start_refresh(group: FakeAutoScalingGroup, request: dict[str, Any]) -> Refresh:
    """Begin to replace the group's instances.

    With SkipMatching an instance is left alone if it was launched from the wanted version of the template.
    """
    preferences = request.get("Preferences") or {}
    desired = request.get("DesiredConfiguration") or None
    if desired and desired.get("LaunchTemplate"):
        group._set_launch_configuration("", desired["LaunchTemplate"], None)
    version, _ = _template_of(group)
    skip = str(preferences.get("SkipMatching", "")).lower() == "true"
    there = [member for member in members(group) if not _is_leaving(member)]
    old = {member.instance_id for member in there if not (skip and member.version == version)}
    warmup = preferences.get("InstanceWarmup")
    refresh = Refresh(
        auto_scaling_group_name=group.name,
        old=old,
        warmup_s=float(group.health_check_grace_period or 0) if warmup is None else float(warmup),
        launch_first=int(preferences.get("MaxHealthyPercentage") or 100) > 100,
        preferences=preferences,
        desired_configuration=desired,
        total=len(old),
        begun=time.monotonic(),
    )
    course(group).refreshes.insert(0, refresh)
    return refresh


def _advance_refresh(group: FakeAutoScalingGroup, targets: Targets) -> None:
    refresh = course(group).refresh
    if refresh is None or _is_suspended(group, "InstanceRefresh"):
        return
    there = members(group)
    waiting = [member for member in there if member.instance_id in refresh.old and not _is_leaving(member)]
    refresh.old = {member.instance_id for member in waiting}
    new = [member for member in there if _counts(member) and member not in waiting]
    ready = [member for member in new if _is_ready(member, refresh, targets)]
    enough = len(waiting) + len(ready) >= (group.desired_capacity or 0) + (1 if refresh.launch_first and waiting else 0)
    if enough and len(ready) == len(new):
        refresh.begun = time.monotonic()
        if waiting:
            leave(waiting[0], "an instance was taken out of service in response to an instance refresh.")
            refresh.old.discard(waiting[0].instance_id)
        elif not any(_is_leaving(member) for member in there):
            refresh.end("Successful")
    elif time.monotonic() - refresh.begun > REFRESH_LIMIT_SECONDS:
        refresh.end("Failed", "A replacement has not become healthy within an hour.")


def _is_ready(member: Member, refresh: Refresh, targets: Targets) -> bool:
    if member.lifecycle_state != "InService" or time.monotonic() - member.in_service_at < refresh.warmup_s:
        return False
    group = member.auto_scaling_group
    if "ELB" not in group.health_check_type:
        return True
    return all(targets.health(each, member.instance_id) == "healthy" for each in _target_groups(group))


# Functions for activities.


def _note(
    group: FakeAutoScalingGroup, description: str, cause: str, status: str = "InProgress", *, kept: bool = True
) -> Activity:
    """Return a new activity of the group, with the present time.

    It is added to the group's list of activities, unless `kept` is false.
    """
    activity: Any = Activity(description, f"At {utcnow():%Y-%m-%dT%H:%M:%SZ} {cause}", group, status_code=status)
    activity.end_time, activity.auto_scaling_group_arn = None, group.arn
    if kept:
        done = activities(group.autoscaling_backend)
        done.insert(0, activity)
        del done[ACTIVITIES_KEPT:]
    return activity  # type: ignore[no-any-return]


def _end(activity: Any, status: str, message: str | None = None) -> None:
    activity.status_code, activity.status_message, activity.end_time = status, message, utcnow()
    activity.progress = 100
