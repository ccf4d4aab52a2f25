"""moto's ARN of a Network Load Balancer, and of its listeners, is that of an Application Load Balancer."""

from collections.abc import Callable
from typing import Any

from moto.elbv2 import models
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace

_MAKE_ARN = "make_arn_for_load_balancer"


def install(hooks: Hooks) -> None:
    """Write `net` where the balancer's type is `network`: policies and metrics know a balancer by its ARN."""
    make_arn: Callable[..., str] = vars(models)[_MAKE_ARN]
    create: Callable[..., FakeLoadBalancer] = ELBv2Backend.create_load_balancer
    if create.__module__ == __name__:
        return

    def make_network_arn(**parts: Any) -> str:
        return make_arn(**parts).replace(":loadbalancer/app/", ":loadbalancer/net/")

    def create_of_its_type(self: ELBv2Backend, *arguments: Any, **named: Any) -> FakeLoadBalancer:
        if named.get("loadbalancer_type") != "network":
            return create(self, *arguments, **named)
        replace(models, _MAKE_ARN, make_network_arn)
        try:
            return create(self, *arguments, **named)
        finally:
            replace(models, _MAKE_ARN, make_arn)

    replace(ELBv2Backend, "create_load_balancer", create_of_its_type)
