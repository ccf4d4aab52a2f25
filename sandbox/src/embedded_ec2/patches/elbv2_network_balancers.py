"""moto's ARN of a Network Load Balancer, and of its listeners, is that of an Application Load Balancer."""

from collections.abc import Callable
from typing import Any

from moto.elbv2 import models
from moto.elbv2.models import ELBv2Backend, FakeLoadBalancer

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Write `net` where the balancer's type is `network`: policies and metrics know a balancer by its ARN."""
    create: Callable[..., FakeLoadBalancer] = ELBv2Backend.create_load_balancer
    if create.__module__ == __name__:
        return

    def create_of_its_type(self: ELBv2Backend, *arguments: Any, **named: Any) -> FakeLoadBalancer:
        if named.get("loadbalancer_type") != "network":
            return create(self, *arguments, **named)
        make_arn = models.make_arn_for_load_balancer

        def make_network_arn(**parts: Any) -> str:
            return make_arn(**parts).replace(":loadbalancer/app/", ":loadbalancer/net/")

        models.make_arn_for_load_balancer = make_network_arn
        try:
            return create(self, *arguments, **named)
        finally:
            models.make_arn_for_load_balancer = make_arn

    replace(ELBv2Backend, "create_load_balancer", create_of_its_type)
