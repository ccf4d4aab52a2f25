"""moto's IAM does not load AWS's managed policies by default.

This patch corrects that.
"""

import os

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Make moto load AWS's managed policies."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
