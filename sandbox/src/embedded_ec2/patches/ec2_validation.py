"""moto's EC2 accepts unknown images, key pairs and instance types.

This patch corrects that.
"""

from moto import settings

from embedded_ec2.hooks import Hooks


def install(hooks: Hooks) -> None:
    """Refuse unknown images, key pairs and instance types."""
    settings.ENABLE_AMI_VALIDATION = True
    settings.ENABLE_KEYPAIR_VALIDATION = True
    settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
