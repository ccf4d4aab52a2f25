"""moto ignores conditions in the policies of S3 buckets.

This patch corrects that.
"""

import copy
import json
from typing import Any

from moto.s3.models import FakeBucket

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Ignore those statements of a bucket's policy that have a condition.

    moto would apply them without their condition, so "deny all requests without TLS" would deny every request. The
    sandbox's API has no TLS, because it listens on loopback. So such statements must not apply. All other statements
    apply.
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
