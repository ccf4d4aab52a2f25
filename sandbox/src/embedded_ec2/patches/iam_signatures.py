"""moto rejects valid signatures of some requests.

This patch corrects that.
"""

from typing import Any

from moto.iam.access_control import IAMRequest

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Accept GET and DELETE requests of REST services.

    moto rejects these requests, because it computes the signature with the query or the headers instead of an empty
    body.
    """
    original = IAMRequest._create_aws_request

    def create_aws_request(self: IAMRequest) -> Any:
        request = original(self)
        if self._method in {"GET", "DELETE"}:
            request.data = self._body
        return request

    replace(IAMRequest, "_create_aws_request", create_aws_request)
