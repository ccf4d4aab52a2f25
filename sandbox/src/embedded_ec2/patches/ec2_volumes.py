"""moto's EC2 omits fields that AWS reports for a new volume.

This patch corrects that.
"""

from collections.abc import Callable
from typing import Any

from moto.ec2.models import EC2Backend

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Report an empty SnapshotId, and MultiAttachEnabled, as AWS does. The modules of amazon.aws read both fields."""
    create: Callable[..., Any] = EC2Backend.create_volume

    def create_volume(self: EC2Backend, *args: Any, **kwargs: Any) -> Any:
        volume = create(self, *args, **kwargs)
        volume.snapshot_id = volume.snapshot_id or ""
        volume.multi_attach_enabled = bool(volume.multi_attach_enabled)
        return volume

    replace(EC2Backend, "create_volume", create_volume)
