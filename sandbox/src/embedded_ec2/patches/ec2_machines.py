"""moto's instances are only entries in its tables. This patch connects them with machines."""

from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Any

from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.responses.general import General

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Start and reboot machines with their instances, and return the output of their consoles."""
    _report_real_consoles(hooks)
    _reboot_machines(hooks)
    _start_machines(hooks)


def _report_real_consoles(hooks: Hooks) -> None:
    """Return the output of the machine's console. moto returns the same text of Linux 2.6 for every instance."""

    def get_console_output(self: General) -> ActionResult:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        output = hooks.machines.console_output(instance.id)
        return ActionResult(
            {
                "InstanceId": instance.id,
                "Timestamp": utcnow(),
                # AWS stores the last 64 KiB of the output.
                "Output": Base64EncodedString.from_raw_string(output[-65536:]),
            }
        )

    replace(General, "get_console_output", get_console_output)


def _reboot_machines(hooks: Hooks) -> None:
    """Reboot the instance's machine. moto's reboot has no visible effect."""
    original: Callable[..., Any] = EC2Backend.reboot_instances

    def reboot_instances(self: EC2Backend, instance_ids: list[str]) -> Any:
        rebooted = original(self, instance_ids)
        for instance in rebooted:
            hooks.machines.request_reboot(instance.id)
        return rebooted

    replace(EC2Backend, "reboot_instances", reboot_instances)


def _start_machines(hooks: Hooks) -> None:
    """Start the instance's machine, and answer the request only after that.

    A launch is refused when this computer uses the subnet's addresses for something else.
    """
    run: Callable[..., Any] = EC2Backend.run_instances
    start: Callable[..., Any] = EC2Backend.start_instances

    def run_instances(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        subnet_ids = [kwargs.get("subnet_id"), *(nic.get("SubnetId") for nic in kwargs.get("nics") or [])]
        for subnet_id in filter(None, subnet_ids):
            reason = hooks.machines.refusal(IPv4Network(self.get_subnet(subnet_id).cidr_block))
            if reason:
                raise EC2ClientError("Unsupported", f"{subnet_id} cannot have machines here: {reason}")
        prepare = kwargs.pop("prepare", None)  # given by groups._launch
        reservation = run(self, *args, **kwargs)
        if prepare:
            prepare(reservation)
        hooks.machines.settle()
        return reservation

    def start_instances(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        started = start(self, *args, **kwargs)
        hooks.machines.settle()
        return started

    replace(EC2Backend, "run_instances", run_instances)
    replace(EC2Backend, "start_instances", start_instances)
