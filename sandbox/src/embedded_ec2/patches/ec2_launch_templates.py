"""moto's launch templates keep the user data of a later version as a text that no launch takes."""

from collections.abc import Callable
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.utils import parse_user_data

from embedded_ec2.hooks import Hooks
from embedded_ec2.patches import replace


def install(hooks: Hooks) -> None:
    """Read the user data of every version as that of the first: an Auto Scaling group launches from the newest."""
    create: Callable[[LaunchTemplate, dict[str, Any], str], LaunchTemplateVersion] = LaunchTemplate.create_version
    if create.__module__ == __name__:
        return

    def create_readable(self: LaunchTemplate, data: dict[str, Any], description: str) -> LaunchTemplateVersion:
        if not isinstance(data.get("UserData"), Base64EncodedString):
            data = {**data, "UserData": parse_user_data(data.get("UserData"))}
        return create(self, data, description)

    replace(LaunchTemplate, "create_version", create_readable)
