"""moto's Auto Scaling forgets the lifecycle hooks that a group is made with, and keeps those of one that is gone."""

from collections.abc import Callable

from moto.autoscaling.models import AutoScalingBackend
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Make the hooks of LifecycleHookSpecificationList before the group, whose first host waits for them on AWS."""
    create: Callable[[AutoScalingResponse], ActionResult] = AutoScalingResponse.create_auto_scaling_group
    if create.__module__ == __name__:
        return

    def create_with_hooks(self: AutoScalingResponse) -> ActionResult:
        for hook in self._get_param("LifecycleHookSpecificationList", []):
            self.autoscaling_backend.create_lifecycle_hook(
                name=hook["LifecycleHookName"],
                as_name=self._get_param("AutoScalingGroupName"),
                transition=hook["LifecycleTransition"],
                timeout=int(hook.get("HeartbeatTimeout", 3600)),
                result=hook.get("DefaultResult", "ABANDON"),
            )
        return create(self)

    delete: Callable[[AutoScalingBackend, str], None] = AutoScalingBackend.delete_auto_scaling_group

    def delete_with_hooks(self: AutoScalingBackend, group_name: str) -> None:
        delete(self, group_name)
        for hook in self.describe_lifecycle_hooks(as_name=group_name):
            self.delete_lifecycle_hook(group_name, hook.name)

    replace(AutoScalingResponse, "create_auto_scaling_group", create_with_hooks)
    replace(AutoScalingBackend, "delete_auto_scaling_group", delete_with_hooks)
