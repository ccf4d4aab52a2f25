"""Corrections of moto's S3 buckets where they visibly differ from AWS."""

import copy
import json
from typing import Any

from moto.s3.models import FakeBucket

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Skip statements with a condition. moto ignores conditions, so "deny all but TLS" would deny everything.

    The API has no TLS on loopback, so such statements must not count. All others do.
    """
    original = FakeBucket.get_permission

    def get_permission(self: FakeBucket, action: str, resource: str) -> Any:
        if self.policy is None:
            return original(self, action, resource)
        policy = json.loads(self.policy)
        policy["Statement"] = [one for one in policy["Statement"] if "Condition" not in one]
        unconditional = copy.copy(self)
        unconditional.policy = json.dumps(policy).encode()
        return original(unconditional, action, resource)

    replace(FakeBucket, "get_permission", get_permission)
