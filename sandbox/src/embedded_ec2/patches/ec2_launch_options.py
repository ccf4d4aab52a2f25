"""moto's RunInstances accepts some options but does not store them. The EC2 API reference describes them.

This patch corrects that.
"""

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import ec2_placement_groups, replace


def install(hooks: Hooks) -> None:
    """Store and report the placement group, the CPU options and, from a launch template, the Spot market."""
    Instance.cpu_options = property(_cpu_options)  # type: ignore[attr-defined]  # moto has none
    run: Callable[..., ActionResult] = InstanceResponse.run_instances

    def run_instances(self: InstanceResponse) -> ActionResult:
        group = self._get_param("Placement.GroupName")
        if group:
            ec2_placement_groups.require(self.ec2_backend, group)
        cpus = self._get_param("CpuOptions", {})
        spot = _is_spot(self.ec2_backend, self._get_param("LaunchTemplate", {}))
        answer = run(self)
        reservation: Any = answer.result
        for instance in reservation.instances:
            instance.placement.group_name = group or ""
            if cpus:
                instance.cpus_asked_for = {name: int(value) for name, value in cpus.items()}
            if spot:
                instance.lifecycle = "spot"
        return answer

    replace(InstanceResponse, "run_instances", run_instances)


def _cpu_options(self: Instance) -> dict[str, int]:
    """Return the CPU options of the launch, or else those of the instance type. AWS reports them for every instance."""
    facts: dict[str, int] = INSTANCE_TYPES.get(self.instance_type, {}).get("VCpuInfo", {})
    usual = {"CoreCount": facts.get("DefaultCores", 1), "ThreadsPerCore": facts.get("DefaultThreadsPerCore", 1)}
    return getattr(self, "cpus_asked_for", usual)


def _is_spot(backend: EC2Backend, template: dict[str, Any]) -> bool:
    if not template:
        return False
    options: dict[str, Any] = backend._get_template_from_args(template).data.get("InstanceMarketOptions") or {}
    return options.get("MarketType") == "spot"
