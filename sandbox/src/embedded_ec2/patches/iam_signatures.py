"""Where moto checks the signatures of requests otherwise than AWS does, made right."""

from typing import Any

from moto.iam.access_control import IAMRequest

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """moto takes query or headers for a missing body, so that no GET or DELETE of a REST service passes."""
    original = IAMRequest._create_aws_request

    def create_aws_request(self: IAMRequest) -> Any:
        request = original(self)
        if self._method in {"GET", "DELETE"}:
            request.data = self._body
        return request

    replace(IAMRequest, "_create_aws_request", create_aws_request)
