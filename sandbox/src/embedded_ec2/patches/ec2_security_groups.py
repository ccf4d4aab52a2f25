"""moto's EC2 omits parts of answers about security groups, and adds groups instead of replacing them.

This patch corrects that.
"""

from collections.abc import Callable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.responses.security_groups import SecurityGroups

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Complete the answers to changes of rules' descriptions.

    Also make new security groups of an instance or an interface replace its old ones.
    """
    _confirm_rule_descriptions()
    _replace_groups()


def _confirm_rule_descriptions() -> None:
    """Add the field `Return`, which amazon.aws.ec2_security_group reads, to two answers. moto lacks it."""
    for direction in ("ingress", "egress"):
        name = f"update_security_group_rule_descriptions_{direction}"

        def update(self: SecurityGroups, name: str = name) -> ActionResult:
            for arguments in self._process_rules_from_querystring():
                del arguments["sgrule_tags"]
                getattr(self.ec2_backend, name)(**arguments)
            return ActionResult({"Return": True})

        replace(SecurityGroups, name, update)


def _replace_groups() -> None:
    """Replace the security groups of an instance, and also those of its interface. moto only adds groups."""
    modify_interface: Callable[..., None] = EC2Backend.modify_network_interface_attribute
    modify_instance: Callable[..., Any] = EC2Backend.modify_instance_security_groups

    def groups_of_interface(self: NetworkInterface) -> Any:
        return self._group_set

    def modify_network_interface_attribute(self: EC2Backend, eni_id: str, *args: Any, **kwargs: Any) -> None:
        modify_interface(self, eni_id, *args, **kwargs)
        interface = self.get_network_interface(eni_id)
        if interface.instance and interface.device_index == 0:
            interface.instance.security_groups = interface._group_set

    def modify_instance_security_groups(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        instance = modify_instance(self, *args, **kwargs)
        instance.nics[0]._group_set = instance.security_groups
        return instance

    replace(NetworkInterface, "group_set", property(groups_of_interface))
    replace(EC2Backend, "modify_network_interface_attribute", modify_network_interface_attribute)
    replace(EC2Backend, "modify_instance_security_groups", modify_instance_security_groups)
