"""moto's IAM has none of AWS's managed policies."""

import os

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Have it load them."""
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
